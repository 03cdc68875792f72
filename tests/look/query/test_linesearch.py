"""Lines found by processes of our own: none is lost, and what goes wrong with them is not taken for an answer."""

import faulthandler
import os
import signal
import time
from pathlib import Path

import pytest

from kubewitness._kit.descriptors import write_all
from kubewitness.look.query import linesearch, linetexts, textsearch
from kubewitness.look.query.linesearch import LineSearch, Texts

NEEDLE: Texts = ((b"needle",), (b"\\u00",))
HAY = b"hay\n" * 40


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut files into many pieces."""
    monkeypatch.setattr(linesearch, "PIECE_BYTES", 64)


def lines_of(path: Path, texts: Texts = NEEDLE) -> list[bytes] | None:
    """Give the lines that are found in a file."""
    search = LineSearch([(str(path), texts)])
    try:
        [spans] = search.result()
    finally:
        search.close()
    data = path.read_bytes()
    return None if spans is None else [data[first:last] for first, last in spans]


def test_lines_are_found_wherever_pieces_end(tmp_path: Path) -> None:
    """At the first and the last byte, behind zero bytes, and in a line longer than pieces."""
    path = tmp_path / "log"
    for data, expected in (
        (b"", []),
        (b"needle", [b"needle"]),
        (b"needle\n", [b"needle\n"]),
        (HAY + b"a needle" * 30 + b"\n" + HAY, [b"a needle" * 30 + b"\n"]),
        (b"\0" * 100 + b"needle\n" + HAY + b"needle", [b"\0" * 100 + b"needle\n", b"needle"]),
        (HAY + b"a\0\nneedle\n\0", [b"needle\n"]),
        (HAY + b"needl" + b"\n" + b"e" * 200, []),
    ):
        path.write_bytes(data)
        assert lines_of(path) == expected, data


def test_each_file_has_its_own_texts(tmp_path: Path) -> None:
    """Several files are searched at once."""
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(HAY + b"one\n" + HAY + b"two\n")
    texts: list[Texts] = [((word,), ()) for word in (b"one", b"two", b"none")]
    found = LineSearch([(str(path), text) for path, text in zip(paths, texts, strict=True)]).result()
    assert found == [[(160, 164)], [(324, 328)], []]


def test_escapes_that_go_writes_do_not_count(tmp_path: Path) -> None:
    r"""`\u0026` is in many a URL; `\u006e` and `\u003C` are written by no Go program."""
    path = tmp_path / "log"
    odd = [b"\\u006eeedle\n", b"\\u003C\n"]
    path.write_bytes(HAY + b"a\\u0026b\\u003c\\u000a\n" + b"".join(odd) + b"\\u0026 needle\n" + HAY)
    assert lines_of(path) == [*odd, b"\\u0026 needle\n"]


def test_where_go_escapes_a_lot_only_the_needles_own_signs_are_sought() -> None:
    """Other escapes cannot hide it."""
    sample = b"a\\u0026b" * 10
    plain, escapes = linetexts.texts_of(frozenset({b'"web-7/Xy"'}), sample)
    assert plain == (b'"web-7/Xy"', b"\\/")
    hiding = {b"\\u003", b"\\u005", b"\\u006", b"\\u007", b"\\u002d", b"\\u002D", b"\\u002f", b"\\u002F"}
    assert set(escapes) == hiding
    assert linetexts.texts_of(frozenset({b'"a\\"b"'}), sample)[1] == (b"\\u00",)
    assert linetexts.texts_of(frozenset({b'"web"'}), b"")[1] == (b"\\u00",)


def test_a_file_with_too_many_is_left_to_a_full_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as there is more than is worth holding."""
    monkeypatch.setattr(linesearch, "MOST_BYTES", 100)
    path = tmp_path / "log"
    path.write_bytes(b"needle\n" * 14)
    assert lines_of(path) == [b"needle\n"] * 14
    path.write_bytes(b"needle\n" * 15)
    assert lines_of(path) is None


def test_a_file_cut_short_while_it_is_read_gives_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The helpers die of it; nothing is concluded from what they had not seen."""
    path = tmp_path / "log"
    path.write_bytes(HAY * 1000 + b"needle\n")
    search = linesearch.Finder.lines

    def cut(finder: linesearch.Finder, start: int, end: int) -> list[tuple[int, int]]:
        faulthandler.disable()  # which pytest enables: it would tell of the death that is meant
        os.truncate(path, 10)
        return search(finder, start, end)

    monkeypatch.setattr(linesearch.Finder, "lines", cut)
    assert lines_of(path) is None


def test_a_search_that_is_closed_leaves_no_process(tmp_path: Path) -> None:
    """Neither running nor to be waited for."""
    path = tmp_path / "log"
    path.write_bytes(HAY * 10)
    search = LineSearch([(str(path), NEEDLE)])
    helpers = list(search._running)
    assert helpers
    search.close()
    for helper in helpers:
        with pytest.raises(ChildProcessError):
            os.waitpid(helper, os.WNOHANG)


def test_where_no_process_can_be_made_everything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no reason to fail, nor to find nothing."""

    def refuse() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", refuse)
    path = tmp_path / "log"
    path.write_bytes(b"needle\n")
    assert lines_of(path) is None


def test_how_far_it_is(tmp_path: Path) -> None:
    """It goes from nothing to everything, and is over when it is closed."""
    path = tmp_path / "log"
    path.write_bytes(HAY * 1000)
    search = LineSearch([(str(path), NEEDLE)])
    before = search.fraction
    assert search.result() == [[]]
    assert 0 <= before <= search.fraction == 1
    search.close()
    assert search.fraction == 1


@pytest.mark.parametrize(("processors", "begun", "in_all"), [(1, 1, 1), (2, 1, 2), (3, 2, 3)])
def test_one_processor_is_left_to_the_program_until_it_waits(
    processors: int, begun: int, in_all: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it has nothing better to do; where the search is over there is nothing to help with."""
    path = tmp_path / "log"
    path.write_bytes(HAY * 10 + b"needle\n")
    go_on = tmp_path / "go on"
    search_lines = linesearch.Finder.lines

    def wait(finder: linesearch.Finder, start: int, end: int) -> list[tuple[int, int]]:
        while not go_on.exists():
            time.sleep(0.01)
        return search_lines(finder, start, end)

    monkeypatch.setattr(linesearch, "processors", lambda: processors)
    monkeypatch.setattr(linesearch.Finder, "lines", wait)
    fork, forked = LineSearch._fork, []

    def counted(search: LineSearch) -> None:
        forked.append(search)
        fork(search)
        if len(forked) == in_all:
            go_on.touch()

    monkeypatch.setattr(LineSearch, "_fork", counted)
    search = LineSearch([(str(path), NEEDLE)])
    assert len(forked) == begun
    assert search.result() == [[(1600, 1607)]]
    assert len(forked) == in_all


def test_who_waits_for_what_is_over_helps_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is made for nothing."""
    monkeypatch.setattr(linesearch, "processors", lambda: 2)
    path = tmp_path / "log"
    path.write_bytes(HAY)
    search = LineSearch([(str(path), NEEDLE)])
    while search.fraction < 1:
        pass
    monkeypatch.setattr(LineSearch, "_fork", None)
    assert search.result() == [[]]


def test_it_works_for_who_ignores_the_ends_of_processes(tmp_path: Path) -> None:
    """A parent may hand that down; then nobody can be waited for."""
    path = tmp_path / "log"
    path.write_bytes(HAY + b"needle\n")
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert lines_of(path) == [b"needle\n"]
        LineSearch([(str(path), NEEDLE)]).close()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_what_was_begun_is_taken_by_who_asks_for_it(tmp_path: Path) -> None:
    """And by nobody else; what nobody takes is stopped."""
    path = str(tmp_path / "log")
    Path(path).write_bytes(HAY + b"needle\n")
    textsearch.begin({path: NEEDLE})
    [begun] = textsearch._begun
    taken = textsearch.search({path: NEEDLE})
    assert taken is begun
    assert taken.lines(path) == [(160, b"needle\n")]
    textsearch.begin({path: NEEDLE})
    [begun] = textsearch._begun
    other = textsearch.search({path: ((b"hay",), ())})
    assert other is not begun
    assert other.lines(path) == [(4 * place, b"hay\n") for place in range(40)]
    assert begun._search is not None
    assert not begun._search._running, "it goes on searching"
    assert not textsearch._begun


def test_no_piece_is_taken_twice() -> None:
    """Processes that take pieces as fast as they can get each piece exactly once among them."""
    pieces = [(number, 7 * number) for number in range(100_000)]
    places = linesearch._shared(pieces)
    gate, opens = os.pipe()
    answers, helpers = [], []
    for _ in range(4):
        reading, writing = os.pipe()
        helper = os.fork()
        if helper == 0:
            os.close(opens)
            os.read(gate, 1)  # until all are there
            taken = iter(lambda: os.read(places, 16), b"")
            write_all(writing, b"".join(taken))
            os._exit(0)
        os.close(writing)
        answers.append(reading)
        helpers.append(helper)
    os.close(opens)
    data = b"".join(map(linesearch._read, answers))
    for reading in (*answers, places, gate):
        os.close(reading)
    for helper in helpers:
        os.waitpid(helper, 0)
    numbers = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]
    assert sorted(zip(numbers[::2], numbers[1::2], strict=True)) == pieces
