"""The versions of kube-apiserver whose rules are known, and how a version is read: only major and minor count."""

import re

SERVER_VERSIONS = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36")
DEFAULT_SERVER_VERSION = SERVER_VERSIONS[-1]
# a patch, and what EKS, GKE, RKE2 and K3s write after it: 1.31+, v1.36.2+rke2r1, v1.31.4-eks-2d5f260
_VERSION = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})(?:[.+-].*)?", re.ASCII | re.DOTALL)


class VersionError(ValueError):
    """No version of Kubernetes, or none whose rules are known."""


def major_and_minor(text: str) -> tuple[int, int]:
    """Give `1.36`, `v1.36.2` or `v1.36.2+rke2r1` as (1, 36). Raises VersionError."""
    found = _VERSION.fullmatch(text)
    if found is None:
        raise VersionError(f"server version {text!r}: expected one such as 1.36")
    return int(found[1]), int(found[2])


def known_version(text: str) -> str:
    """Give `v1.36.2+rke2r1` as the `1.36` whose rules hold for it. Raises VersionError when they are not known."""
    version = "{}.{}".format(*major_and_minor(text))
    if version not in SERVER_VERSIONS:
        known = f"{SERVER_VERSIONS[0]} to {SERVER_VERSIONS[-1]}"
        raise VersionError(f"server version {text!r} is not known; known are {known}")
    return version
