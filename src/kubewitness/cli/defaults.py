"""
Defaults that come from the environment: KUBEWITNESS_DATA, _CLUSTER, _OUTPUT, _COLOR.

Only where a forgotten variable cannot change what is found: a filter never has one. A flag wins over its variable.
"""

import os
from collections.abc import Mapping, Sequence

from kubewitness.cli.errors import UserError


def env_choice(
    variable: str,
    known: Sequence[str],
    default: str,
    *,
    among: Sequence[str] = (),
    env: Mapping[str, str] = os.environ,
) -> str:
    """Give the variable's value if this command offers it (`among`), else `default`; an unknown value is an error."""
    value = env.get(variable)
    if not value:
        return default
    if value not in known:
        raise UserError(f"{variable}={value!r} is not one of {', '.join(known)}")
    return value if not among or value in among else default
