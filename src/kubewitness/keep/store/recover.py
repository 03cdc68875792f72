"""
Bring a store into a state that can be appended to, after any crash and without anybody's help.

Every segment ends up finished, and they follow each other without a gap. An unfinished one is not trusted where it
lies, for a page that could not be written may still be seen in the cache: its sound blocks are copied to a new file,
which is synced and takes its place. Only torn bytes at the very end, above all that was ever signed, are left out.
Anything else that is missing is damage, and nothing is written.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kubewitness._kit.files import Directory
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.scan import Found, Stop, end_of, first_of, name_of, segments_in, walk
from kubewitness.keep.store.segment import END, encode_end

COPY_BYTES = 1 << 20
NEW = ".new"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a store holds, and what had to be done to it."""

    segments: Sequence[int]
    """First indexes."""
    end: int
    """The index after the last Event."""
    notes: Sequence[str]
    """What was done, for people."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What there is to do with a segment: if it is not finished, to keep its first `good` bytes, up to Event `end`."""

    first: int
    end: int
    good: int | None = None
    torn: str = ""


def recover(directory: Directory, begin: int = 0, signed_size: int = 0) -> Recovered:
    """Recover the segments of a locked store whose Events begin at `begin`. Raises DamagedError, OSError.

    `signed_size` is the size of the largest head that was ever signed.
    """
    names = directory.names()
    firsts = segments_in(names)
    plans: list[_Plan] = []
    end = begin
    for first, following in zip(firsts, [*firsts[1:], None], strict=False):
        if first != end:
            raise DamagedError(f"Events {end}..{first} are missing: {name_of(first)} is there and none before it")
        plans.append(_inspect(directory, first, following, signed_size))
        end = plans[-1].end
    if end < signed_size:
        raise DamagedError(f"the store ends at {end}, and a head of {signed_size} Events was signed")
    notes: list[str] = []
    for name in names:
        if name.endswith(NEW) and first_of(name.removesuffix(NEW)) is not None:
            directory.remove(name)
            notes.append(f"{name}: a copy that a crash left unfinished, removed")
    for plan in plans:
        notes += _mend(directory, plan)
    return Recovered([plan.first for plan in plans if plan.good != 0], end, notes)


def _inspect(directory: Directory, first: int, following: int | None, signed_size: int) -> _Plan:
    """Find out where a segment ends, and whether that can be so. Changes nothing."""
    name = name_of(first)
    file = directory.open(name)
    try:
        size = file.size()
        end = end_of(file.read_at, size)
        if end is not None:
            plan = _Plan(first, end)
        else:
            plan = _measure(name, walk(file.read_at, size), first, following, signed_size)
    finally:
        file.close()
    if following is not None and plan.end != following:
        raise DamagedError(f"{name} ends at {plan.end}, and the next segment begins at {following}")
    return plan


def _measure(name: str, steps: Iterable[Found | Stop], first: int, following: int | None, signed_size: int) -> _Plan:
    """Follow the blocks of an unfinished segment as far as they count."""
    end, good, is_ended = first, 0, False
    for step in steps:
        if following is not None and end >= following:
            break
        if isinstance(step, Stop):
            _check_tear(name, step, end, following, signed_size)
            return _Plan(
                first, end, good, f"{name}: torn bytes after Event {end}, from byte {step.offset} on, left out"
            )
        if step.start.first != end or is_ended:
            raise DamagedError(f"{name}, byte {step.offset}: a block of Event {step.start.first} follows {end}")
        if step.start.kind == END:
            is_ended = True
        else:
            end, good = step.start.end, step.after
    return _Plan(first, end, good)


def _mend(directory: Directory, plan: _Plan) -> Iterator[str]:
    """Finish a segment if it is not; tell what was done."""
    if plan.torn:
        yield plan.torn
    name = name_of(plan.first)
    if plan.good == 0:
        directory.remove(name)
        directory.sync()
        yield f"{name}: no Event was written to it whole, removed"
    elif plan.good is not None:
        _copy(directory, name, plan.good, encode_end(plan.end))
        yield f"{name}: was not finished; now it is, with Events {plan.first}..{plan.end}"


def _copy(directory: Directory, name: str, good: int, end: bytes) -> None:
    """Put the first bytes of a segment and its end into a new file in its place."""
    temporary = name + NEW
    file = directory.open(name)
    try:
        copy = directory.create(temporary)
        try:
            for offset in range(0, good, COPY_BYTES):
                copy.append(file.read_at(offset, min(COPY_BYTES, good - offset)))
            copy.append(end)
            copy.sync()
        finally:
            copy.close()
    finally:
        file.close()
    directory.replace(temporary, name)
    directory.sync()


def _check_tear(name: str, stop: Stop, end: int, following: int | None, signed_size: int) -> None:
    """Allow a stop that a crash explains: nothing that counts comes after it. Raises DamagedError."""
    where = f"{name}, byte {stop.offset}: damaged"
    if stop.next is not None:
        raise DamagedError(f"{where}; Events from {end} are lost, up to {stop.next.start.first}")
    if following is not None:
        raise DamagedError(f"{where}; Events {end}..{following} are lost")
    if end < signed_size:
        raise DamagedError(f"{where} after Event {end}; a head of {signed_size} Events was signed")
