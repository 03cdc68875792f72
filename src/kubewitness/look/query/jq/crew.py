"""
Sift large plain files with several processes, in the order of their bytes.

In: open files and a `Silence`. Out: for each region of whole lines what a `Sifter` makes of it, first region first.
Processes are forked, so a compiled filter needs no pickling; each takes every n-th region and waits on its pipe when
the reader is slow, so little is ever held in memory. A region whose process has died is not lost: `take` gives None,
and the caller sifts on from there alone.
"""

import os
import signal
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from kubewitness._kit.descriptors import processors, read_exactly, write_all
from kubewitness.look.query.jq.sift import Sifter
from kubewitness.look.query.jq.silence import Silence

# Large enough for a process to be worth its start (some 20 ms), small enough for all to end at the same time.
REGION = 8 * 2**20
SMALLEST = 4 * REGION
MOST_PROCESSES = 4
# How far from where a region might end a line's end is looked for.
_SEEK = 2**20
_HEAD = struct.Struct("<QQQQ?")


@dataclass(frozen=True, slots=True)
class Region:
    """Whole lines of one file."""

    file: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Sifted:
    """What became of a region, or of its beginning when a line put the sifter out of step."""

    found: bytes
    held: bytes
    held_breaks: int
    end: int
    in_step: bool


def regions(file: int) -> list[Region]:
    """Cut a large regular file, from where it will be read, into regions; anything else has none."""
    about = os.fstat(file)
    if not stat.S_ISREG(about.st_mode):
        return []
    start = os.lseek(file, 0, os.SEEK_CUR)
    if about.st_size - start < SMALLEST:
        return []
    found = []
    for wanted in range(start + REGION, about.st_size, REGION):
        if wanted < start:
            continue
        newline = os.pread(file, _SEEK, wanted).find(b"\n")
        if newline >= 0:
            found.append(Region(file, start, wanted + newline + 1))
            start = wanted + newline + 1
    return found


def processes() -> int:
    """How many processes to use on this machine; 0 when one is as good."""
    usable = processors()
    return min(usable, MOST_PROCESSES) if usable > 1 else 0


class Crew:
    """Some processes at work on regions; `take` what they found, `dismiss` them."""

    def __init__(
        self, silence: Silence, nesting: int | None, work: Sequence[Region], first: int, foreign: Sequence[int]
    ):
        """Start; `first` is the file that jq reads first, `foreign` are descriptors that the processes must close."""
        self.work = list(work)
        self.done = 0
        self.pipes: list[int] = []
        self.pids: list[int] = []
        count = min(processes(), len(self.work))
        for number in range(count):
            end, start = os.pipe()
            pid = os.fork()
            if pid == 0:
                for descriptor in (end, *self.pipes, *foreign):
                    os.close(descriptor)
                _work(silence, nesting, self.work[number::count], first, start)
            os.close(start)
            self.pipes.append(end)
            self.pids.append(pid)

    def has_next(self, file: int) -> bool:
        """Whether the next region is one of this file."""
        return bool(self.pipes) and self.done < len(self.work) and self.work[self.done].file == file

    def take(self) -> Sifted | None:
        """Give what became of the next region; None when its process has failed."""
        pipe = self.pipes[self.done % len(self.pipes)]
        head = read_exactly(pipe, _HEAD.size)
        if head is None:
            return None
        found_size, held_size, breaks, end, in_step = _HEAD.unpack(head)
        found, held = read_exactly(pipe, found_size), read_exactly(pipe, held_size)
        if found is None or held is None:
            return None
        self.done += 1
        return Sifted(found, held, breaks, end, in_step)

    def dismiss(self) -> None:
        """End the processes, at work or not."""
        for pipe in self.pipes:
            os.close(pipe)
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.pipes, self.pids = [], []


def _work(silence: Silence, nesting: int | None, work: Sequence[Region], first: int, out: int) -> None:
    """Be one of the processes; this never returns."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for region in work:
            sifted = sift(silence, nesting, region, is_first=region.file == first)
            head = _HEAD.pack(len(sifted.found), len(sifted.held), sifted.held_breaks, sifted.end, sifted.in_step)
            for part in (head, sifted.found, sifted.held):
                write_all(out, part)
            if not sifted.in_step:
                break
        code = 0
    finally:
        os._exit(code)  # what the parent opened and buffered is not ours to close


def sift(silence: Silence, nesting: int | None, region: Region, *, is_first: bool) -> Sifted:
    """Sift one region."""
    sifter = Sifter(silence, nesting, is_first=is_first and region.start == 0)
    found = []
    at = region.start
    while at < region.end and sifter.in_step:
        room = sifter.room()
        size = os.preadv(region.file, [room[: region.end - at]], at)
        if not size:
            break  # the file was cut meanwhile
        found.append(sifter.take(size))
        at += size
    held, breaks, rest = sifter.leave()
    return Sifted(b"".join(found), held, breaks, at - rest, sifter.in_step)
