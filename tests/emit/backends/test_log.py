"""The log backend: lines, formats, failures, and what is lost elsewhere and written here."""

import io
import threading
from pathlib import Path

import msgspec
import pytest

from kubewitness.emit import wire
from kubewitness.emit.backends.log import LogBackend, Stream
from kubewitness.emit.backends.options import Rotation
from kubewitness.emit.backends.rotate import RotatingFile
from kubewitness.emit.legacy import text_line
from kubewitness.emit.metrics import Metrics
from kubewitness.event.types import Event
from tests.emit.samples import event
from tests.emit.stages.recorded import lines


def rotating(path: Path, max_bytes: int | None = None) -> RotatingFile:
    return RotatingFile(path, Rotation(max_bytes), lambda: 0, lambda tidy: tidy())


def test_the_recorded_log_is_written_again(tmp_path: Path) -> None:
    """The Events of a recorded log, handed to the backend, give the file kube-apiserver wrote."""
    path = tmp_path / "audit.log"
    backend = LogBackend(rotating(path), Metrics())
    backend.run()
    assert backend.process_events([msgspec.json.decode(raw, type=Event) for raw in lines("metadata")])
    backend.shutdown()
    assert path.read_bytes() == b"\n".join(lines("metadata")) + b"\n"


def test_formats() -> None:
    """json is an object a line, legacy a line of text; standard output is flushed line by line."""
    for line_format, expected in (("json", wire.line(event())), ("legacy", text_line(event()).encode() + b"\n")):
        raw = io.BytesIO()
        stream = io.BufferedWriter(raw)
        backend = LogBackend(Stream(stream), Metrics(), line_format)
        assert backend.process_events([event()])
        assert raw.getvalue() == expected
        backend.shutdown()
        assert not stream.closed


def test_a_full_disk_is_counted_and_reported() -> None:
    """Each Event that cannot be written is counted and told in Go's words; the backend says no."""
    told: list[str] = []
    metrics = Metrics(told.append)
    backend = LogBackend(rotating(Path("/dev/full")), metrics)
    assert not backend.process_events([event(), event()])
    assert metrics.errors == {"log": 2}
    assert told[0].startswith("Error in audit plugin 'log' affecting 1 audit events: no space left on device\n")
    backend.shutdown()


def test_an_event_that_is_no_text_does_not_stop_the_others(tmp_path: Path) -> None:
    """An Event with half a character is counted as lost, the next one is written."""
    metrics = Metrics()
    backend = LogBackend(rotating(tmp_path / "a.log"), metrics)
    odd = msgspec.structs.replace(event(), verb="\udcff")
    assert not backend.process_events([odd, event()])
    assert metrics.errors == {"log": 1}
    assert (tmp_path / "a.log").read_bytes() == wire.line(event())
    backend.shutdown()


SMALL = len(wire.line(event()))


@pytest.mark.parametrize(("size", "counted"), [(0, 0), (500 - SMALL, 0), (501 - SMALL, 1), (600, 1)])
def test_an_event_above_maxsize_is_written_and_counted(tmp_path: Path, size: int, counted: int) -> None:
    """kube-apiserver loses an Event above maxsize; here it is in the file, and counted."""
    metrics = Metrics()
    backend = LogBackend(rotating(tmp_path / "a.log", 500), metrics)
    assert backend.process_events([event(size)])
    assert (tmp_path / "a.log").read_bytes() == wire.line(event(size))
    assert metrics.oversized == counted
    assert metrics.errors == {}
    backend.shutdown()


def test_lines_of_many_threads_stay_whole(tmp_path: Path) -> None:
    """Requests on several threads share the file: every line is whole, none is missing, files keep their size."""
    path = tmp_path / "audit.log"
    clock = iter(range(10_000))
    file = RotatingFile(path, Rotation(4000), lambda: next(clock) * 1000, lambda tidy: tidy())
    backend = LogBackend(file, Metrics())

    def work(number: int) -> None:
        for i in range(50):
            backend.process_events([event(i, audit_id=f"{number}-{i}")])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    backend.shutdown()
    found = [
        msgspec.json.decode(line, type=Event) for log in tmp_path.iterdir() for line in log.read_bytes().splitlines()
    ]
    assert {item.audit_id for item in found} == {f"{number}-{i}" for number in range(4) for i in range(50)}
    assert len(found) == 200
    assert max(log.stat().st_size for log in tmp_path.iterdir()) <= 4000
