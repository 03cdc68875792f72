"""
A histogram over time as text: one line a bucket, the share that was refused or failed told apart.

The bucket is the smallest of the usual lengths that keeps the picture within `MOST_BUCKETS` lines.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kubewitness.cli.render.output import Output
from kubewitness.cli.render.values import Tone, rfc3339

MOST_BUCKETS = 24
_USUAL_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800)
_DAY_S = 86400
_LEAST_BAR = 10


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many requests came in a stretch of time, and how many of them did not succeed."""

    total: int = 0
    refused: int = 0


def bucket_length(span_s: float) -> int:
    """Choose the length of a bucket, in seconds, for a span."""
    for length in _USUAL_S:
        if span_s / length < MOST_BUCKETS:
            return length
    days = -(-span_s // (_DAY_S * MOST_BUCKETS))
    return int(days) * _DAY_S


def bucket_start(moment: datetime, length_s: int) -> datetime:
    """Give the beginning of the bucket that holds `moment`, which is UTC and naive."""
    seconds = int(moment.replace(tzinfo=UTC).timestamp())
    return datetime.fromtimestamp(seconds - seconds % length_s, UTC).replace(tzinfo=None)


def lines(counts: Mapping[datetime, Bucket], length_s: int, output: Output) -> Iterator[str]:
    """Draw `counts`, empty buckets between the first and the last included."""
    if not counts:
        return
    first, last, most = min(counts), max(counts), max(bucket.total for bucket in counts.values())
    digits = len(f"{most}")
    label_cells = len(rfc3339(first, timespec="seconds"))
    has_refused = any(bucket.refused for bucket in counts.values())
    tail_cells = digits + (len(f"  {most} refused or failed") if has_refused else 0)
    room = max(_LEAST_BAR, output.width - label_cells - tail_cells - 4)
    full, light = output.blocks
    moment = first
    while moment <= last:
        bucket = counts.get(moment, Bucket())
        cells = -(-bucket.total * room // most) if bucket.total else 0
        bad = min(cells, -(-bucket.refused * room // most)) if bucket.refused else 0
        bar = output.paint(full * (cells - bad), Tone.STRONG) + output.paint(light * bad, Tone.BAD)
        note = f"  {bucket.refused} refused or failed" if bucket.refused else ""
        label = rfc3339(moment, timespec="seconds")
        filling = " " * (room - cells)
        yield f"{label}  {bar}{filling}  {bucket.total:>{digits}}{note}\n"
        moment += timedelta(seconds=length_s)
