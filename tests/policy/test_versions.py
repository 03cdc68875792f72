"""Versions of kube-apiserver, as distributions write them."""

import pytest

from kubewitness.policy.check import check
from kubewitness.policy.load import read
from kubewitness.policy.versions import SERVER_VERSIONS, VersionError, known_version, major_and_minor


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("1.36", 36),
        ("v1.36.2", 36),
        ("1.36.2+rke2r1", 36),
        ("v1.31.4-eks-2d5f260", 31),
        ("1.31+", 31),
        ("v1.33.0-gke.100", 33),
        ("1.35.0-alpha.1", 35),
    ],
)
def test_major_and_minor_count(text: str, minor: int) -> None:
    """A patch, a vendor's suffix and the v are passed over."""
    assert major_and_minor(text) == (1, minor)
    assert known_version(text) == f"1.{minor}"


@pytest.mark.parametrize("text", ["", "1", "x", "latest", "1.x", "1.36rc1", "\u0661.36", "1.36\n", "v1.9999999999"])
def test_what_is_no_version(text: str) -> None:
    """It is refused with an example."""
    with pytest.raises(VersionError, match=r"expected one such as 1\.36"):
        major_and_minor(text)


@pytest.mark.parametrize("text", ["1.29", "v1.37.0", "2.30"])
def test_what_is_not_known(text: str) -> None:
    """A version whose rules nobody looked up is not guessed at."""
    with pytest.raises(VersionError, match=r"is not known; known are 1\.30 to 1\.36"):
        known_version(text)


def test_a_patch_does_not_change_what_is_accepted() -> None:
    """The rules of 1.35, which refuses `group: "*"`, hold for v1.35.3 too; those of 1.36 for v1.36.2+rke2r1."""
    policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n  resources: [{group: '*'}]\n"
    for version in SERVER_VERSIONS:
        for text in (version, f"v{version}.3+k3s1"):
            assert read(policy, text).error == read(policy, version).error
            assert check(policy, text) == check(policy, version)
    assert read(policy, "v1.35.3").error
    assert not read(policy, "v1.36.2+rke2r1").error
