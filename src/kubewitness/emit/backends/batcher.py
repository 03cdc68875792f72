"""
Decide which Events leave together and when. Owns no timer and no thread: the caller says what time it is.

`add` takes an Event or says why not; `take` gives the batch that is due, `wakes_at` when to ask again. A batch is due
when it is full or when `max_wait` has passed since collecting began; then it needs a token of the throttle. While it
waits for that, Events pile up in the buffer, and what does not fit is refused.

Follows k8s.io/apiserver/plugin/pkg/audit/buffered/buffered.go and golang.org/x/time/rate. Times are nanoseconds of a
clock that does not go back.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from kubewitness.event.types import Event

_SECOND_NS = 1_000_000_000
QUEUE_BLOCKED = "audit buffer queue blocked"
SHUT_DOWN = "audit backend shut down"


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """The --audit-*-batch-* flags. `throttle_qps` None: not throttled."""

    buffer_size: int
    max_size: int
    max_wait_ns: int
    throttle_qps: float | None = None
    throttle_burst: int = 0


class TokenBucket:
    """Lets `burst` through at once, then `qps` a second."""

    def __init__(self, qps: float, burst: int, now_ns: int) -> None:
        self._qps = qps
        self._burst = burst
        self._tokens = float(burst)
        self._at_ns = now_ns

    def ready_at(self, now_ns: int) -> int:
        """Give the time at which a token is there."""
        self._fill(now_ns)
        if self._tokens >= 1:
            return now_ns
        return now_ns + max(1, round((1 - self._tokens) / self._qps * _SECOND_NS))

    def use(self, now_ns: int) -> None:
        """Use up a token that is there."""
        self._fill(now_ns)
        self._tokens -= 1

    def _fill(self, now_ns: int) -> None:
        earned = (now_ns - self._at_ns) / _SECOND_NS * self._qps
        # what rounding may leave missing of a whole token is given
        self._tokens = min(float(self._burst), round(self._tokens + earned, 9))
        self._at_ns = now_ns


class Batcher:
    """The buffer of one backend. Not thread-safe."""

    def __init__(self, options: BatchOptions, now_ns: int) -> None:
        self._options = options
        self._collected: list[Event] = []
        self._buffer: deque[Event] = deque()
        self._began_ns = now_ns
        self._is_due = False
        self._is_closed = False
        qps = options.throttle_qps
        self._throttle = None if qps is None else TokenBucket(qps, options.throttle_burst, now_ns)

    @property
    def waiting(self) -> int:
        """How many Events have not left yet."""
        return len(self._collected) + len(self._buffer)

    @property
    def is_finished(self) -> bool:
        """Closed, and everything has left."""
        return self._is_closed and not self.waiting

    def add(self, event: Event, now_ns: int) -> str | None:
        """Take an Event; the reason when it is refused."""
        if self._is_closed:
            return SHUT_DOWN
        self._look(now_ns)
        if not self._is_due:
            self._collected.append(event)
            self._is_due = len(self._collected) >= self._options.max_size
        elif len(self._buffer) < self._options.buffer_size:
            self._buffer.append(event)
        else:
            return QUEUE_BLOCKED
        return None

    def take(self, now_ns: int) -> Sequence[Event]:
        """Give the batch that may leave now, or nothing."""
        self._look(now_ns)
        if not self._is_due or (self._throttle is not None and self._throttle.ready_at(now_ns) > now_ns):
            return ()
        if self._throttle is not None:
            self._throttle.use(now_ns)
        batch = self._collected
        self._collected = []
        self._began_ns = now_ns
        while self._buffer and len(self._collected) < self._options.max_size:
            self._collected.append(self._buffer.popleft())
        self._is_due = len(self._collected) >= self._options.max_size
        return batch

    def wakes_at(self, now_ns: int) -> int | None:
        """Give the time at which `take` may have something, if nothing is added; None: never."""
        self._look(now_ns)
        if self._is_due:
            return now_ns if self._throttle is None else self._throttle.ready_at(now_ns)
        return self._began_ns + self._options.max_wait_ns if self._collected else None

    def close(self) -> None:
        """Refuse what comes from now on; what is here leaves without waiting to be full."""
        self._is_closed = True

    def _look(self, now_ns: int) -> None:
        """See whether the time of collecting is over; a time in which nothing came begins anew."""
        if self._is_due:
            return
        if self._is_closed:
            self._is_due = bool(self._collected)
            return
        # a batch of one is full at once: it never waits
        wait_ns = self._options.max_wait_ns
        if self._options.max_size > 1 and now_ns - self._began_ns >= wait_ns:
            if self._collected:
                self._is_due = True
            else:
                self._began_ns = now_ns if not wait_ns else now_ns - (now_ns - self._began_ns) % wait_ns
