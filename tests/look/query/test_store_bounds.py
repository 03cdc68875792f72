"""Newest lines are passed over only where none of them could match, and it is said that they were."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from kubewitness.event.expr import Expr
from kubewitness.look.query import sql, store
from kubewitness.look.query.store import open_store
from kubewitness.look.query.store_bounds import line_test
from kubewitness.look.query.syntax import filter_of
from tests.look.query.stored import fill, items_of
from tools.run_docs import workplace


@pytest.fixture(scope="module")
def tail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A third of the recorded log in a store without an index."""
    place = tmp_path_factory.mktemp("tail")
    workplace(place)
    fill(place / "data", "prod", items_of(place / "full.log")[::3])
    return place / "data"


def asked(data: Path, filter_: Expr, stages: str, *, checks_all: bool) -> tuple[list[object], int, int, bool]:
    with open_store(str(data)) as events:
        events.checks_all = checks_all
        where, unknown = sql.where(filter_), sql.unknown(filter_)
        question = "SELECT audit_id, stage, code, log_index FROM events ORDER BY ALL"
        with closing(
            events.query(question, where=where, unknown=unknown, stages=stages, filter_=filter_)  # type: ignore[arg-type]
        ) as answer:
            account = answer.account
            return list(answer), account.events, account.unknown, account.damage_checked


FILTERS = {
    "user": filter_of({"user": ["attacker"]}),
    "name": filter_of({"name": ["important"], "resource": ["secrets"]}),
    "uri": filter_of({"verb": ["patch"], "user-agent": ["*kube*"]}),
    "not": filter_of({"user": ["!attacker"]}),
}


@pytest.mark.parametrize("stages", ["latest", "all"])
@pytest.mark.parametrize("name", FILTERS)
def test_the_answer_is_that_of_all_lines(tail: Path, name: str, stages: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, events and unknowns are the same when lines are passed over; only damage is not looked for then."""
    whole = asked(tail, FILTERS[name], stages, checks_all=True)
    monkeypatch.setattr(store, "WHOLE_BYTES", 0)
    short = asked(tail, FILTERS[name], stages, checks_all=False)
    assert whole[0] or name == "name"
    assert short[:3] == whole[:3]
    assert (whole[3], short[3]) == (True, name == "not")


def test_few_lines_are_all_read(tail: Path) -> None:
    """Damage is looked for in as many bytes as take no time to speak of."""
    assert asked(tail, filter_of({"audit-id": ["nobody"]}), "all", checks_all=False)[3] is (
        store.WHOLE_BYTES > 1614 * 1000
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"verb":"patch"}', True),
        (b'{"verb":"list"}', False),
        (b'{"verb":"\\u0070atch"}', True),
        (b'{"verb":"p\\/atch"}', True),
        (b'{"requestURI":"/a?b\\u0026c\\u003d"}', True),
        (b'{"requestURI":"/a?b\\u0026c\\u003cd\\u003e\\"\\\\e"}', False),
    ],
)
def test_lines_with_other_escapes_are_kept(line: bytes, expected: bool) -> None:
    """What Go does not write may hide the text."""
    test = line_test(filter_of({"verb": ["patch"]}), joins_stages=True)
    assert test is not None
    assert test(line) is expected
    assert json.loads(line)


def test_a_question_without_a_text_passes_nothing_over() -> None:
    """Numbers, and what is not said to be so, are in no line as a text."""
    assert line_test(filter_of({"code": ["400-599"]}), joins_stages=False) is None
    assert line_test(FILTERS["not"], joins_stages=False) is None
