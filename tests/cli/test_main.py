"""The door of the command line."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubewitness.cli import main as door
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.main import COMMANDS, main


def test_an_unknown_command_is_a_usage_error(capsys):
    """`kubewitness nonsense` names the word and exits with 2."""
    assert main(["nonsense"]) == 2
    assert "'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["polcy"], "error: there is no command 'polcy'; did you mean `policy`?"),
        (["apiserver", "enabel"], "apiserver: error: there is no command 'enabel'; did you mean `enable`?"),
        (["policy", "chek", "p.yaml", "-o", "json"], "there is no command 'chek'; did you mean `check`?"),
        (["apiserver", "zzz"], "there is no command 'zzz'; known are enable, check, canary, watch"),
        (["explain", "p.yaml"], "there is no command 'explain'; did you mean `policy explain`?"),
        (["check"], "there is no command 'check'; did you mean `policy check` or `apiserver check`?"),
        (["lint"], "there is no command 'lint'; did you mean `policy check` or `apiserver check`?"),
        (["policy", "lint"], "there is no command 'lint'; did you mean `check`?"),
        (["query"], "there is no command 'query'; did you mean `search`?"),
        (["search", "--ns", "x"], "unrecognized arguments: --ns; did you mean --namespace?"),
        (["search", "--failed"], "unrecognized arguments: --failed; did you mean --outcome?"),
        (["search", "--out", "x"], "unrecognized arguments: --out; did you mean --outcome or --output?"),
        (["search", "--zzz"], "unrecognized arguments: --zzz\n"),
        (["search", "-f", "audit.log"], "unrecognized arguments: -f; files are named without a flag"),
        (["policy", "init", "recommended"], "unrecognized arguments: recommended; more is taken with flags only"),
        (["who", "delete", "secrets/x"], "'exec', 'touched'); did you mean deleted?"),
        (["policy", "check", "--profile", "CIS", "p.yaml"], "'stig', 'pci'); did you mean cis?"),
    ],
)
def test_what_is_not_there_is_answered_with_what_was_meant(words, said, capsys):
    """Commands at the top and below it, flags and choices: misspelt, or called so elsewhere."""
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main(words))
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_flag_before_the_command_says_where_it_goes(capsys):
    """`kubewitness --user alice` is not an unknown command called --user."""
    assert main(["--user", "alice"]) == 2
    assert "kubewitness search --user ..." in capsys.readouterr().err


def test_help_may_stand_before_its_command(capsys):
    """`kubewitness -h search` explains search."""
    assert main(["-h", "search"]) == 0
    assert "Find requests" in capsys.readouterr().out


def test_help_lists_every_command_there_is(capsys):
    """Each command that exists is in the help, under its group, with its sentence."""
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: kubewitness COMMAND")
    assert all(f"\n  {name:<12}" in shown for name in COMMANDS)


def test_no_line_of_help_is_wider_than_80_columns(capsys):
    """The help fits a terminal of 80 columns but for its one-sentence summary."""
    main(["--help"])
    assert all(len(line) <= 90 for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("command", ["policy", "apiserver", "keys"])
def test_help_lists_the_commands_below(command, capsys):
    """Nothing stands between the heading and the first of them."""
    main([command, "--help"])
    assert "commands:\n  COMMAND\n" in capsys.readouterr().out


def test_as_a_plug_in_usage_begins_with_kubectl(capsys, monkeypatch):
    """Called by kubectl, the usage text reads as kubectl wants it."""
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/kubectl-witness"])
    main(["--help"])
    assert capsys.readouterr().out.startswith("usage: kubectl witness ")


def test_no_word_of_help_is_broken_at_its_hyphen(capsys):
    """kube-apiserver stays one word."""
    main(["--help"])
    assert not [line for line in capsys.readouterr().out.splitlines() if line.endswith("-")]


def test_version_as_json(capsys):
    """--version -o json names this version and what it stands on."""
    assert main(["--version", "-o", "json"]) == 0
    assert {"version", "python", "duckdb"} <= json.loads(capsys.readouterr().out).keys()


def test_help_imports_nothing_heavy():
    """--help loads neither argparse nor any engine."""
    code = (
        "import sys; from kubewitness.cli.main import main; main(['--help']);"
        "print(sorted({'argparse', 'duckdb', 'msgspec', 'yaml', 'asyncio'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (UserError("x: no such file"), 2, "kubewitness: error: x: no such file"),
        (UserError("torn", ExitCode.INTEGRITY), 3, "kubewitness: error: torn"),
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("Query interrupted"), 130, ""),
        (OSError(28, "No space left on device", "/out"), 5, "kubewitness: error: /out: No space left on device"),
        (MemoryError(), 5, "out of memory"),
        (MemoryError("no block of 32 MiB"), 5, "out of memory: no block of 32 MiB"),
        (KeyError("x"), 5, "this is a fault of kubewitness"),
        (UserError("bad \x1b[2J name"), 2, r"bad \x1b[2J name"),
    ],
)
def test_how_a_command_ends(monkeypatch, capsys, raised, code, said):
    """Every way out has its exit code and at most a few plain lines, never a traceback; 1 is kept for findings."""

    def fail(arguments: list[str]) -> int:
        raise raised

    monkeypatch.setattr(door, "_dispatch", fail)
    assert main([]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert bool(captured.err) is bool(said)


def test_a_bug_can_be_traced(monkeypatch, capsys):
    """KUBEWITNESS_TRACEBACK shows where a fault of ours happened."""

    def fail(arguments: list[str]) -> int:
        raise KeyError("x")

    monkeypatch.setattr(door, "_dispatch", fail)
    monkeypatch.setenv("KUBEWITNESS_TRACEBACK", "1")
    assert main([]) == 5
    assert "Traceback" in capsys.readouterr().err


def program(code: str, **settings: object) -> subprocess.Popen[str]:
    """Run Python that calls `main` with a command of its own making."""
    start = f"import sys\nfrom kubewitness.cli import main as door\n{code}\nsys.exit(door.main([]))"
    return subprocess.Popen(
        [sys.executable, "-c", start], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings
    )


def test_a_reader_that_goes_away_is_no_error():
    """`kubewitness ... | head -1` ends quietly."""
    child = program("def run(a):\n  while True: print('x' * 1000)\ndoor._dispatch = run")
    assert child.stdout
    assert child.stderr
    child.stdout.readline()
    child.stdout.close()
    assert child.wait(20) == 0
    assert child.stderr.read() == ""
    child.stderr.close()


@pytest.mark.parametrize(("errors", "code"), [("/dev/full", 5), ("a pipe nobody reads", 0)])
def test_a_note_that_cannot_be_written_is_no_finding(errors, code):
    """Where standard error takes nothing, a command does not end with 1, which promises findings."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(errors if errors.startswith("/") else writing, "w") as stream:  # noqa: PTH123 - or a descriptor
        done = subprocess.run(
            [sys.executable, "-c", NOTING], stdout=subprocess.PIPE, stderr=stream, text=True, check=False
        )
    assert (done.returncode, done.stdout) == (code, "answer\n")


NOTING = """
import sys
from kubewitness.cli import main as door
def run(a):
    print("answer", flush=True)
    print("note", file=sys.stderr)
    return 0
door._dispatch = run
sys.exit(door.main([]))
"""


def test_a_full_disk_takes_no_help_either():
    """`search --help > /dev/full` says so, as every other output does."""
    with Path("/dev/full").open("w") as full:
        code = "import sys; from kubewitness.cli.main import main; sys.exit(main(['gaps', '--help']))"
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (5, "kubewitness: error: input or output: No space left on device\n")


def test_ctrl_c_inside_duckdb_is_clean():
    """An interrupt in the middle of a query ends with 130 and no word, whichever exception DuckDB makes of it."""
    child = program(
        "import duckdb\n"
        "from kubewitness.cli.interrupt import interruptible\n"
        "def run(a):\n"
        "  connection = duckdb.connect()\n"
        "  with interruptible(connection.interrupt):\n"
        "    print('go', flush=True)\n"
        "    connection.execute('select count(*) from range(100000000000) a, range(10) b').fetchall()\n"
        "door._dispatch = run"
    )
    with child:
        try:
            assert child.stdout
            child.stdout.readline()
            time.sleep(0.3)
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 130
    assert said == ""


def test_closed_standard_output_is_silence():
    """With no standard output at all a command still ends by its own code."""
    done = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -c "from kubewitness.cli.main import main; exit(main([]))" >&-'],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_letters_a_locale_cannot_write_are_escaped(monkeypatch):
    """An ASCII terminal gets escapes, not an error."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    door._prepare_streams()
    stream.write("ü…")
    stream.flush()
    assert stream.buffer.getvalue() == rb"\xfc\u2026"  # type: ignore[attr-defined]


def test_help_is_quick():
    """--help of a fresh process costs less than 100 ms of processor, best of five, whatever else runs here."""
    costs = []
    for _ in range(5):
        before = os.times()
        subprocess.run(
            [sys.executable, "-c", "import sys; from kubewitness.cli.main import main; sys.exit(main(['--help']))"],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        after = os.times()
        costs.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert 0 < min(costs) < 0.1
