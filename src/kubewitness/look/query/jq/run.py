"""
Run jq over audit logs and print exactly what it prints, giving it only the inputs it must see.

In: the words of the command line. Out: jq's own standard output and exit code. The `jq` on PATH does the work; each
input reaches it through a pipe, sifted (`sift`) where the filter's silence is provable (`silence`). It is run untouched
where nothing is to be gained, or where anything about the call is not known for certain.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from kubewitness._kit.descriptors import write_all
from kubewitness._kit.opening import TornError
from kubewitness.look.query.jq import arguments, sources
from kubewitness.look.query.jq.arguments import Invocation
from kubewitness.look.query.jq.crew import Crew, processes, regions
from kubewitness.look.query.jq.program import parse
from kubewitness.look.query.jq.sift import Sifter, shallow
from kubewitness.look.query.jq.silence import Silence, silence

# jq's exit code for an input that cannot be read.
UNREADABLE_INPUT = 2
_KNOWN_JQ = re.compile(r"jq-1\.([5-8])(?!\d)")


@dataclass(frozen=True, slots=True)
class Jq:
    """The jq on PATH."""

    path: str
    minor: int | None
    """The n of version 1.n, where this is a version whose behaviour is known."""

    @property
    def nesting(self) -> int:
        """How deep an input may be nested."""
        return 256 if self.minor is None or self.minor < 7 else 10_000


def find_jq() -> Jq | None:
    """Look for jq on PATH and ask for its version."""
    path = shutil.which("jq")
    if path is None:
        return None
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    known = _KNOWN_JQ.match(answer.stdout or answer.stderr)
    return Jq(path, int(known[1]) if known else None)


def plan(jq: Jq, call: Invocation | None) -> Silence | None:
    """Find out what jq need not see."""
    if call is None or call.program is None or jq.minor is None or not call.takes_values:
        return None
    if Path("~/.jq").expanduser().is_file():
        return None  # it may define functions of the same names
    return silence(call.program, parse(call.program, call.variables))


def run(jq: Jq, words: Sequence[str], *, prefilter: bool = True) -> int:
    """Run jq with these words; give its exit code."""
    call = arguments.read(words)
    silent = plan(jq, call) if prefilter else None
    if call is None:
        return _untouched(jq, list(words))
    names = {at: sources.expand(words[at]) for at in call.files}
    compressed = {name for found in names.values() for name in found if sources.is_compressed(name)}
    is_extended = compressed or any(found != [words[at]] for at, found in names.items())
    if silent is None and not is_extended:
        return _untouched(jq, _flushing(call, names))
    with ExitStack() as stack:
        feed = _Feed(stack, compressed)
        call_words = _flushing(call, names)
        offset = len(call_words) - len(words)
        for at in reversed(call.files):
            call_words[at + offset : at + offset + 1] = [feed.argument(name) for name in names[at]]
        feed.inputs.reverse()
        if not call.files:
            feed.standard_input()
        sifting = stack.enter_context(shallow(jq.nesting)) if silent else True
        return feed.run(jq, call_words, Sifter(silent, nesting=None if sifting else jq.nesting))


def _untouched(jq: Jq, words: list[str]) -> int:
    done = subprocess.run(["jq", *words], executable=jq.path, check=False)  # noqa: S603, S607 -- the name jq prints
    return _exit_code(done.returncode)


def _exit_code(code: int) -> int:
    """As a shell gives it: 128 and the signal that ended the process."""
    return 128 - code if code < 0 else code


def _flushing(call: Invocation, names: dict[int, list[str]]) -> list[str]:
    """Give the words, with `--unbuffered` when the input may still be growing."""
    reads_stdin = not call.files or any("-" in found for found in names.values())
    if reads_stdin and not stat.S_ISREG(os.fstat(0).st_mode):
        return ["--unbuffered", *call.words]
    return list(call.words)


class _Feed:
    """The pipes through which jq gets its inputs, one after the other."""

    def __init__(self, stack: ExitStack, compressed: set[str]) -> None:
        self.stack = stack
        self.compressed = compressed
        self.inputs: list[tuple[str, FileIO, int]] = []
        self.pipes: list[int] = []
        self.shown: dict[bytes, bytes] = {}
        self.complaints: list[str] = []

    def argument(self, name: str) -> str:
        """Make ready one input; give the word by which jq opens it."""
        if name == "-":
            self.standard_input()
            return name
        if not sources.is_readable(name):
            return name
        file = self.stack.enter_context(FileIO(name))
        end, start = os.pipe()
        self.pipes.append(end)
        self.inputs.append((name, file, start))
        self.shown[f"/dev/fd/{end}".encode()] = os.fsencode(name)
        return f"/dev/fd/{end}"

    def standard_input(self) -> None:
        """Make ready standard input."""
        self.inputs.append(("-", self.stack.enter_context(FileIO(os.dup(0))), -1))

    def run(self, jq: Jq, words: list[str], sifter: Sifter) -> int:
        """Start jq and give it the inputs."""
        crew = self._crew(sifter)
        try:
            return self._run(jq, words, sifter, crew)
        finally:
            if crew:
                crew.dismiss()

    def _crew(self, sifter: Sifter) -> Crew | None:
        """Start processes for what is large."""
        work = [
            region for name, file, _ in self.inputs if name not in self.compressed for region in regions(file.fileno())
        ]
        if sifter.silence is None or not work or not processes():
            return None
        foreign = [*self.pipes, *(out for _, _, out in self.inputs if out >= 0)]
        return Crew(sifter.silence, sifter.nesting, work, self.inputs[0][1].fileno(), foreign)

    def _run(self, jq: Jq, words: list[str], sifter: Sifter, crew: Crew | None) -> int:
        process = subprocess.Popen(  # noqa: S603
            ["jq", *words],  # noqa: S607
            executable=jq.path,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=self.pipes,
        )
        if process.stdin is None or process.stderr is None:
            raise AssertionError("both were asked for")
        for end in self.pipes:
            os.close(end)
        speaker = threading.Thread(target=self._speak, args=(process.stderr,), daemon=True)
        speaker.start()
        standard = os.dup(process.stdin.fileno())
        process.stdin.close()
        inputs = [(name, file, standard if out < 0 else out) for name, file, out in self.inputs]
        if all(out != standard for _, _, out in inputs):
            os.close(standard)
        still_open = [out for _, _, out in inputs]
        try:
            for name, file, out in inputs:
                self._pour(name, file, out, sifter, crew)
                os.close(still_open.pop(0))
        except BrokenPipeError:
            pass  # jq has ended: it halted, or has nobody to print for
        finally:
            for out in still_open:
                os.close(out)
            code = _exit_code(process.wait())
            speaker.join()
            process.stderr.close()
        for complaint in self.complaints:
            print(complaint, file=sys.stderr)  # noqa: T201
        return code or (UNREADABLE_INPUT if self.complaints else 0)

    def _pour(self, name: str, file: FileIO, out: int, sifter: Sifter, crew: Crew | None) -> None:
        while sifter.in_step and crew and crew.has_next(file.fileno()) and (sifted := crew.take()):
            write_all(out, sifter.adopt(sifted.found, sifted.held, sifted.held_breaks))
            sifter.in_step = sifted.in_step
            file.seek(sifted.end)
        if name in self.compressed:
            self._unpack(name, out, sifter)
        else:
            while size := file.readinto(sifter.room()):
                write_all(out, sifter.take(size))
        write_all(out, sifter.end())

    def _unpack(self, name: str, out: int, sifter: Sifter) -> None:
        try:
            with closing(sources.unpacked(name)) as chunks:
                for chunk in chunks:
                    for piece in sifter.push(chunk):
                        write_all(out, piece)
        except TornError as error:
            self.complaints.append(f"kubewitness jq: {name}: the compressed data breaks off or is damaged: {error}")

    def _speak(self, stream: BinaryIO) -> None:
        """Pass on what jq says, with the names of files for those of pipes."""
        for line in iter(stream.readline, b""):
            shown = line
            for pipe, name in self.shown.items():
                prefix = b"jq: error (at " + pipe + b":"
                if shown.startswith(prefix):
                    shown = b"jq: error (at " + name + b":" + shown[len(prefix) :]
            sys.stderr.buffer.write(shown)
            sys.stderr.buffer.flush()
