"""
A progress bar on standard error, for people only: drawn when that is a terminal and the work lasts.

The work says how far it is through a callable (0..1, or None while it cannot know); a thread draws. The bar is gone
before the first row of the answer, after Ctrl-C, and whenever anything else is said on standard error.
"""

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO, TypeVar

from kubewitness.cli.render.output import terminal_width
from kubewitness.cli.render.printable import fit, printable

if TYPE_CHECKING:
    import threading

T = TypeVar("T")

# Work shorter than this is not worth a flicker.
_PATIENCE_S = 0.5
_REDRAW_S = 0.1
_BAR_CELLS = 24
_CLEAR = "\r\x1b[K"


class Progress:
    """Draws how far the work is, while inside `with`."""

    def __init__(
        self,
        label: str,
        fraction: Callable[[], float | None],
        stream: TextIO | None = None,
        *,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._label = printable(label)
        self._fraction = fraction
        self._stream = sys.stderr if stream is None else stream
        self._patience_s = patience_s
        self._stopped: threading.Event | None = None
        self._thread: threading.Thread | None = None
        self._is_drawn = False

    def __enter__(self) -> Self:
        if self._stream.isatty():
            import threading

            self._stopped = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._stopped,), name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the bar away; it does not come back."""
        if self._stopped is not None:
            self._stopped.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        if self._is_drawn:
            self._is_drawn = False
            self._stream.write(_CLEAR)
            self._stream.flush()

    def until_first(self, rows: Iterable[T]) -> Iterator[T]:
        """Give `rows`, the bar taken away before the first of them, or at the end when there is none."""
        rest = iter(rows)
        first = list(itertools.islice(rest, 1))
        self.stop()
        yield from first
        yield from rest

    def _run(self, stopped: "threading.Event") -> None:
        started = time.monotonic()
        if stopped.wait(self._patience_s):
            return
        while True:
            self._draw(bar(self._label, self._fraction(), time.monotonic() - started))
            if stopped.wait(_REDRAW_S):
                return

    def _draw(self, line: str) -> None:
        self._stream.write(f"{_CLEAR}{fit(line, terminal_width() - 1, '~')}")
        self._stream.flush()
        self._is_drawn = True


def bar(label: str, fraction: float | None, elapsed_s: float) -> str:
    """Draw one line: how far, how long still."""
    if fraction is None or not 0 < fraction <= 1:
        return f"{label} ... {elapsed_s:.0f} s"
    filled = round(fraction * _BAR_CELLS)
    left_s = elapsed_s * (1 - fraction) / fraction
    return f"{label} [{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {fraction:4.0%}, {left_s:.0f} s left"
