"""What is said when nothing was found and a verb or a resource is named that is nowhere: what was perhaps meant."""

import argparse
from collections.abc import Callable, Iterable, Iterator

from kubewitness.cli.filters import given
from kubewitness.look.query.syntax_resources import PLURALS, plural

# of objects; of URLs that are none; and in the log of an old version
VERBS = (
    *("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"),
    *("post", "put", "head", "options", "connect", "proxy"),
)
_SAID_OTHERWISE = {
    "read": ["get"],
    "view": ["get"],
    "describe": ["get"],
    "remove": ["delete"],
    "add": ["create"],
    "edit": ["patch"],
    "apply": ["patch"],
    "replace": ["update"],
    "write": ["create,update,patch,delete"],
}
_RESOURCES = tuple(dict.fromkeys(PLURALS.values()))
_SUBRESOURCES = (
    *("exec", "attach", "portforward", "log", "proxy", "token", "status", "scale", "eviction", "binding"),
    *("ephemeralcontainers", "resize", "approval", "finalize"),
)


def misspelt(args: argparse.Namespace, is_there: Callable[[str, str], bool]) -> Iterator[str]:
    """Give a sentence for each unknown verb and resource; `is_there(path, value)` asks the log."""
    if "where" not in args:
        return
    import difflib

    flags = given(args)
    verbs = dict.fromkeys(value.lower() for value in _values(flags.get("verb", ())))
    asked = _values((*flags.get("resource", ()), *([args.object] if "object" in args else [])))
    resources = (value.partition("/")[0].partition(".")[0] for value in asked)
    names = dict.fromkeys(map(plural, resources))
    for noun, path, values, known in (
        ("verb", "verb", verbs, VERBS),
        ("resource", "objectRef.resource", names, _RESOURCES),
    ):
        for value in values:
            if value and value not in known and not is_there(path, value):
                near = list(_other(value)) if noun == "resource" else _SAID_OTHERWISE.get(value, [])
                near = near or difflib.get_close_matches(value, known, n=1)
                yield f"nothing here has the {noun} '{value}'" + (f"; did you mean {near[0]}?" if near else "")


def _other(value: str) -> Iterator[str]:
    """Give the subresource, or the resources of the group, that a name may stand for."""
    from kubewitness.policy.builtin import GROUPS

    if value in _SUBRESOURCES:
        yield f"--subresource {value}"
    yield from (f"'*.{group}'" for group in sorted(GROUPS) if group.partition(".")[0] == value)


def _values(flags: Iterable[str]) -> Iterator[str]:
    """Give what is asked for by name: no wildcards, and nothing that is excluded."""
    for flag in flags:
        for value in flag.split(","):
            if not value.strip().startswith("!") and not {"*", "?"} & set(value):
                yield value.strip()
