"""From a body to its receipt: stored, known, noticed, and errors that everybody who waits hears of."""

from pathlib import Path

import pytest

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.receiver.intake import Intake, Outcome
from kubewitness.keep.receiver.quarantine import Quarantine
from kubewitness.keep.receiver.reuse import Ids
from kubewitness.keep.store.errors import UnavailableError
from tests.assembly.serving import event, event_list
from tests.keep.store.build import opened, read


def intake(path: Path, **options) -> Intake:
    log = opened(path)
    with DiskDirectory.at(path) as root:
        return Intake(log, Quarantine(root, log.window.identity, 1 << 20), **options)


def test_outcomes(tmp_path: Path) -> None:
    """What is new, what came before, what is kept aside; and the time of the last Event."""
    durable: list[int] = []
    taking = intake(tmp_path, on_durable=durable.append)
    stamp = "2026-11-23T03:05:00.000000Z"
    body = event_list(event(1), event(2))
    assert taking.take(body, "s", 7).result(10) == Outcome(2, 2, 0, 0, 0, stamp, len(body))
    body = event_list(event(2), b"1", event(3))
    assert taking.take(body, "s", 8).result(10) == Outcome(2, 1, 1, 1, 0, stamp, len(body))
    assert taking.take(b"", "s", 9).result(10) == Outcome(0, 0, 0, 0, 0, None)
    taking.close()
    assert durable == [2, 3]
    assert read(tmp_path / "segments") == ([event(1), event(2), event(3)], [])


def test_reuse_is_told_only_of_new_events(tmp_path: Path) -> None:
    """T7: a copy that comes again is no reuse; another content under the same auditID and stage is."""
    told: list[int] = []
    taking = intake(tmp_path, on_reused=told.append)
    taking.take(event_list(event(1, "x"), event(2, "y")), "s", 7).result(10)
    taking.take(event_list(event(1, "x"), event(1, "x")), "s", 7).result(10)
    assert told == []
    taking.take(event_list(event(9, "y"), event(3, "z"), event(8, "z")), "s", 7).result(10)
    taking.close()
    assert told == [2, 4]


def test_a_full_disk_and_a_closed_store_are_said(tmp_path: Path) -> None:
    """Nothing is taken below the reserve, nor after the end; whoever asks hears UnavailableError."""
    is_full = [True]
    taking = intake(tmp_path, is_full=lambda: is_full[0])
    with pytest.raises(UnavailableError, match="nearly full"):
        taking.take(event_list(event(1)), "s", 7).result(10)
    is_full[0] = False
    assert taking.take(event_list(event(1)), "s", 7).result(10).stored == 1
    taking.close()
    with pytest.raises(UnavailableError, match="closing"):
        taking.take(event_list(event(2)), "s", 7).result(10)
    assert read(tmp_path / "segments") == ([event(1)], [])


def test_ids_are_remembered_for_a_while() -> None:
    """At least as many as asked for, at most twice as many."""
    ids = Ids(capacity=10)
    assert not any(ids.see(number) for number in range(10))
    assert all(ids.see(number) for number in range(10))
    assert not any(ids.see(number) for number in range(10, 30))
    assert not ids.see(0)
    assert ids.see(29)


def test_a_fault_in_telling_keeps_nothing_from_being_acknowledged(tmp_path: Path) -> None:
    """Whoever is told of durable Events may fail; they are stored and acknowledged, and so are the next ones."""

    def fails(_: int) -> None:
        raise RuntimeError

    taking = intake(tmp_path, on_durable=fails, on_reused=fails)
    assert taking.take(event_list(event(1, "x")), "s", 7).result(10).stored == 1
    assert taking.take(event_list(event(2, "x")), "s", 7).result(10).stored == 1
    assert taking.is_alive
    taking.close()
    assert not taking.is_alive


def test_a_fault_of_ours_costs_no_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that cannot be taken apart for a fault of ours is kept whole aside, and acknowledged."""
    from kubewitness.keep.receiver import intake as module

    def fails(_: bytes) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(module, "take_apart", fails)
    taking = intake(tmp_path)
    assert taking.take(b"body", "s", 7).result(10) == Outcome(0, 0, 0, 1, 0, None, 4)
    taking.close()
    (kept,) = (tmp_path / "quarantine").iterdir()
    assert kept.read_bytes().endswith(b'"why":"a fault of kubewitness: ZeroDivisionError"}]}\nbody')
