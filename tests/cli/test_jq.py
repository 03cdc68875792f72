"""`kubewitness jq` is told from `jq` only by its speed and by the inputs it can open."""

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

from tests.look.query.jq.damage import CASES, event
from tests.look.query.jq.real import jq_path

OURS = [sys.executable, "-c", "import sys; from kubewitness.cli.main import main; sys.exit(main())", "jq"]
DELETES = 'select(.verb == "delete") | .auditID'


def both(words: list[str], cwd: Path, stdin: bytes | None = None) -> tuple[subprocess.CompletedProcess[bytes], ...]:
    """Run jq and `kubewitness jq` with the same words."""
    return tuple(
        subprocess.run([*command, *words], cwd=cwd, input=stdin if stdin is not None else b"", capture_output=True)
        for command in ([jq_path()], OURS)
    )


def same(words: list[str], cwd: Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Both answer alike; give the answer."""
    real, ours = both(words, cwd, stdin)
    complaints = real.stderr.replace(jq_path().encode(), b"jq")
    assert (ours.returncode, ours.stdout, ours.stderr) == (real.returncode, real.stdout, complaints)
    return ours


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder with some small logs."""
    (tmp_path / "a.log").write_bytes(b"".join((event(n) + "\n").encode() for n in range(20)))
    (tmp_path / "b.log").write_bytes(CASES["objectRef_is_string"])
    (tmp_path / "c.log").write_bytes(CASES["no_final_newline"])
    (tmp_path / "torn.log").write_bytes(CASES["truncated_last"])
    (tmp_path / "filter.jq").write_text(DELETES)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        [DELETES, "a.log"],
        ["-r", DELETES, "a.log"],
        ["-cr", 'select(.verb == "delete") | [.verb], .verb', "a.log", "c.log"],
        ["a.log", DELETES],
        ["-j", DELETES, "a.log"],
        ["-S", 'select(.verb == "delete")', "a.log"],
        ["--tab", 'select(.verb == "delete")', "a.log"],
        ["--indent", "3", 'select(.verb == "delete")', "a.log"],
        ["--indent", "99", DELETES, "a.log"],
        ["-C", 'select(.verb == "delete")', "a.log"],
        ["-e", DELETES, "a.log"],
        ["-e", 'select(.verb == "none")', "a.log"],
        ["-s", "map(.verb) | length", "a.log"],
        ["-n", "[inputs.verb] | length", "a.log", "c.log"],
        ["-n", "input.verb, input_filename", "a.log"],
        ["-R", "length", "a.log"],
        ["--stream", "-c", 'select(.[0][0] == "verb")', "a.log"],
        ["--seq", DELETES, "a.log"],
        ["--arg", "verb", "delete", "select(.verb == $verb) | .auditID", "a.log"],
        ["--argjson", "code", "200", 'select(.responseStatus.code != $code or .verb == "delete") | .verb', "a.log"],
        ["--argjson", "code", "nope", ".", "a.log"],
        ["--slurpfile", "x", "a.log", 'select(.verb == "delete") | $x | length', "c.log"],
        ['select(.verb == "delete") | $ARGS.positional', "--args", "a", "b"],
        ["-c", 'select(.verb == "delete") | $ARGS.positional', "--jsonargs", "1", "{}"],
        [DELETES, "--", "a.log"],
        ["-f", "filter.jq", "a.log"],
        [DELETES, "a.log", "missing.log", "c.log"],
        [DELETES, "missing.log"],
        ['select(.objectRef.resource == "secrets") | .auditID', "a.log", "b.log", "c.log"],
        ['select(.objectRef.resource | test("secrets")) | .auditID', "b.log", "a.log"],
        [DELETES, "torn.log", "a.log"],
        ['select(.verb == "delete") | input_filename', "a.log", "c.log"],
        ['select(.verb == "delete") | error("no")', "a.log"],
        ['select(.verb == "delete") | halt', "a.log"],
        ["--nonsense", ".", "a.log"],
        ["-z", ".", "a.log"],
        ["select(.verb ==", "a.log"],
        ["--arg", "x"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_files_and_options(words, logs):
    """Every option gives jq's output, complaints and exit code."""
    same(words, logs)


@pytest.mark.parametrize(
    "words", [[DELETES], [DELETES, "-"], ["-e", DELETES, "a.log", "-", "c.log"], ["-n", "[inputs]|length"]]
)
def test_standard_input(words, logs):
    """Standard input, alone or among files, is read as by jq."""
    same(words, logs, (logs / "b.log").read_bytes())


def test_an_error_has_its_file_and_line(logs):
    """A complaint names the file and the line of the original."""
    done = same(['select(.objectRef.resource == "secrets") | .auditID', "a.log", "b.log"], logs)
    assert b"jq: error (at b.log:6)" in done.stderr


def test_compressed_files_and_folders(logs):
    """`.gz`, `.zst` and a folder of rotated logs, oldest first, give what jq gives of the plain text."""
    plain = (logs / "a.log").read_bytes()
    folder = logs / "rotated"
    folder.mkdir()
    lines = plain.splitlines(keepends=True)
    (folder / "audit-2026-03-01T00-00-00.000.log.gz").write_bytes(gzip.compress(b"".join(lines[:7])))
    (folder / "audit-2026-03-02T00-00-00.000.log").write_bytes(b"".join(lines[7:12]))
    (folder / "audit.log").write_bytes(b"".join(lines[12:]))
    (folder / "notes.txt").write_text("not a log")
    (logs / "a.zst").write_bytes(zstandard.compress(plain))
    expected = both([DELETES, "a.log"], logs)[0].stdout
    for program in (DELETES, DELETES + " # seen by jq alone"):
        for source in (["rotated"], ["a.zst"]):
            assert both([program, *source], logs)[1].stdout == expected


def test_torn_compressed_files_are_told(logs):
    """What a torn .gz holds is used; then it is named. The exit code is jq's for unreadable input or a broken line."""
    whole = gzip.compress((logs / "a.log").read_bytes() * 50)
    (logs / "torn.gz").write_bytes(whole + b"garbage")
    expected, _ = both([DELETES, *["a.log"] * 50], logs)
    done = both([DELETES, "torn.gz"], logs)[1]
    assert (done.stdout, done.returncode) == (expected.stdout, 2)
    assert b"torn.gz: the compressed data breaks off" in done.stderr
    (logs / "torn.gz").write_bytes(whole[: len(whole) // 2])
    done = both([DELETES, "torn.gz"], logs)[1]
    assert done.returncode
    assert b"torn.gz: the compressed data breaks off" in done.stderr


def test_a_match_is_printed_while_the_input_is_open():
    """Under `tail -f` a match appears at once, not when the input ends."""
    jq_path()
    process = subprocess.Popen([*OURS, "-c", DELETES], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdin.write((event(1) + "\n" + event(3) + "\n").encode())
        process.stdin.flush()
        assert process.stdout.readline() == b'"id-3"\n'
        process.stdin.write((event(6) + "\n").encode())
        process.stdin.flush()
        assert process.stdout.readline() == b'"id-6"\n'
    finally:
        process.stdin.close()
        assert process.wait(timeout=20) == 0
        process.stdout.close()


def test_a_reader_that_leaves_ends_it(logs):
    """`| head -1` gets its line, and nothing is said on standard error."""
    (logs / "long.log").write_bytes((logs / "a.log").read_bytes() * 2000)
    line = " ".join([f"'{word}'" for word in [*OURS, DELETES, "long.log"]])
    done = subprocess.run(["bash", "-c", f"{line} | head -1"], cwd=logs, capture_output=True, timeout=60)
    assert (done.stdout, done.stderr) == (b'"id-0"\n', b"")


def test_ctrl_c_is_clean(logs):
    """An interrupt ends both processes with 130 and no traceback."""
    process = subprocess.Popen(
        [*OURS, DELETES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    process.stdin.write((event(3) + "\n").encode())
    process.stdin.flush()
    assert process.stdout.readline() == b'"id-3"\n'
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, complaints = process.communicate(timeout=20)
    assert process.returncode == 130
    assert complaints == b""


def test_help_and_no_words(logs):
    """`--help` explains; no words at all is a usage error."""
    done = both(["--help"], logs)[1]
    assert done.returncode == 0
    assert b"jq's own" not in done.stderr
    assert b"--no-prefilter" in done.stdout
    assert both([], logs)[1].returncode == 2


def test_without_prefilter_all_goes_to_jq(logs):
    """`--no-prefilter` gives jq every input, and the same comes out."""
    assert both([DELETES, "a.log"], logs)[0].stdout == both(["--no-prefilter", DELETES, "a.log"], logs)[1].stdout
