"""
Who is asked what: the contestants of each table, as the lines a person would type, and the targets between them.

The targets are those of the project's issue; a contestant whose tool is not on this machine is left out by name.
"""

import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Command, count_lines
from benchmarks.report import Target

PEERS = Path(__file__).parent / "peers"
OURS = "kubewitness"


@dataclass(frozen=True, slots=True)
class Question:
    """One table."""

    name: str
    text: str
    commands: tuple[Command, ...]
    targets: tuple[Target, ...]
    rounds: int


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files and the interpreters are."""

    log: Path
    copy: Path
    gz: Path
    zst: Path
    bodies: Path
    ours: Path
    peers_python: Path
    without_rg: str


def _count_rows(output: bytes) -> int:
    """Results of CSV with a header line."""
    return max(0, count_lines(output) - 1)


def _count_number(output: bytes) -> int:
    """The number that a count prints."""
    return int(output.split()[0])


_SECRETS_READ = 'select(.objectRef.resource == "secrets" and .verb == "get")'
JQ = {
    "T1": (
        _SECRETS_READ + " | [.user.username, .objectRef.name, .objectRef.namespace, .requestReceivedTimestamp] | @tsv",
        "",
    ),
    "T2": ("[.user.username, .verb, .objectRef.resource] | @tsv", " | LC_ALL=C sort | uniq -c"),
    "T4": ("select(.responseStatus.code >= 400) | .user.username", " | LC_ALL=C sort | uniq -c"),
}
NEEDLE_JQ = (
    'select(.objectRef.resource == "secrets" and .verb == "delete" and .objectRef.name == "important"'
    ' and .objectRef.namespace == "production") | [.user.username, .requestReceivedTimestamp] | @tsv'
)
EXEC_JQ = 'select(.objectRef.subresource == "exec") | {user: .user.username, pod: .objectRef.name, uri: .requestURI}'
SECRET_ROW = "user.username,objectRef.name,objectRef.namespace,requestReceivedTimestamp"

OUR_SCAN = {
    "T1": f"search --resource secrets --verb get --account --columns {SECRET_ROW} -o csv",
    "T2": "top --by user.username,verb,objectRef.resource --limit 0 -o csv",
    "T4": "top --by user.username --code '>=400' --limit 0 -o csv",
}
OUR_NEEDLE = (
    "search --resource secrets --verb delete --name important -n production"
    " --columns user.username,requestReceivedTimestamp -o csv"
)


def _jq(tool: str, question: str, log: Path) -> Command:
    filter_, rest = JQ[question]
    return Command(tool, f"{tool} -r {shlex.quote(filter_)} {log}{rest}", is_slow=True)


def _present(commands: list[Command]) -> tuple[Command, ...]:
    return tuple(command for command in commands if shutil.which(shlex.split(command.line)[0]))


def scans(places: Places, rounds: int) -> list[Question]:
    """Questions that cannot be answered without looking at every Event."""
    titles = {
        "T1": "T1: who read which secret, when (every line accounted for)",
        "T2": "T2: requests by user, verb and resource",
        "T4": "T4: failed requests by user",
    }
    out = []
    for name, text in titles.items():
        commands = [
            Command(OURS, f"{places.ours} {OUR_SCAN[name]} {places.log}", count=_count_rows),
            Command("DuckDB by hand", f"{places.peers_python} {PEERS}/by_duckdb.py {name} {places.log}"),
            Command("Polars", f"{places.peers_python} {PEERS}/by_polars.py {name} {places.log}"),
            Command("orjson loop", f"{places.peers_python} {PEERS}/by_orjson.py {name} {places.log}"),
            _jq("jq", name, places.log),
            _jq("gojq", name, places.log),
        ]
        targets = (Target(OURS, "jq", 1 / 15), Target(OURS, "gojq", 1 / 18), Target(OURS, "DuckDB by hand", 1.25))
        out.append(Question("scan", text, _present(commands), targets, rounds))
    return out


def needle(places: Places, rounds: int) -> list[Question]:
    """One request among all, in a log as it was written and as a disk gives it: the kernel holds them differently."""
    titles = {
        places.log: "T5: who deleted secrets/important in production",
        places.copy: "T5 over a log that the kernel holds in large pieces",
    }
    out = []
    for log, text in titles.items():
        ours = f"{places.ours} {OUR_NEEDLE} {log}"
        commands = [
            Command(f"{OURS}, no rg", ours, env={"PATH": places.without_rg}, count=_count_rows),
            Command(f"{OURS}, with rg", ours, count=_count_rows),
            Command("rg | jq", f"rg -F '\"important\"' {log} | jq -r {shlex.quote(NEEDLE_JQ)}"),
            Command("jq", f"jq -r {shlex.quote(NEEDLE_JQ)} {log}", is_slow=True),
        ]
        targets = (
            Target(f"{OURS}, no rg", "jq", 1 / 25),
            Target(f"{OURS}, no rg", "rg | jq", 2.5),
            Target(f"{OURS}, with rg", "rg | jq", 1.5),
        )
        out.append(Question("needle", text, _present(commands), targets, rounds))
    return out


def compressed(places: Places, rounds: int) -> list[Question]:
    """The same question over plain, .zst and .gz."""
    commands = [
        Command(f"{OURS}, plain", f"{places.ours} {OUR_SCAN['T4']} {places.log}", count=_count_rows),
        Command(f"{OURS}, .zst", f"{places.ours} {OUR_SCAN['T4']} {places.zst}", count=_count_rows),
        Command(f"{OURS}, .gz", f"{places.ours} {OUR_SCAN['T4']} {places.gz}", count=_count_rows),
        Command("DuckDB by hand, .gz", f"{places.peers_python} {PEERS}/by_duckdb.py T4 {places.gz}"),
        Command("gzip -dc | jq", f"gzip -dc {places.gz} | jq -r {shlex.quote(JQ['T4'][0])}{JQ['T4'][1]}", is_slow=True),
    ]
    targets = (
        Target(f"{OURS}, .zst", f"{OURS}, plain", 1.3),
        Target(f"{OURS}, .gz", "DuckDB by hand, .gz", 1.0),
    )
    return [Question("compressed", "T4 over compressed files", _present(commands), targets, rounds)]


def jq(places: Places, rounds: int) -> list[Question]:
    """A runbook's jq, unchanged."""
    quoted = shlex.quote(EXEC_JQ)
    commands = [
        Command(f"{OURS} jq", f"{places.ours} jq -c {quoted} {places.log}"),
        Command("jq", f"jq -c {quoted} {places.log}", is_slow=True),
    ]
    text = 'the runbook\'s own jq: `select(.objectRef.subresource == "exec")`'
    return [Question("jq", text, _present(commands), (Target(f"{OURS} jq", "jq", 1 / 10),), rounds)]


def bodies(places: Places, rounds: int) -> list[Question]:
    """Memory over a log full of bodies."""
    commands = [
        Command(OURS, f"{places.ours} {OUR_SCAN['T1']} {places.bodies}", count=_count_rows),
        Command("DuckDB by hand", f"{places.peers_python} {PEERS}/by_duckdb.py T1 {places.bodies}"),
    ]
    targets = (Target(OURS, "DuckDB by hand", 1.25),)
    return [
        Question("memory", "T1 over a log in which two Events of three have bodies", tuple(commands), targets, rounds)
    ]


def lines(places: Places, rounds: int) -> list[Question]:
    """Whole lines: the bytes of what matches, what somebody did to an object, what lines cost."""
    log = places.log
    found = f"jq -c {shlex.quote(_SECRETS_READ)} {log}"
    deleted = shlex.quote(
        'select(.objectRef.resource == "secrets" and .objectRef.name == "important" and .verb == "delete"'
        ' and .objectRef.namespace == "production")'
    )
    weighed = "jq -c '[.user.username, (tostring | length)]'"
    by_user = "awk -F'[\",]' '{n[$2] += $4} END {for (u in n) print n[u], u}'"
    every = [
        (
            "T1 as exact lines",
            Command(OURS, f"{places.ours} search --resource secrets --verb get -o jsonl {log}"),
            Command("jq -c", found, is_slow=True),
        ),
        (
            "who deleted secrets/important, or may have",
            Command(OURS, f"{places.ours} who deleted secrets/important -n production -o csv {log}", count=_count_rows),
            Command("jq -c", f"jq -c {deleted} {log}", is_slow=True),
        ),
        (
            "bytes by user",
            Command(OURS, f"{places.ours} top --by bytes,user --limit 0 -o csv {log}", count=_count_rows),
            Command("jq | awk", f"{weighed} {log} | {by_user}", is_slow=True),
        ),
    ]
    return [
        Question("lines", text, _present(list(commands)), (Target(OURS, commands[1].name, 1 / 5),), rounds)
        for text, *commands in every
    ]


def startup(places: Places, rounds: int) -> list[Question]:
    """What a person waits for before anything happens."""
    commands = [
        Command("python -c pass", f"{sys.executable} -c pass"),
        Command(f"{OURS} --help", f"{places.ours} --help", count=lambda _: 0),
        Command(f"{OURS} --version", f"{places.ours} --version", count=lambda _: 0),
    ]
    return [Question("startup", "start-up", tuple(commands), (), rounds * 5)]


TABLES: dict[str, Callable[[Places, int], list[Question]]] = {
    "scan": scans,
    "needle": needle,
    "compressed": compressed,
    "jq": jq,
    "memory": bodies,
    "lines": lines,
    "startup": startup,
}
