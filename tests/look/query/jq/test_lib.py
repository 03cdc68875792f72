"""Where there is no jq, libjq gives the same, within what the reference page says."""

import os
import shutil
from pathlib import Path

import pytest
import zstandard

from kubewitness.look.query.jq import lib
from tests.look.query.jq.damage import CASES, event
from tests.look.query.jq.filters import RECIPES, SELECTIVE
from tests.look.query.jq.real import ask

DATA = Path(__file__).parents[3] / "data"
DELETES = 'select(.verb == "delete") | .auditID'
# What jq 1.6 and libjq 1.7 say alike: no error text that changed, no number that is not an integer.
ALIKE = [
    "clean",
    "empty",
    "only_blank",
    "blank_lines",
    "no_final_newline",
    "crlf",
    "dup_keys",
    "pretty_printed",
    "lines_in_an_array",
    "array_line",
    "eventlist_line",
    "two_on_a_line",
    "scalar_lines",
    "escaped_value",
    "spaces_in_json",
    "bom",
    "nel_in_string",
    "sourceIPs_missing",
]


@pytest.fixture
def alone(capfdbinary, tmp_path):
    """Run libjq over some bytes; give exit code and output."""
    pytest.importorskip("jq", reason="libjq is not installed")

    def run(words: list[str], data: bytes) -> tuple[int, bytes]:
        path = tmp_path / "input.log"
        path.write_bytes(data)
        capfdbinary.readouterr()
        code = lib.run([*words, str(path)])
        return code, capfdbinary.readouterr().out

    return run


@pytest.fixture(scope="module")
def log() -> bytes:
    """A small part of a recorded log."""
    whole = zstandard.ZstdDecompressor().stream_reader((DATA / "audit-security.log.zst").read_bytes()).read()
    return b"\n".join(whole.split(b"\n")[::9]) + b"\n"


@pytest.mark.parametrize("program", [*RECIPES, *SELECTIVE])
def test_the_recipes(program, log, alone):
    """Every recipe prints the same through libjq."""
    words = ["-c", "--arg", "name", "important", program]
    real = ask(words, log)
    assert alone(words, log) == (real.code, real.output)


@pytest.mark.parametrize(
    "words", [["-c"], ["-r"], ["-j"], ["--tab"], ["-S"], ["-ca"], ["--indent", "1"], ["-s"], ["-n"], ["-e"]]
)
def test_the_options(words, log, alone):
    """Options that libjq does not know are honoured all the same."""
    for program in (
        ".",
        'if type == "object" then .verb, {b: [], a: {}, é: "\\u007f\\n\\u00e9"}, null else length end',
    ):
        real = ask([*words, program], log)
        assert alone([*words, program], log) == (real.code, real.output)


@pytest.mark.parametrize("case", ALIKE)
def test_odd_logs(case, alone):
    """Odd but whole logs give the same, sifted or not."""
    for program in (
        ".verb?",
        'select(type == "object") | select(.verb == "delete") | .auditID',
        'select(.verb == "delete")',
    ):
        real = ask(["-c", program], CASES[case])
        assert alone(["-c", program], CASES[case]) == (real.code, real.output)


def test_arguments_reach_the_filter(alone):
    """`$name`, `$ARGS.named` and `$ARGS.positional` hold what the command line gave."""
    words = ["-c", "--arg", "a", "x", "--argjson", "b", "[1]", "[$a, $b, $ARGS.named, $ARGS.positional]"]
    assert alone(words, b"1\n") == (0, b'["x",[1],{"a":"x","b":[1]},[]]\n')


def test_errors_have_their_place(alone, capfdbinary, tmp_path):
    """An error names file and line; the exit code is jq's."""
    path = tmp_path / "input.log"
    path.write_text(event(1) + "\n" + event(2, objectRef="x") + "\n")
    pytest.importorskip("jq", reason="libjq is not installed")
    assert lib.run(['select(.objectRef.name == "none")', str(path)]) == lib.FAILED
    assert f"jq: error (at {path}:2): Cannot index string" in capfdbinary.readouterr().err.decode()


def test_a_filter_that_is_none(alone, capfdbinary):
    """A syntax error is jq's exit code 3."""
    assert alone(["select(.verb =="], b"{}\n")[0] == lib.NO_PROGRAM


@pytest.mark.parametrize(
    "words", [["-C", "."], ["-n", "[inputs]"], ["--stream", "."], [".x | halt_error"], ["--nonsense", "."]]
)
def test_what_needs_jq_is_refused(words):
    """What libjq cannot do alone is said, not done differently."""
    with pytest.raises(lib.UnsupportedError):
        lib.run(words)


def test_the_command_uses_it(tmp_path):
    """`kubewitness jq` without a jq on PATH uses libjq."""
    import subprocess
    import sys

    pytest.importorskip("jq", reason="libjq is not installed")
    assert shutil.which("jq", path=str(tmp_path)) is None
    code = f"import sys; from kubewitness.cli.main import main; sys.exit(main(['jq', '-r', {DELETES!r}]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=CASES["clean"],
        capture_output=True,
        env=os.environ | {"PATH": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"id-0\nid-3\nid-6\nid-9\n", b"")
