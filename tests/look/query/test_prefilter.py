"""Lines passed over: what is found is what a full reading finds, however texts are written."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kubewitness.look.query import linesearch, linetexts, textsearch
from kubewitness.look.query.prefilter import shared_needles
from kubewitness.look.query.run import open_events
from kubewitness.look.query.sql import unknown, where
from kubewitness.look.query.syntax import filter_of
from tests.event.damage import event

QUESTIONS: list[dict[str, list[str]]] = [
    {"user": ["mallory"]},
    {"user": ["mall*"]},
    {"verb": ["delete"], "resource": ["secrets"], "name": ["important"]},
    {"ip": ["203.0.113.77"]},
    {"user": ["mallory"], "code": ["403"]},
    {"resource": ["pods/exec"]},
    {"resource": ["secrets"], "namespace": ["production"], "name": ["!x"]},
    {"name": ["a/b"]},
    {"outcome": ["denied"], "group": ["dev&ops"]},
]


@pytest.fixture
def _selective(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for texts that are in many lines, too."""
    monkeypatch.setattr(linetexts, "_SELECTIVE", 0.5)


def escaped(text: str, chooser: random.Random) -> str:
    """Write some characters of a JSON text as escapes that no Go program writes."""
    return "".join(
        f"\\u{ord(sign):04x}" if sign.isalnum() and chooser.random() < 0.05 else sign for sign in text
    ).replace("/", "\\/" if chooser.random() < 0.3 else "/")


def line(chooser: random.Random, number: int, *, escapes: float = 0.1) -> str:
    """Give one Event of which most match nothing."""
    pick = chooser.choice
    is_rare = chooser.random() < 0.2
    members = {
        "user": {"username": pick(["mallory", "mallet"]) if is_rare else "alice", "groups": ["dev&ops"]},
        "verb": pick(["delete", "get"]),
        "stage": pick(["RequestReceived", "ResponseStarted", "ResponseComplete"]),
        "auditID": f"id-{number // 2}" if chooser.random() < 0.3 else f"id-{number}",
        "objectRef": {
            "resource": pick(["secrets", "pods"]) if is_rare else "leases",
            "name": pick(["important", "a/b", "x", None]),
            "namespace": pick(["production", "default", None]),
            "subresource": pick(["exec", "log"]),
        },
        "sourceIPs": [pick(["203.0.113.77", "::ffff:203.0.113.77"]) if is_rare else "10.0.0.1"],
        "responseStatus": {"code": pick([200, 403])},
        "requestReceivedTimestamp": "2026-03-01T00:00:00.000000Z",
    }
    text = event(number, **members)
    if chooser.random() < escapes:
        values = json.dumps(members["user"], separators=(",", ":"))
        text = text.replace(values, '{"username":"' + escaped(members["user"]["username"], chooser) + '","groups":[]}')
    return text


@pytest.mark.usefixtures("_selective")
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 30), question=st.sampled_from(QUESTIONS), stages=st.sampled_from(["latest", "all"]))
@example(seed=35, question={"resource": ["secrets"], "namespace": ["production"], "name": ["!x"]}, stages="latest")
def test_the_answer_is_that_of_a_full_reading(
    tmp_path: Path, seed: int, question: dict[str, list[str]], stages: str
) -> None:
    """Passing lines over changes neither rows, nor the count of unknown ones, nor their bytes."""
    chooser = random.Random(seed)
    path = tmp_path / "audit.log"
    path.write_text("\n".join(line(chooser, number) for number in range(200)))
    wanted = filter_of(question, since=None, until=None, now=0)
    answers = []
    with open_events([str(path)]) as events:
        for given_filter in (None, wanted):
            answer = events.query(
                "SELECT _row, audit_id, stage, code FROM events ORDER BY ALL",
                where=where(wanted),
                unknown=unknown(wanted),
                stages=stages,  # type: ignore[arg-type]
                keeps_bytes=True,
                filter_=given_filter,
            )
            rows = list(answer)
            raw = list(answer.exact_bytes([row[0] for row in rows]))
            answers.append((sorted(zip([row[1:] for row in rows], raw, strict=True)), answer.account.unknown))
    assert answers[0] == answers[1]


@pytest.mark.usefixtures("_selective")
def test_stages_that_contradict_each_other_are_of_two_requests(tmp_path: Path) -> None:
    """A later line of the same id, person and time, but about another object, neither hides nor becomes the answer."""
    path = tmp_path / "audit.log"
    same = {"user": {"username": "mallory"}, "verb": "delete", "requestReceivedTimestamp": "2026-03-01T00:00:00Z"}
    first = event(1, stage="RequestReceived", objectRef={"resource": "secrets", "name": "important"}, **same)
    later = event(1, objectRef={"resource": "pods", "name": "x"}, **same)
    nameless = event(2, stage="RequestReceived", objectRef={"resource": "secrets"}, **same)
    filled = event(2, objectRef={"resource": "secrets", "name": "important"}, **same)
    path.write_text("\n".join([first, nameless, later, filled, *(event(i) for i in range(3, 50))]) + "\n")
    wanted = filter_of({"verb": ["delete"], "resource": ["secrets"]}, since=None, until=None, now=0)
    named = filter_of({"verb": ["delete"], "resource": ["secrets"], "name": ["!y"]}, since=None, until=None, now=0)
    with open_events([str(path)]) as events:
        for question, given_filter in ((wanted, None), (wanted, wanted), (named, None), (named, named)):
            answer = events.query(
                "SELECT audit_id, stage FROM events ORDER BY ALL",
                where=where(question),
                unknown=unknown(question),
                filter_=given_filter,
            )
            assert list(answer) == [("id-1", "RequestReceived"), ("id-2", "ResponseComplete")]


@pytest.mark.usefixtures("_selective")
def test_few_lines_are_parsed_and_the_account_says_so(tmp_path: Path) -> None:
    """Only candidate lines are looked at; the rest is not claimed to be sound."""
    path = tmp_path / "audit.log"
    path.write_text("\n".join([event(i) for i in range(5000)] + [event(9, user={"username": "mallory"})] + ["torn {"]))
    wanted = filter_of({"user": ["mallory"]}, since=None, until=None, now=0)
    with open_events([str(path)]) as events:
        answer = events.query("SELECT username FROM events", where=where(wanted), filter_=wanted)
        assert list(answer) == [("mallory",)]
        assert (answer.account.lines, answer.account.damaged, answer.account.damage_checked) == (1, 0, False)


@pytest.mark.usefixtures("_selective")
def test_an_odd_candidate_means_a_full_reading(tmp_path: Path) -> None:
    """If a line that holds the text is damaged, everything is read, and counted."""
    path = tmp_path / "audit.log"
    torn = event(9, user={"username": "mallory"})[:-20]
    path.write_text("\n".join([*(event(i) for i in range(500)), torn, event(7, user={"username": "mallory"})]))
    wanted = filter_of({"user": ["mallory"]}, since=None, until=None, now=0)
    with open_events([str(path)]) as events:
        answer = events.query("SELECT audit_id FROM events", where=where(wanted), filter_=wanted)
        assert list(answer) == [("id-7",)]
        assert (answer.account.lines, answer.account.damaged, answer.account.damage_checked) == (502, 1, True)


@pytest.mark.usefixtures("_selective")
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [
                b"",
                b"needle",
                b"x" * 50,
                b"a needle here",
                b"\\u006eeedle",
                b"\\u0026 b",
                b"\0",
                b"zero\0 needle",
                b"need",
            ]
        ),
        max_size=40,
    )
)
def test_candidates_are_all_lines_with_the_text(tmp_path: Path, lines: list[bytes]) -> None:
    """Offsets and bytes are those of a plain reading, whatever the size of the pieces read."""
    path = tmp_path / "text"
    data = b"\n".join(lines)
    path.write_bytes(data)
    expected, at = [], 0
    for text in data.split(b"\n"):
        if b"needle" in text or b"\\u006e" in text:
            expected.append((at, text))
        at += len(text) + 1
    old = linesearch.PIECE_BYTES
    linesearch.PIECE_BYTES = 64
    try:
        search = textsearch.Search({str(path): linetexts.texts_of(frozenset({b"needle"}))})
        found = search.lines(str(path))
        search.close()
    finally:
        linesearch.PIECE_BYTES = old
    assert found is not None
    assert [(offset, text.removesuffix(b"\n")) for offset, text in found] == expected


@pytest.mark.parametrize(
    ("name", "spelled"),
    [("a\tb", r"a\u0009b"), ("a\nb", r"a\u000Ab"), ("a\x7fb", r"a\u007fb"), ('a"b', r"a\u0022b"), ("a/b", r"a\/b")],
)
def test_a_spelling_that_go_does_not_write_is_found(tmp_path: Path, name: str, spelled: str) -> None:
    """Whoever wrote the log, a name is found as a full reading finds it: by its texts, or by reading everything."""
    path = tmp_path / "a.log"
    path.write_text(f'{{"auditID":"1","user":{{"username":"{spelled}"}}}}\n' + '{"auditID":"2"}\n' * 200)
    for group in shared_needles(filter_of({"user": [name]}), joins_stages=False):
        search = textsearch.Search({str(path): linetexts.texts_of(group)})
        assert search.lines(str(path)), group
