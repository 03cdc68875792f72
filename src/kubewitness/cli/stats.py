"""`kubewitness stats`: what a log holds, on one screen: events, requests, span, levels, outcomes, users, damage."""

import argparse
import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

from kubewitness.cli.answer import conclude, counted
from kubewitness.cli.engine import Facts, Log, Stages, listed, open_log
from kubewitness.cli.progress import Progress
from kubewitness.cli.render.choose import add_output_arguments, output_of
from kubewitness.cli.render.data import write_json, write_jsonl
from kubewitness.cli.render.output import Output
from kubewitness.cli.render.printable import cell, fit, pad, width
from kubewitness.cli.render.values import Column, Tone, rfc3339
from kubewitness.cli.render.yamltext import yaml_text
from kubewitness.cli.sources import add_source_arguments

HELP = """Say what a log holds: events, requests, time span, levels, stages, outcomes, users, damage.

  kubewitness stats audit.log
  kubewitness stats -o json /var/log/kubernetes/audit/"""

# How many of each kind the screen shows; data formats hold them all.
_SHOWN = 5
# what is counted over every event, and what once a request
_OF_EVENTS = {"levels": "level", "stages": "stage"}
_OF_REQUESTS = {
    "outcomes": "outcome",
    "actors": "actor_kind",
    "users": "username",
    "actions": "action",
    "resources": "resource",
    "clients": "user_agent",
    "peers": "source_peer",
}

_ON_ONE_LINE = frozenset(["levels", "stages", "outcomes", "actors"])
_TITLE_CELLS = 10

Counts = dict[str, int]
Span: TypeAlias = tuple[datetime, datetime] | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add sources and output."""
    add_source_arguments(parser)
    add_output_arguments(parser, ("table", "json", "jsonl", "yaml"), says="table fits the terminal")


def run(args: argparse.Namespace) -> int:
    """Count and print."""
    with open_log(args) as log, Progress("reading", log.fraction) as progress:
        of_events, span = _count(log, _OF_EVENTS, stages="all")
        of_requests, _ = _count(log, _OF_REQUESTS, stages="latest")
        counts, facts = of_events | of_requests, log.facts()
        progress.stop()
        output = output_of(args)
        totals = _totals(facts, span, counts)
        match args.output:
            case "table":
                for line in screen(totals, counts, output):
                    output.write(line)
            case "yaml":
                output.write(yaml_text({**totals, **counts}))
            case _:
                whole = {**totals, **counts}
                write = write_json if args.output == "json" else write_jsonl
                write([tuple(whole.values())], [Column(name, name) for name in whole], output)
        return conclude(log, args, found=facts.events)


def _count(log: Log, kinds: Mapping[str, str], *, stages: Stages) -> tuple[dict[str, Counts], Span]:
    """Count every kind in one pass over the log, the most frequent first; give the first and last time too."""
    columns = list(kinds.values())
    sets = ", ".join(f"({column})" for column in columns)
    answer = log.query(
        f"SELECT grouping_id({listed(columns)}), {listed(columns)}, count(*) AS n, min(received), max(received) "  # noqa: S608
        f"FROM events GROUP BY GROUPING SETS ({sets}) ORDER BY n DESC, {listed(columns)}",
        stages=stages,
    )
    found: dict[str, Counts] = {kind: {} for kind in kinds}
    names = list(kinds)
    times: list[datetime] = []
    for mask, *values, number, first, last in answer:
        # the one column that is grouped by has a zero bit; the first column is the highest bit
        at = next(at for at in range(len(names)) if not mask >> (len(names) - 1 - at) & 1)
        found[names[at]][_name(values[at])] = number
        times += [time for time in (first, last) if time is not None]
    return found, (min(times), max(times)) if times else None


def _name(value: object) -> str:
    return "(none)" if value is None else str(value)


def _totals(facts: Facts, span: Span, counts: Mapping[str, Counts]) -> dict[str, object]:
    return {
        "files": len(facts.reports),
        "events": facts.events,
        "requests": sum(counts["outcomes"].values()),
        "damaged": sum(report.damaged for report in facts.reports),
        "repaired": sum(report.repaired for report in facts.reports),
        "first": span[0] if span else None,
        "last": span[1] if span else None,
    }


def screen(totals: Mapping[str, object], counts: Mapping[str, Counts], output: Output) -> Iterator[str]:
    """Lay out the numbers on a screen: totals, then the most frequent of each kind."""
    yield _fact("events", f"{totals['events']:,} in {counted(_int(totals['files']), 'file')}", output)
    yield _fact("requests", f"{totals['requests']:,}", output)
    first, last = totals["first"], totals["last"]
    if isinstance(first, datetime) and isinstance(last, datetime):
        span = f"{rfc3339(first, timespec='seconds')} to {rfc3339(last, timespec='seconds')} ({_length(last - first)})"
        yield _fact("span", span, output)
    damaged, repaired = _int(totals["damaged"]), _int(totals["repaired"])
    damage = f"{counted(damaged, 'place')} damaged" if damaged else "none"
    yield _fact("damage", f"{damage}; {counted(repaired, 'event')} repaired" if repaired else damage, output)
    yield "\n"
    for kind, found in counts.items():
        if kind in _ON_ONE_LINE:
            total = sum(found.values())
            parts = [f"{cell(name)} {number:,} ({_share(number, total)})" for name, number in found.items()]
            yield _fact(kind, ", ".join(parts) or "-", output)
    for kind, found in counts.items():
        if kind not in _ON_ONE_LINE:
            yield from _block(kind, found, output)


def _fact(title: str, text: str, output: Output) -> str:
    indent = " " * _TITLE_CELLS
    first, *rest = textwrap.wrap(text, max(_TITLE_CELLS, output.width - _TITLE_CELLS), break_long_words=False)
    lines = [f"{output.paint(title, Tone.STRONG)}{indent[len(title) :]}{first}", *(f"{indent}{line}" for line in rest)]
    return "\n".join(lines) + "\n"


def _block(kind: str, found: Counts, output: Output) -> Iterator[str]:
    total = sum(found.values())
    if not total:
        return
    yield f"\n{output.paint(kind, Tone.STRONG)}{f' ({len(found)})' if len(found) > _SHOWN else ''}\n"
    shown = list(found.items())[:_SHOWN]
    digits = len(f"{shown[0][1]:,}")
    room = output.width - digits - 10
    names = [cell(name) for name, _ in shown]
    if output.may_cut:
        names = [fit(name, room, output.ellipsis, keep_end=True) for name in names]
    widest = max(map(width, names))
    for name, (_, number) in zip(names, shown, strict=True):
        yield f"  {pad(name, widest)}  {number:>{digits},}  {_share(number, total):>4}\n"


def _share(part: int, total: int) -> str:
    return f"{part / total:.0%}" if part * 100 >= total else "<1%"


def _length(span: timedelta) -> str:
    """Write a length of time with its two largest units: 1 min 22 s, 3 d 4 h."""
    seconds = int(span.total_seconds())
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, seconds = divmod(seconds, length)
        if number or (unit == "s" and not parts):
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
