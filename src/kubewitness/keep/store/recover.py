"""
Bring a store into a state that can be appended to, after any crash and without anybody's help.

Every segment ends up finished, and they follow each other without a gap. An unfinished one is not trusted where it
lies, for a page that could not be written may still be seen in the cache: its sound blocks are copied to a new file,
which is synced and takes its place. Only torn bytes at the very end, above all that was ever signed, are left out.
Anything else that is missing is damage, and nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kubewitness._kit.files import Directory, discard
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.scan import Stop, end_of, first_of, name_of, segments_in, walk
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


def recover(directory: Directory, begin: int = 0, signed_size: int = 0) -> Recovered:
    """Recover the segments of a locked store whose Events begin at `begin`. Raises DamagedError, OSError.

    `signed_size` is the size of the largest head that was ever signed.
    """
    notes: list[str] = []
    for name in directory.names():
        if name.endswith(NEW) and first_of(name.removesuffix(NEW)) is not None:
            directory.remove(name)
            notes.append(f"{name}: a copy that a crash left unfinished, removed")
    firsts = segments_in(directory.names())
    end = begin
    for position, first in enumerate(firsts):
        if first != end:
            raise DamagedError(f"Events {end}..{first} are missing: {name_of(first)} is there and none before it")
        following = firsts[position + 1] if position + 1 < len(firsts) else None
        end = _recover_one(directory, first, following, signed_size, notes)
    if end < signed_size:
        raise DamagedError(f"the store ends at {end}, and a head of {signed_size} Events was signed")
    return Recovered(segments_in(directory.names()), end, notes)


def _recover_one(directory: Directory, first: int, following: int | None, signed_size: int, notes: list[str]) -> int:
    """Finish a segment if it is not; give the index after its last Event that counts."""
    name = name_of(first)
    file = directory.open(name)
    try:
        size = file.size()
        closed = end_of(file.read_at, size)
        if closed is not None:
            if following in (None, closed):
                return closed
            raise DamagedError(f"{name} ends at {closed}, and the next segment begins at {following}")
        end, good = first, 0
        for step in walk(file.read_at, size):
            if isinstance(step, Stop):
                _check_tear(name, step, end, following, signed_size)
                notes.append(f"{name}: {size - step.offset} torn bytes after Event {end} left out")
                break
            if step.start.kind == END or (following is not None and step.start.end > following):
                break
            if step.start.first != end:
                raise DamagedError(f"{name}, byte {step.offset}: a block of Event {step.start.first} follows {end}")
            end, good = step.start.end, step.after
        if following is not None and end != following:
            raise DamagedError(f"{name} ends at {end}, and the next segment begins at {following}")
        if end == first:
            if end < signed_size:
                raise DamagedError(f"{name} holds no Event, and a head of {signed_size} Events was signed")
            directory.remove(name)
            directory.sync()
            notes.append(f"{name}: no Event was written to it whole, removed")
            return end
        temporary = name + NEW
        discard(directory, temporary)
        copy = directory.create(temporary)
        try:
            for offset in range(0, good, COPY_BYTES):
                copy.append(file.read_at(offset, min(COPY_BYTES, good - offset)))
            copy.append(encode_end(end))
            copy.sync()
        finally:
            copy.close()
        directory.replace(temporary, name)
        directory.sync()
    finally:
        file.close()
    notes.append(f"{name}: was not finished; Events {first}..{end} are")
    return end


def _check_tear(name: str, stop: Stop, end: int, following: int | None, signed_size: int) -> None:
    """Allow a stop that a crash explains: nothing that counts comes after it. Raises DamagedError."""
    if following is not None and end >= following:
        return
    if stop.next is not None:
        raise DamagedError(
            f"{name}, byte {stop.offset}: damaged; Events from {end} are lost, up to {stop.next.start.first}"
        )
    if following is not None:
        raise DamagedError(f"{name}, byte {stop.offset}: damaged; Events {end}..{following} are lost")
    if end < signed_size:
        raise DamagedError(f"{name}, byte {stop.offset}: damaged; a head of {signed_size} Events was signed")
