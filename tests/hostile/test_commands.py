"""A log written by an attacker through every command that shows it."""

import json
from pathlib import Path

import pytest

from kubewitness.cli.main import main
from tests.hostile.corpus import HOSTILE, acts

POLICIES = Path(__file__).parent.parent / "data" / "policies"


@pytest.fixture(scope="module")
def hostile_log(tmp_path_factory) -> str:
    """A log in which each hostile string stands wherever a client can put it."""
    path: Path = tmp_path_factory.mktemp("logs") / "\x1b[2J\u202eaudit.log"
    lines = []
    for number, text in enumerate(HOSTILE.values()):
        event = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": text,
            "stage": "ResponseComplete",
            "requestURI": f"/{text}",
            "verb": text,
            "user": {"username": text, "groups": [text]},
            "impersonatedUser": {"username": text},
            "sourceIPs": [text, text],
            "userAgent": text,
            "objectRef": {"resource": text, "namespace": text, "name": text, "subresource": text, "apiGroup": text},
            "responseStatus": {"metadata": {}, "code": 403, "message": text, "reason": text},
            "requestReceivedTimestamp": f"2026-03-01T00:{number:02d}:00.000000Z",
            "stageTimestamp": f"2026-03-01T00:{number:02d}:00.000000Z",
        }
        lines.append(json.dumps(event, ensure_ascii="\ud800" in text))
    lines.append("not an event \x1b[2J \u202e \x9b31m")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return str(path)


@pytest.mark.parametrize(
    "command",
    [
        *(["search", "-o", name] for name in ("table", "wide", "csv", "json", "yaml")),
        ["search", "--follow", "--limit", str(len(HOSTILE))],
        ["search", "-o", "jsonl", "--columns", "user,object,groups"],
        ["search", "--color", "never", "--user", "\x1b[2J", "--show-damage"],
        ["top", "--by", "user,verb,agent", "--limit", "0"],
        ["stats"],
        ["stats", "-o", "yaml"],
        ["timeline", "--limit", "0"],
        ["timeline", "-o", "csv"],
        ["sql", 'SELECT username AS "\x1b[2J", groups, user_agent FROM events'],
        ["sql", "SELECT \x1b[2J"],
        ["policy", "simulate", "--limit", "0", str(POLICIES / "security.yaml")],
        ["policy", "simulate", "-o", "html", str(POLICIES / "full.yaml")],
        [
            "policy",
            "simulate",
            "-o",
            "json",
            "--baseline",
            str(POLICIES / "security.yaml"),
            str(POLICIES / "full.yaml"),
        ],
        ["policy", "diff", str(POLICIES / "security.yaml"), str(POLICIES / "full.yaml")],
        ["policy", "suggest", "--limit", "0", "--policy", str(POLICIES / "full.yaml")],
    ],
)
def test_nothing_hostile_gets_through(command, hostile_log, capsys):
    """Whatever a log holds, no command lets it act: not in rows, not in messages, not in the name of the file."""
    assert main([*command, hostile_log]) in (0, 2, 4)
    captured = capsys.readouterr()
    assert acts(captured.out) == []
    assert acts(captured.err) == []


@pytest.mark.parametrize("name", ["table", "wide", "csv"])
def test_every_request_is_one_line(name, hostile_log, capsys):
    """Nobody can add a row of his own or hide one."""
    main(["search", "-o", name, hostile_log])
    assert capsys.readouterr().out.count("\n") == len(HOSTILE) + 1
