"""What jq says of a sifted log is what it says of the whole: output, complaints with their line numbers, exit code."""

import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubewitness.look.query.jq.sift import Sifter, shallow
from tests.look.query.jq.damage import CASES, event
from tests.look.query.jq.filters import BROKEN, NEVER_SIFTED, RECIPES, SELECTIVE
from tests.look.query.jq.real import ask, sift
from tests.look.query.jq.strategies import filters, lines

DATA = Path(__file__).parents[3] / "data"
PROBES = [
    'select(.verb == "delete") | .auditID',
    'select(.objectRef.resource | test("secret")) | .objectRef.name',
    'select(.sourceIPs[] == "192.168.1.100") | .auditID',
    "select(.responseStatus.code >= 400) | .responseStatus",
    'select(.objectRef.resource == "secrets" and .user.username == "u5") | .userAgent',
]


def check(program: str, data: bytes, *words: str, piece: int = 1 << 18, variables: dict[str, object] | None = None):
    """Sifting changes nothing that jq says."""
    sifted = sift(program, data, piece, variables)
    if sifted != data:
        assert ask([*words, "-c", program], sifted) == ask([*words, "-c", program], data)
    return sifted


@pytest.fixture(scope="module")
def log() -> bytes:
    """A part of a recorded log in which every recipe has something to find or to stumble over."""
    whole = zstandard.ZstdDecompressor().stream_reader((DATA / "audit-full.log.zst").read_bytes()).read().split(b"\n")
    return b"\n".join(whole[::23]) + b"\n"


@pytest.mark.parametrize("program", [*RECIPES, *SELECTIVE, *NEVER_SIFTED, *BROKEN])
def test_a_recorded_log(program, log):
    """Recipes and others give the same from a recorded log."""
    check(program, log, "--arg", "name", "important", variables={"name": "important"})


@pytest.mark.parametrize("program", SELECTIVE)
def test_selective_filters_are_sifted(program, log):
    """A selective filter spares jq most of a log, unless an error is due for most of it."""
    sifted = sift(program, log, variables={"name": "important"})
    assert len(sifted) < len(log) * 0.75


@pytest.mark.parametrize("program", NEVER_SIFTED)
def test_what_cannot_be_proven_is_not_sifted(program, log):
    """A filter that may see other inputs, or that is not understood, gets all."""
    assert sift(program, log) == log


@pytest.mark.parametrize("case", CASES)
def test_damage(case):
    """Damaged logs give the same, in pieces of any size."""
    turn = sorted(CASES).index(case)
    for number in range(2):
        piece = (1 << 18, (7, 100)[turn % 2])[number] if case != "long_line" else 1 << 18
        check(PROBES[(turn + number) % len(PROBES)], CASES[case], piece=piece)


@pytest.mark.parametrize("case", CASES)
def test_exit_status(case):
    """With -e too the exit code is the same, though with jq 1.6 it depends on the last input alone."""
    check('select(.verb == "delete") | .objectRef.name', CASES[case], "-e")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(program=filters(), given_lines=st.lists(lines(), min_size=4, max_size=24), piece=st.sampled_from([64, 1 << 18]))
def test_any_filter_over_any_lines(program, given_lines, piece):
    """No filter of the understood part of the language tells a sifted input from the whole."""
    check(program, b"".join(given_lines), piece=piece)


def test_the_last_input_stays():
    """The last input reaches jq even when the filter passes over it; those before leave empty lines."""
    data = (event(1) + "\n" + event(2) + "\n\n").encode()
    assert sift('select(.verb == "delete")', data) == ("\n" + event(2) + "\n\n").encode()


def test_a_match_is_not_held_back():
    """A line that jq must see leaves the sifter as soon as it is complete."""
    from kubewitness.look.query.jq.program import parse
    from kubewitness.look.query.jq.silence import silence

    program = 'select(.verb == "delete")'
    sifter = Sifter(silence(program, parse(program)))
    line = (event(3) + "\n").encode()
    sifter.room()[: len(line)] = line
    assert sifter.take(len(line)) == line


def test_nesting_is_guarded_without_the_parser():
    """Where Python cannot make its parser shallow, deep lines are found by counting."""
    from kubewitness.look.query.jq.program import parse
    from kubewitness.look.query.jq.silence import silence

    program = 'select(.verb == "delete")'
    data = CASES["deep_257"]
    for nesting, is_whole in ((256, True), (None, False)):
        sifter = Sifter(silence(program, parse(program)), nesting)
        sifter.room()[: len(data)] = data
        assert (event(7).encode() in sifter.take(len(data))) == is_whole


def test_the_parser_is_made_shallow_for_a_while():
    """Inside `shallow` an input nested too deeply is refused, afterwards no longer."""
    from kubewitness.look.query.jq.sift import refuses_nesting

    before = refuses_nesting(300)
    with shallow(256) as is_guarded:
        assert is_guarded == refuses_nesting(256)
        json.loads("[]")
    assert refuses_nesting(300) == before
