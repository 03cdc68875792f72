"""
Any text in the place of a policy: a finding or a clean error, never a traceback, never a hang.

Real policies are bent: lines go, come twice and change their indentation, words become other words of the language or
of YAML, pieces are cut out and put elsewhere. Each goes through everything that reads policies.
"""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubewitness.cli.main import main
from kubewitness.policy.check import Mode, Profile, check
from kubewitness.policy.load import read
from kubewitness.policy.prove.answer import TooHardError
from kubewitness.policy.prove.claims import LIBRARY, parse_claims, prove
from kubewitness.policy.prove.diff import Diff
from kubewitness.policy.prove.minify import minify
from kubewitness.policy.prove.shadow import dead_members, reachable
from kubewitness.policy.repair.mend import mend
from kubewitness.policy.versions import SERVER_VERSIONS
from tests.policy.vectors import DATA, vectors

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
SOAK = settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
BASES = [path.read_bytes() for path in sorted((DATA / "policies").rglob("*.yaml"))]
BASES += [vector["policy"].encode() for vector in vectors("invalid_policies")[:40]]
BASES += [vector["policy"].encode() for vector in vectors("lenient_warnings")]
WORDS = [
    b"None", b"Metadata", b"Request", b"RequestResponse", b"level", b"users", b"userGroups", b"verbs",
    b"resources", b"group", b"resourceNames", b"namespaces", b"nonResourceURLs", b"omitStages",
    b"omitManagedFields", b"rules", b"*", b"&a", b"*a", b"!!binary", b"!!str", b"|", b">", b"~", b"null", b"on",
    b"0x1f", b"1e999", b".nan", b"<<", b"? ", b"- ", b": ", b"# ", b"---\n", b"...\n", b"%YAML 1.2\n", b"{", b"}",
    b"[", b"]", b",", b"'", b'"', b"\\", b"\t", b"\r", b"\0", b"\x85", b"\xef\xbb\xbf", b"\xff\xfe",
    "\u2028".encode(), "\U0001f9e8".encode(), b"system:serviceaccount:a:*", b"/x*y", b"\xed\xa0\x80", b"a" * 300,
    b"[" * 200, b"RequestReceived", b"ResponseStarted", b"pods/exec", b"apps/v1", b"\x1b[31m",
]  # fmt: skip
# nothing a person wrote needs more, on a busy machine too
SECONDS = 30


@st.composite
def bent(draw) -> bytes:
    """Give a policy with a few things done to it."""
    text = draw(st.sampled_from(BASES))
    for _ in range(draw(st.integers(1, 5))):
        text = draw(one_change(text))
    return text


@st.composite
def one_change(draw, text: bytes) -> bytes:
    """Give the text with one thing done to it."""
    lines = text.splitlines(keepends=True) or [b""]
    at = draw(st.integers(0, len(lines) - 1))
    kind = draw(st.integers(0, 8))
    if kind == 0:
        return b"".join(lines[:at] + lines[at + 1 :])
    if kind == 1:
        return b"".join([*lines[: at + 1], lines[at], *lines[at + 1 :]])
    if kind == 2:
        spaces = b" " * draw(st.integers(0, 6))
        return b"".join([*lines[:at], spaces + lines[at].lstrip(b" "), *lines[at + 1 :]])
    if kind == 3:
        other = draw(st.integers(0, len(lines) - 1))
        lines[at], lines[other] = lines[other], lines[at]
        return b"".join(lines)
    start = draw(st.integers(0, len(text)))
    word = draw(st.sampled_from(WORDS))
    if kind == 4:
        return text[:start] + word + text[start:]
    if kind == 5:
        end = start + draw(st.integers(0, 12))
        return text[:start] + word + text[end:]
    if kind == 6:
        return text[:start]
    words = text.split()
    if not words:
        return word
    return text.replace(words[draw(st.integers(0, len(words) - 1))], word, draw(st.integers(1, 3)))


def go_through(text: bytes, version: str, profile: Profile) -> None:
    """Read a text in every way; the assertions are that nothing raises and nothing lasts."""
    start = time.process_time()
    report = check(text, version, profile, Mode.BLOCKING_STRICT)
    assert report.accepted or report.server_error
    assert report.accepted or any(finding.severity.value == "refused" for finding in report.findings)
    mended = mend(text, lambda data: check(data, version, profile), version)
    if report.accepted:
        assert mended.report.accepted
    document = read(text, version)
    if document.policy is not None and mended.report.document.policy is not None:
        policy = document.policy
        try:
            assert not Diff(policy, policy).changes
            for change in Diff(policy, mended.report.document.policy).changes:
                assert change.before != change.after
            reachable(policy)
            dead_members(policy)
            for name in LIBRARY:
                for claim in parse_claims(name):
                    prove(policy, claim)
            assert not Diff(policy, minify(policy).policy).changes
        except TooHardError:
            pass
    assert time.process_time() - start < SECONDS


@given(bent(), st.sampled_from(SERVER_VERSIONS), st.sampled_from(Profile))
@QUICK
def test_bent_policies(text, version, profile):
    """A few bent policies, each time others."""
    go_through(text, version, profile)


@pytest.mark.soak
@given(bent(), st.sampled_from(SERVER_VERSIONS), st.sampled_from(Profile))
@SOAK
def test_bent_policies_at_length(text, version, profile):
    """20,000 bent policies."""
    go_through(text, version, profile)


@given(text=bent())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_command_line_stays_clean(tmp_path, capsys, text):
    """Documented exit codes, text without escape sequences, and no traceback for any of them."""
    path = tmp_path / "policy.yaml"
    path.write_bytes(text)
    for words in (
        ("check", "--show", "note", str(path)),
        ("check", "--diff", str(path)),
        ("check", "-o", "sarif", str(path)),
        ("diff", str(path), str(path)),
        ("prove", str(path), "exec-visible"),
        ("check", "--fix", str(path)),
    ):
        code = main(["policy", *words])
        captured = capsys.readouterr()
        assert code in (0, 1, 2, 4), words
        assert "Traceback" not in captured.err
        assert not set(captured.out + captured.err) & {"\x1b", "\0", "\x85", "\u2028"}
