"""The jq on PATH as the judge: what it says of a whole input against what it says of the sifted one."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from kubewitness.look.query.jq.program import parse
from kubewitness.look.query.jq.sift import Sifter, shallow
from kubewitness.look.query.jq.silence import silence


def jq_path() -> str:
    """Where jq is; without one the test is skipped, or fails where nothing may be skipped."""
    path = shutil.which("jq")
    if path is None:
        pytest.skip("jq is not installed")
    return path


@dataclass(frozen=True)
class Answer:
    """Everything by which one run of jq can be told from another."""

    code: int
    output: bytes
    complaints: bytes


def ask(words: Sequence[str], data: bytes) -> Answer:
    """What jq says."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        done = subprocess.run([jq_path(), *words], stdin=file, capture_output=True, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


def sift(program: str, data: bytes, piece: int = 1 << 18, variables: dict[str, object] | None = None) -> bytes:
    """What jq would be given, when the input comes in pieces of this size."""
    proof = silence(program, parse(program, variables))
    sifter = Sifter(proof)
    found = []
    with shallow(256) as is_guarded:
        assert is_guarded
        for at in range(0, len(data), piece):
            rest = memoryview(data)[at : at + piece]
            while rest:
                room = sifter.room()
                size = min(len(room), len(rest))
                room[:size] = rest[:size]
                found.append(sifter.take(size))
                rest = rest[size:]
        found.append(sifter.end())
    return b"".join(found)
