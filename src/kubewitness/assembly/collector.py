"""
Collect garbage when it suits: what a server remembers of Events is no garbage, and looking through it takes time.

Python's own collector looks at every object again and again as their number grows, in the middle of a request. Here
the young are looked at every few seconds and then set aside, and all of them now and then.
"""

import gc
import time
from collections.abc import Callable

YOUNG_SECONDS = 5.0
ALL_SECONDS = 600.0


class Collector:
    """Takes the place of the automatic collector of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin; what is there now is set aside."""
        self._clock = clock
        gc.disable()
        gc.collect()
        gc.freeze()
        self._young = self._all = clock()

    def step(self) -> None:
        """Do what is due; to be called every second or so."""
        now = self._clock()
        if now - self._all >= ALL_SECONDS:
            self._all = self._young = now
            gc.unfreeze()
            gc.collect()
            gc.freeze()
        elif now - self._young >= YOUNG_SECONDS:
            self._young = now
            gc.collect()  # of those that were not set aside
            gc.freeze()

    def close(self) -> None:
        """Give the work back to Python."""
        gc.unfreeze()
        gc.enable()
