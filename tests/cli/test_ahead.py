"""What is begun early: the engine only where it is certain to be asked, a search where the words name a text."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from kubewitness.cli.ahead import needs_engine, texts_named
from kubewitness.cli.filters import condition_of
from kubewitness.cli.main import parser_of
from kubewitness.cli.who import target_of
from kubewitness.event.filter import PLAIN
from kubewitness.look.query.prefilter import shared_needles
from tests.event.damage import event

CERTAIN = [
    "top --by user,verb --limit 0 -o csv a.log",
    "top --code >=400 a.log",
    "top --code=403 --since 1h -o=json a.log",
    "top --outcome denied --until 2026-11-23T00:00:00Z a.log",
    "stats a.log",
    "timeline --code 4xx a.log",
    "top -- --user",
]


@pytest.mark.parametrize("line", CERTAIN)
def test_what_is_certain_has_no_text_to_look_for(line):
    """Such a command has nothing that could be looked for in lines, so that no search would fork beside the engine."""
    name, *words = line.split()
    assert needs_engine([name, *words])
    filter_ = condition_of(parser_of(name).parse(words), PLAIN).filter
    assert not shared_needles(filter_, joins_stages=True)
    assert not shared_needles(filter_, joins_stages=False)


def test_who_asks_the_engine_about_an_object():
    """Unless flags of its own name a text: then lines are searched for, and that forks."""
    words = ["who", "deleted", "secrets/important", "-n", "production", "a.log"]
    assert needs_engine(words)
    args = parser_of("who").parse(words[1:])
    target_of(args)
    assert not shared_needles(condition_of(args, PLAIN).filter, joins_stages=True)
    assert not needs_engine([*words, "--user", "bob"])
    assert not needs_engine([*words, "--data", "store"])


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


@pytest.mark.parametrize(
    "line",
    [
        "search --user bob a.log",
        "search --user=bob --verb get a.log",
        "search --resource secrets --verb delete --name important -n production a.log",
        "search --resource pods/exec --group system:masters a.log",
        "search --sa kube-system/default --resource deployments.apps a.log",
        "search --name x --verb create a.log",
        "search --audit-id 1827711b-f833-4d65-ad2a-cfe07efa4586 --stages all a.log",
        "top --by verb --user user-13@example.com a.log",
        "search --user bob -- --name x",
    ],
)
def test_a_text_that_is_guessed_is_the_one_that_is_looked_for(line):
    """The words tell which texts the flags will ask for; where they did not, a search would be begun in vain."""
    name, *words = line.split()
    args = parser_of(name).parse(words)
    guessed = texts_named([name, *words])
    assert guessed
    assert set(guessed) == set(shared_needles(condition_of(args, PLAIN).filter, joins_stages=True))


@pytest.mark.parametrize(
    "line",
    ["", "--help", "search a.log", "search --user bo* a.log", "search --user !bob a.log", "search --name a,b a.log",
     "search --user", "search --user a --user b a.log", "search --user bob --account a.log",
     "search --user bob --where TRUE a.log",
     "search --name x a.log", "who read a/b a.log", "search --user bob --data store", "search --user bob -w a.log",
     "search -- --user bob",
      "jq --user bob a.log", "search --code 403 a.log"],
)  # fmt: skip
def test_where_nothing_is_guessed(line):
    """Values with a meaning of their own, commands and flags that do not look for lines."""
    assert texts_named(line.split()) == []


SEARCHES = """
from kubewitness.look.query import textsearch
made = []
begin = textsearch.Search.__init__
textsearch.Search.__init__ = lambda search, plan: (made.append(sorted(plan.values())), begin(search, plan))[1]
from kubewitness.cli.main import _end
import kubewitness.cli.main, sys
from kubewitness.cli import start
kubewitness.cli.main._end = lambda code: (print(made, textsearch._begun, file=sys.stderr), _end(code))
start.main()
"""


@pytest.mark.parametrize(
    ("flags", "out", "searched"),
    [
        (["--user", "mallory"], "1\n", [[b'"mallory"']]),
        (["--user", "MALLORY", "--verb", "nosuch"], "0\n", [[b'"MALLORY"']]),
        (["--user", "user-7", "--name", "x"], "0\n", [[b'"user-7"']]),
    ],
)
def test_a_search_that_is_begun_is_the_one_that_answers(tmp_path, flags, out, searched):
    """Lines are searched for once for a question, and what was begun in vain does not stay."""
    log = tmp_path / "audit.log"
    rare = event(7, user={"username": "mallory"})
    log.write_text(f"{rare}\n" + f"{event(1)}\n" * (34_000_000 // len(event(1))))
    command = [sys.executable, "-c", SEARCHES, "search", *flags, "--count", str(log)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == out, done.stderr
    texts, _, rest = done.stderr.splitlines()[-1].rpartition(" [")
    assert rest == "]", done.stderr
    assert [list(plain) for [(plain, _)] in ast.literal_eval(texts)][: len(searched)] == searched
