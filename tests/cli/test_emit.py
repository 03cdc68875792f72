"""`kubewitness emit`: described requests become events in a log, on standard output, at a webhook."""

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubewitness.cli.main import main
from tests.emit.backends.receiver import receiving

POLICY = (
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n  users: [noise]\n- level: RequestResponse\n"
)
DELETE = '{"method":"DELETE","requestURI":"/api/v1/namespaces/shop/secrets/db","user":"alice"}\n'
CUT = "; interrupted before all was delivered, so more may be lost"


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return f"--audit-policy-file={path}"


def told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_events_go_to_standard_output(
    policy: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Without a backend the events are printed, a line each; the summary goes to standard error."""
    told(
        monkeypatch,
        DELETE + "\n" + '{"requestURI":"/version","user":"noise"}\n{"requestURI":"/x","user":null,"code":401}',
    )
    assert main(["emit", policy]) == 0
    out, err = capfdbinary.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    assert [(e["stage"], e["verb"]) for e in events] == [
        ("RequestReceived", "delete"),
        ("ResponseComplete", "delete"),
        ("ResponseStarted", "get"),
    ]
    assert err == (
        b"Using audit backend: ignoreErrors<log>\n3 requests (None 1, RequestResponse 2), 3 events, 0 lost, 0 refused\n"
    )


def test_files_become_a_log_that_the_other_commands_read(
    policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log made for a lesson answers its questions."""
    requests, log = tmp_path / "r.jsonl", tmp_path / "audit.log"
    requests.write_text(DELETE)
    assert main(["emit", policy, f"--audit-log-path={log}", "--audit-log-compress", str(requests), str(requests)]) == 0
    assert len(log.read_text().splitlines()) == 4
    capsys.readouterr()
    assert main(["who", "deleted", "secrets/db", "-n", "shop", str(log)]) == 0
    assert "alice" in capsys.readouterr().out


def test_rotated_files_are_tidy_when_it_ends(policy: str, tmp_path: Path) -> None:
    """What is old goes and the rest is compressed before the command ends, each file in one form."""
    requests, folder = tmp_path / "r.jsonl", tmp_path / "log"
    requests.write_text(DELETE)
    folder.mkdir()
    for day in range(1, 10):
        (folder / f"audit-2026-11-0{day}T03-00-00.000.log").write_text("x\n" * 1_000_000)
    flags = [f"--audit-log-path={folder / 'audit.log'}", "--audit-log-compress", "--audit-log-maxbackup=4"]
    assert main(["emit", policy, "--audit-log-maxage=0", *flags, str(requests)]) == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == [*(f"audit-2026-11-0{day}T03-00-00.000.log.gz" for day in range(6, 10)), "audit.log"]


def test_a_webhook_gets_them(policy: str, tmp_path: Path) -> None:
    """The buffer is delivered before the command ends."""
    requests = tmp_path / "r.jsonl"
    requests.write_text(DELETE * 3)
    with receiving(tmp_path) as receiver:
        assert main(["emit", policy, f"--audit-webhook-config-file={receiver.kubeconfig()}", str(requests)]) == 0
        assert len(json.loads(receiver.seen[0].body)["items"]) == 6


def test_the_older_name_of_a_flag_is_taken_and_not_shown(
    policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """kube-apiserver's hidden --audit-webhook-batch-initial-backoff: a retry comes soon."""
    requests = tmp_path / "r.jsonl"
    requests.write_text(DELETE)
    with receiving(tmp_path, 500) as receiver:
        flags = [f"--audit-webhook-config-file={receiver.kubeconfig()}", "--audit-webhook-batch-initial-backoff=10ms"]
        assert main(["emit", policy, *flags, str(requests)]) == 0
        assert receiver.seen[1].at_s - receiver.seen[0].at_s < 5
    assert main(["emit", "--help"]) == 0
    assert "batch-initial-backoff" not in capsys.readouterr().out


def test_losses_are_told_and_counted(
    policy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk costs exit code 4; in blocking-strict the requests are refused, too."""
    told(monkeypatch, DELETE * 2)
    assert main(["emit", policy, "--audit-log-path=/dev/full", "--audit-log-maxsize=0"]) == 4
    assert capsys.readouterr().err.splitlines()[1:] == [
        "Error in audit plugin 'log': no space left on device",
        "2 requests (RequestResponse 2), 4 events, 4 lost, 0 refused",
    ]
    told(monkeypatch, DELETE)
    strict = ["--audit-log-mode=blocking-strict", "--audit-log-path=/dev/full", "--audit-log-maxsize=0"]
    assert main(["emit", policy, *strict]) == 4
    err = capsys.readouterr().err
    assert 'standard input:1: 500: Internal Server Error: "/api/v1/namespaces/shop/secrets/db": failed to store' in err


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        ([], DELETE, "nothing is recorded without a policy\n  help: name one with --audit-policy-file=FILE"),
        (["P", "--audit-log-mode=async"], DELETE, 'invalid audit log mode async, allowed modes are "batch,blocking,'),
        (
            ["P", "--audit-log-compress=no"],
            DELETE,
            'invalid argument "no" for "--audit-log-compress" flag: strconv.ParseBool: parsing "no": invalid syntax',
        ),
        (["P", "--audit-log-maxsize=x"], DELETE, 'invalid argument "x" for "--audit-log-maxsize" flag: strconv'),
        (
            ["--audit-policy-file=/nope"],
            DELETE,
            'loading audit policy file: failed to read file path "/nope": open /nope',
        ),
        (["P", "--audit-webhook-config-file=/nope"], DELETE, "initializing audit webhook: stat /nope: no such file"),
        (["P"], '\n{"uri":"/"}', "standard input:2: not a request: Object contains unknown field `uri`"),
        (["P"], '{"kind":"Event"}', "standard input:1: an Event of a log, not a request: Object contains"),
        (["P", "/nope"], "", "/nope: cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    policy: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
    message: str,
) -> None:
    """Flags are refused in kube-apiserver's words, lines by file and number."""
    told(monkeypatch, text)
    assert main(["emit", *(policy if argument == "P" else argument for argument in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_a_line_that_is_no_request_stops_none_after_it(
    policy: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is told with its member and counted; the answer is not complete."""
    told(monkeypatch, DELETE + '{"requestURI":"/","code":"x"}\n{\n' + DELETE)
    assert main(["emit", policy]) == 4
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 4
    assert err.splitlines()[1:] == [
        "standard input:2: not a request: Expected `int | null`, got `str` - at `$.code`",
        "standard input:3: not a request: Input data was truncated",
        "2 requests (RequestResponse 2), 4 events, 0 lost, 0 refused; 2 lines are no request",
    ]


def test_a_file_that_cannot_be_read_stops_none_after_it(
    policy: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is told and counted; the answer is not complete."""
    requests, missing = tmp_path / "r.jsonl", tmp_path / "missing.jsonl"
    requests.write_text(DELETE)
    assert main(["emit", policy, str(requests), str(missing), str(tmp_path), str(requests)]) == 4
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 4
    assert err.splitlines()[1:] == [
        f"{missing}: cannot be read: No such file or directory",
        f"{tmp_path}: cannot be read: Is a directory",
        "2 requests (RequestResponse 2), 4 events, 0 lost, 0 refused; 2 files were not read",
    ]


def test_a_wrong_kubeconfig_is_named_with_its_field(
    policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """kube-apiserver's sentence, and below it where to look."""
    path = tmp_path / "webhook.yaml"
    path.write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: a, user: u}}]\n"
        "clusters: [{name: a, cluster: {server: ''}}]\nusers: [{name: u, user: {token: t, password: p}}]\n"
    )
    assert main(["emit", policy, f"--audit-webhook-config-file={path}", "/dev/null"]) == 2
    message, where = capsys.readouterr().err.splitlines()
    assert "initializing audit webhook: invalid configuration: [more than one authentication method" in message
    assert where.endswith(f"help: in {path} look at users[0].user, clusters[0].cluster.server")


def test_a_url_that_no_server_takes_is_passed_over(
    policy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What Go's server answers 400 is not audited."""
    told(monkeypatch, '{"requestURI":"/%zz"}')
    assert main(["emit", policy]) == 0
    assert "standard input:1: not audited: invalid URL escape" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["blocking", "blocking-strict", "batch"])
def test_a_reader_that_has_gone_is_no_loss(policy: str, tmp_path: Path, mode: str) -> None:
    """`| head` ends it quietly."""
    requests = tmp_path / "r.jsonl"
    requests.write_text(DELETE * 2000)
    entry = f'{sys.executable} -c "from kubewitness.cli.main import main; raise SystemExit(main())"'
    command = f"{entry} emit {policy} --audit-log-mode={mode} {requests} | head -1 | wc -l; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]
    assert len(done.stderr.splitlines()) == 1  # the backend that is used


def test_a_byte_order_mark_is_noted(
    policy: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The line is understood, as in a log."""
    told(monkeypatch, "\ufeff" + DELETE)
    assert main(["emit", policy]) == 0
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 2
    assert "standard input:1: byte order mark skipped" in err.splitlines()


def test_a_closed_standard_output_is_told(policy: str) -> None:
    """Events that would go nowhere are not counted as written; the log file needs no standard output."""
    entry = f'{sys.executable} -c "from kubewitness.cli.main import main; raise SystemExit(main())"'
    command = f"{entry} emit {policy} >&-; echo $?; {entry} emit {policy} --audit-log-path=/dev/null >&-; echo $?"
    done = subprocess.run(["bash", "-c", command], input="", capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "0"]
    assert "error: standard output is closed" in done.stderr


@pytest.mark.parametrize(
    ("version", "code", "said"),
    [
        ("v1.36.2+rke2r1", 0, ""),
        ("1.31.4-eks-2d5f260", 0, ""),
        ("1.29", 2, "server version '1.29' is not known; known are 1.30 to 1.36"),
        ("latest", 2, "server version 'latest': expected one such as 1.36"),
    ],
)
def test_a_version_as_distributions_write_it(
    policy: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    version: str,
    code: int,
    said: str,
) -> None:
    """A patch and a vendor's suffix are read over; what is not known is refused in one line."""
    told(monkeypatch, DELETE)
    assert main(["emit", "--server-version", version, policy]) == code
    err = capfd.readouterr().err
    assert said in err
    assert "fault of kubewitness" not in err


@pytest.mark.parametrize(
    ("flags", "interrupts", "said"),
    [
        ([], 1, "1 requests (RequestResponse 1), 2 events, 0 lost, 0 refused"),
        (
            ["--audit-webhook-config-file=DEAD"],
            2,
            "1 requests (RequestResponse 1), 2 events, 0 lost, 0 refused" + CUT,
        ),
        (
            ["--audit-webhook-config-file=DEAD", "--audit-webhook-mode=blocking"],
            1,
            "1 requests (RequestResponse 1), 1 events, 0 lost, 0 refused" + CUT,
        ),
    ],
)
def test_ctrl_c_ends_with_the_summary(
    policy: str, tmp_path: Path, flags: list[str], interrupts: int, said: str
) -> None:
    """What was written is said; where a receiver does not answer, that more may be lost."""
    dead = tmp_path / "dead.yaml"
    dead.write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: a, user: u}}]\n"
        "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: u, user: {}}]\n"
    )
    command = [sys.executable, "-c", "from kubewitness.cli.main import main; raise SystemExit(main())", "emit", policy]
    words = [*command, *(flag.replace("DEAD", str(dead)) for flag in flags)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(DELETE.encode())
    process.stdin.flush()
    process.stderr.readline()  # the backend that is used
    for _ in range(interrupts):
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err.decode()) == (130, said + "\n")
