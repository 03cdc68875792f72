"""Several processes give what one sifter gives."""

import os
from itertools import pairwise

import pytest

from kubewitness.look.query.jq import crew as crew_module
from kubewitness.look.query.jq.crew import Crew, Region, regions
from kubewitness.look.query.jq.program import parse
from kubewitness.look.query.jq.sift import Sifter, shallow
from kubewitness.look.query.jq.silence import silence
from tests.look.query.jq.damage import CASES, event
from tests.look.query.jq.real import sift

PROGRAM = 'select(.verb == "delete") | .auditID'


@pytest.fixture(autouse=True)
def _small_regions(monkeypatch):
    """Regions of a few lines, and always two processes."""
    monkeypatch.setattr(crew_module, "REGION", 700)
    monkeypatch.setattr(crew_module, "SMALLEST", 0)
    monkeypatch.setattr(crew_module, "processes", lambda: 2)


def by_crew(data: bytes, path, fail_after: int | None = None) -> bytes:
    """What jq would be given through a crew, and for the rest through one sifter."""
    path.write_bytes(data)
    proof = silence(PROGRAM, parse(PROGRAM))
    sifter = Sifter(proof)
    found = []
    with path.open("rb", buffering=0) as file, shallow(256):
        work = regions(file.fileno())
        crew = Crew(proof, None, work, file.fileno(), [])
        try:
            while sifter.in_step and crew.has_next(file.fileno()) and (sifted := crew.take()):
                found.append(sifter.adopt(sifted.found, sifted.held, sifted.held_breaks))
                sifter.in_step = sifted.in_step
                file.seek(sifted.end)
                if crew.done == fail_after:
                    for pid in crew.pids:
                        os.kill(pid, 9)
        finally:
            crew.dismiss()
        while size := file.readinto(sifter.room()):
            found.append(sifter.take(size))
        found.append(sifter.end())
    return b"".join(found)


@pytest.mark.parametrize("case", CASES)
def test_the_same_bytes(case, tmp_path):
    """Whatever the damage, jq gets the same bytes."""
    assert by_crew(CASES[case], tmp_path / "log") == sift(PROGRAM, CASES[case])


def test_regions_are_whole_lines(tmp_path):
    """Regions follow each other without a gap, end at line ends, and start where the file is read from."""
    data = CASES["clean"]
    path = tmp_path / "log"
    path.write_bytes(data)
    with path.open("rb", buffering=0) as file:
        file.seek(len(data) // 5)
        found = regions(file.fileno())
        number = file.fileno()
    assert found[0].start == len(data) // 5
    assert all(data[region.end - 1 : region.end] == b"\n" for region in found)
    assert all(before.end == after.start for before, after in pairwise(found))
    assert {region.file for region in found} == {number}


def test_a_dead_process_loses_nothing(tmp_path):
    """When its processes are killed, the rest is sifted without them."""
    data = "".join(event(number) + "\n" for number in range(3000)).encode()
    assert by_crew(data, tmp_path / "log", fail_after=2) == sift(PROGRAM, data)


def test_a_pipe_has_no_regions():
    """What is no regular file is read as it comes."""
    end, start = os.pipe()
    try:
        assert regions(end) == []
    finally:
        os.close(end)
        os.close(start)


def test_a_file_cut_meanwhile(tmp_path):
    """A region that lies beyond the end of its file ends where the file ends."""
    path = tmp_path / "log"
    path.write_bytes(CASES["clean"])
    size = len(CASES["clean"])
    proof = silence(PROGRAM, parse(PROGRAM))
    with path.open("rb", buffering=0) as file:
        sifted = crew_module.sift(proof, None, Region(file.fileno(), 0, size + 1000), is_first=True)
    assert (sifted.end, sifted.in_step) == (size, True)
