"""The engine is begun early only where it is certain to be asked."""

import subprocess
import sys
from pathlib import Path

import pytest

from kubewitness.cli.ahead import needs_engine
from kubewitness.cli.filters import condition_of
from kubewitness.cli.main import parser_of
from kubewitness.event.filter import PLAIN
from kubewitness.look.query.prefilter import shared_needles

CERTAIN = [
    "top --by user,verb --limit 0 -o csv a.log",
    "top --code >=400 a.log",
    "top --code=403 --since 1h -o=json a.log",
    "top --outcome denied --until 2026-11-23T00:00:00Z a.log",
    "stats a.log",
    "timeline --code 4xx a.log",
]


@pytest.mark.parametrize("line", CERTAIN)
def test_what_is_certain_has_no_text_to_look_for(line):
    """Such a command has nothing that could be looked for in lines, so that no search would fork beside the engine."""
    name, *words = line.split()
    assert needs_engine([name, *words])
    filter_ = condition_of(parser_of(name).parse(words), PLAIN).filter
    assert not shared_needles(filter_, joins_stages=True)
    assert not shared_needles(filter_, joins_stages=False)


@pytest.mark.parametrize(
    "line",
    ["", "--help", "search a.log", "search --code 403 a.log", "top --user bob a.log", "top --user=bob a.log",
     "top --verb get a.log", "top --help", "top --show-sql a.log", "timeline --follow a.log", "jq --account . a.log"],
)  # fmt: skip
def test_what_is_not_certain(line):
    """A text to look for, a flag that asks no engine, another command."""
    assert not needs_engine(line.split())


def test_account_is_certain():
    """Where every line is to be accounted for, the engine reads them all, whatever is looked for."""
    assert needs_engine(["search", "--resource", "secrets", "--account", "a.log"])


def test_a_search_that_accounts_is_the_same(tmp_path):
    """As a program of its own: an engine that was begun early answers, and a wrong flag ends as ever."""
    log = tmp_path / "a.log"
    log.write_text('{"kind":"Event","auditID":"1","stage":"ResponseComplete","verb":"get","user":{"username":"bob"}}\n')
    ours = [Path(sys.executable).with_name("kubewitness")]
    found = subprocess.run(
        [*ours, "search", "--user", "bob", "--account", "--count", log], capture_output=True, text=True
    )
    assert (found.stdout, found.returncode) == ("1\n", 0), found.stderr
    wrong = subprocess.run([*ours, "top", "--code", "x", log], capture_output=True, text=True)
    assert (wrong.stdout, wrong.returncode) == ("", 2)
