"""A simulation as a person or a program reads it: totals, costs, tables by rule, user and resource, what is unknown."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubewitness.cli.answer import counted
from kubewitness.cli.policy_traffic import SHORT_S, bytes_text, change_text, short
from kubewitness.cli.render.choose import write_rows
from kubewitness.cli.render.output import Output
from kubewitness.cli.render.printable import cell, fit, printable
from kubewitness.cli.render.values import Column, Shrink, Tone, rfc3339
from kubewitness.policy.prove.answer import TooHardError
from kubewitness.policy.prove.describe import region_text, request_text
from kubewitness.policy.prove.diff import Diff
from kubewitness.policy.shapes import Traffic
from kubewitness.policy.workshop.costs import Batching, Disk, Posts, Price, Rotation, a_day, disk, posts
from kubewitness.policy.workshop.simulate import Effect, Simulation, simulate
from kubewitness.policy.workshop.tally import Side, Tally, resource_of, rule_of, tallies, user_of

if TYPE_CHECKING:
    from kubewitness.policy.load import Document

_EFFECTS = (Effect.KEPT, Effect.RAISED, Effect.LOWERED, Effect.DROPPED, Effect.ADDED)
_UNSEEN_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Cost:
    """What one side costs. None where the log has no length to scale by, or nothing sets a limit."""

    bytes_a_day: float | None
    disk: Disk | None
    posts: Posts | None
    busiest: Posts | None
    prices: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the new policy: its index, level and line in the file."""

    index: int | None
    level: str
    line: int


@dataclass(frozen=True, slots=True)
class Report:
    """All that is printed."""

    names: tuple[str, str]
    simulation: Simulation
    total: Tally
    by_rule: Mapping[Rule, Tally]
    by_user: Mapping[str | None, Tally]
    by_resource: Mapping[str, Tally]
    costs: tuple[Cost, Cost]
    prices: tuple[Price, ...]
    unseen: tuple[str, ...]
    """Requests that the new policy records and the recording one did not: not in this log at all."""
    notes: tuple[str, ...]

    @property
    def traffic(self) -> Traffic:
        """The log."""
        return self.simulation.traffic

    @property
    def has_unknowns(self) -> bool:
        """Whether something cannot even be estimated."""
        return bool(self.total.after.unknown or self.total.before.unknown or self.unseen)


def report_of(
    args: argparse.Namespace,
    new: "Document",
    old: "Document | None",
    traffic: Traffic,
    prices: tuple[Price, ...],
) -> Report:
    """Simulate, add up and scale."""
    assert new.policy is not None  # noqa: S101  the caller asked for accepted policies
    baseline = old.policy if old else None
    simulation = simulate(traffic, new.policy, baseline)
    total, (by_rule, by_user, by_resource) = tallies(simulation.lines, (rule_of, user_of, resource_of))
    rules = {
        _rule(new, index): one
        for index, one in sorted(by_rule.items(), key=lambda item: (item[0] is None, item[0] or 0))
    }
    unseen = tuple(_unseen(old, new)) if simulation.is_recorded_by_baseline else ()
    return Report(
        names=(args.baseline or "as recorded", args.new),
        simulation=simulation,
        total=total,
        by_rule=rules,
        by_user=by_user,
        by_resource=by_resource,
        costs=(_cost(args, traffic, total.before, prices), _cost(args, traffic, total.after, prices)),
        prices=prices,
        unseen=unseen,
        notes=tuple(_notes(args, simulation)),
    )


def _rule(document: "Document", index: int | None) -> Rule:
    if index is None or document.policy is None:
        return Rule(None, "None", 0)
    value = document.tree.at(("rules", index)) if document.tree is not None else None
    return Rule(index, document.policy.rules[index].level.value, value.mark.line if value is not None else 0)


def _cost(args: argparse.Namespace, traffic: Traffic, side: Side, prices: Sequence[Price]) -> Cost:
    daily = a_day(side.size, traffic.seconds)
    if daily is None:
        return Cost(None, None, None, None, {})
    rotation = Rotation(args.audit_log_maxsize, args.audit_log_maxbackup, args.audit_log_maxage)
    batching = Batching(
        max_size=args.audit_webhook_batch_max_size or 1,
        throttle_qps=args.audit_webhook_batch_throttle_qps or 1,
        buffer_size=args.audit_webhook_batch_buffer_size,
    )
    per_s = side.events / traffic.seconds
    # the busiest minute of the whole log stands for that of the part which is written
    peak = traffic.busiest_minute_events / 60 * side.events / traffic.events if traffic.events else 0.0
    return Cost(
        daily,
        disk(daily, rotation),
        posts(per_s, batching),
        posts(max(peak, per_s), batching),
        {price.name: price.month(daily) for price in prices},
    )


def _unseen(old: "Document | None", new: "Document") -> Iterator[str]:
    """Say which requests are recorded from now on that are not in the log, in words."""
    if old is None or old.policy is None or new.policy is None:
        return
    try:
        diff = Diff(old.policy, new.policy)
        for change in diff.changes:
            if change.before.level.value == "None" and change.after.level.value != "None":
                regions, _ = diff.regions(change, 1)
                what = region_text(diff.space, regions[0]) if regions else request_text(change.example)
                yield f"rules[{change.after.rule_index}] {change.after.level.value}: {what}"
    except TooHardError as error:
        yield f"which these are could not be worked out: {error}"


def _notes(args: argparse.Namespace, simulation: Simulation) -> Iterator[str]:
    wrong = simulation.contradictions
    if wrong:
        events = sum(line.shape.events for line in wrong)
        one = wrong[0]
        yield (
            f"{args.baseline} did not record this log: {events:,} of its events would differ, such as "
            f"{request_text(one.shape.request)}, recorded at {one.shape.level.value} {one.shape.stage.value}"
        )
    if not simulation.is_recorded_by_baseline and simulation.traffic.events:
        yield (
            "requests that the recording policy left out are not in this log and not in these numbers"
            + ("" if args.baseline else "; give that policy as --baseline to see which")
        )
    if 0 < simulation.traffic.seconds < SHORT_S:
        yield short(simulation.traffic.seconds)


# --- a screen


def write_text(report: Report, output: Output, limit: int) -> None:
    """Write the report for a terminal."""
    for line in _head(report, output):
        output.write(line + "\n")
    if report.by_rule:
        output.write("\n")
        _write_table("RULE", _rule_rows(report), output)
        output.write("\n")
        _write_table("USER", [(_user(user), one) for user, one in report.by_user.items()], output, limit)
        output.write("\n")
        _write_table("RESOURCE", list(report.by_resource.items()), output, limit)
    for line in _unknown_lines(report):
        output.write(f"{printable(line)}\n")


def _head(report: Report, output: Output) -> Iterator[str]:
    traffic, total = report.traffic, report.total
    if traffic.first is not None and traffic.last is not None:
        first, last = (rfc3339(moment, timespec="seconds") for moment in (traffic.first, traffic.last))
        yield f"{counted(traffic.events, 'event')}, {bytes_text(traffic.size)}, {first} to {last}"
    effects = ", ".join(f"{effect.value} {total.effects[effect]:,}" for effect in _EFFECTS if total.effects[effect])
    yield f"events {effects or 'none'}"
    yield ""
    names = [fit(cell(name), 22, output.ellipsis, keep_end=True) for name in report.names]
    yield output.paint(f"{'':<22}{names[0]:>23}{names[1]:>24}  CHANGE", Tone.STRONG)
    for title, before, after, change in _totals(report):
        yield f"{fit(cell(title), 22, output.ellipsis):<22}{before:>23}{after:>24}  {change}".rstrip()


def _totals(report: Report) -> Iterator[tuple[str, str, str, str]]:
    old, new = report.total.before, report.total.after
    yield "events", f"{old.events:,}", f"{new.events:,}", change_text(old.events, new.events)
    yield "requests", f"{old.requests:,}", f"{new.requests:,}", change_text(old.requests, new.requests)
    yield "bytes", size_text(old), size_text(new), change_text(old.size, new.size)
    cost_old, cost_new = report.costs
    if cost_old.bytes_a_day is None or cost_new.bytes_a_day is None:
        return
    yield "a day", bytes_text(cost_old.bytes_a_day), bytes_text(cost_new.bytes_a_day), ""
    yield "log files reach back", _days(cost_old.disk), _days(cost_new.disk), ""
    yield "POSTs/s (of throttle)", _posts(cost_old.posts), _posts(cost_new.posts), ""
    yield "POSTs/s, busy minute", _posts(cost_old.busiest), _posts(cost_new.busiest), ""
    for price in report.prices:
        before, after = cost_old.prices[price.name], cost_new.prices[price.name]
        money = [f"{amount:,.2f} {price.currency}" for amount in (before, after)]
        yield f"{price.name}, a month", cell(money[0]), cell(money[1]), change_text(before, after)


def size_text(side: Side) -> str:
    """Write bytes exactly where they are known, with an interval where they were estimated."""
    least = "at least " if side.unknown else ""
    if side.spread < 1:
        return f"{least}{side.size:,.0f}"
    if side.unknown:
        return f"at least {bytes_text(side.low)}"
    return f"{bytes_text(side.low)} .. {bytes_text(side.high)}"


def _days(reach: Disk | None) -> str:
    if reach is None or reach.days is None:
        return "no limit set"
    return f"{reach.days:,.1f} days" if reach.days >= 1 else f"{reach.days * 24:,.1f} hours"


def _posts(sent: Posts | None) -> str:
    if sent is None:
        return "-"
    text = f"{sent.per_s:.2f} ({sent.of_throttle:.0%})"
    return text if sent.full_after_s is None else f"{text}, LOSS"


def _user(user: str | None) -> str:
    return "(authentication failed)" if user is None else user


def _rule_rows(report: Report) -> list[tuple[str, Tally]]:
    return [
        (f"rules[{rule.index}] line {rule.line} {rule.level}" if rule.index is not None else "no rule", one)
        for rule, one in report.by_rule.items()
    ]


def _write_table(title: str, rows: Sequence[tuple[str, Tally]], output: Output, limit: int = 0) -> None:
    columns = [
        Column(title, title.lower(), Shrink.MIDDLE),
        Column("EVENTS", "before", Shrink.NEVER, is_right=True),
        Column("NOW", "after", Shrink.NEVER, is_right=True),
        Column("BYTES", "bytes_before", Shrink.NEVER, is_right=True),
        Column("NOW", "bytes_after", Shrink.NEVER, is_right=True),
        Column("CHANGE", "change", Shrink.NEVER, is_right=True),
    ]
    shown = rows[: limit or None]
    write_rows(
        [
            (
                name,
                f"{one.before.events:,}",
                f"{one.after.events:,}",
                bytes_text(one.before.size),
                _short_size(one.after),
                change_text(one.before.size, one.after.size),
            )
            for name, one in shown
        ],
        columns,
        "table",
        output,
    )
    if len(shown) < len(rows):
        output.write(f"{len(rows) - len(shown):,} more; --limit 0 lists all\n")


def _short_size(side: Side) -> str:
    mark = ">" if side.unknown else "~" if side.spread >= 1 else ""
    return mark + bytes_text(side.size)


def _unknown_lines(report: Report) -> Iterator[str]:
    sides = (report.total.before, report.total.after)
    if any(side.spread >= 1 for side in sides):
        yield ""
        yield "~ estimated from like events of this log; the totals give the interval (95 %)"
    by_level: dict[tuple[str, str], int] = {}
    for line in report.simulation.lines:
        if line.after.unknown:
            key = (line.shape.level.value, _wanting(line.after.decision.rule_index))
            by_level[key] = by_level.get(key, 0) + line.after.unknown
    if by_level:
        yield ""
    for (level, rule), events in sorted(by_level.items(), key=lambda item: -item[1]):
        number = counted(events, "event")
        yield f"> unknown: {number} recorded at {level}, {rule}; no like event shows what bodies weigh"
    if report.unseen:
        yield ""
        yield f"unknown: {report.names[0]} does not record these, so how many there are this log cannot say"
        yield from (f"  {one}" for one in report.unseen[:_UNSEEN_SHOWN])
        if len(report.unseen) > _UNSEEN_SHOWN:
            yield f"  and {len(report.unseen) - _UNSEEN_SHOWN} more kinds; -o json lists all"


def _wanting(index: int | None) -> str:
    return "bodies wanted" if index is None else f"bodies wanted by rules[{index}]"


# --- data


def json_of(report: Report) -> dict[str, object]:
    """Give the report as JSON knows it."""
    traffic = report.traffic
    return {
        "log": {
            "events": traffic.events,
            "bytes": traffic.size,
            "first": traffic.first,
            "last": traffic.last,
            "seconds": traffic.seconds,
        },
        "before": {"policy": report.names[0], **_side(report.total.before), **_cost_json(report.costs[0])},
        "after": {"policy": report.names[1], **_side(report.total.after), **_cost_json(report.costs[1])},
        "effects": {effect.value: report.total.effects[effect] for effect in _EFFECTS},
        "rules": [
            {"rule": rule.index, "line": rule.line, "level": rule.level, **_tally(one)}
            for rule, one in report.by_rule.items()
        ],
        "users": [{"user": user, **_tally(one)} for user, one in report.by_user.items()],
        "resources": [{"resource": resource, **_tally(one)} for resource, one in report.by_resource.items()],
        "notInLog": list(report.unseen),
        "notes": list(report.notes),
    }


def _tally(one: Tally) -> dict[str, object]:
    return {"before": _side(one.before), "after": _side(one.after)}


def _side(side: Side) -> dict[str, object]:
    return {
        "events": side.events,
        "requests": side.requests,
        "bytes": round(side.size),
        "bytesLow": round(side.low),
        "bytesHigh": None if side.unknown else round(side.high),
        "unknownEvents": side.unknown,
    }


def _cost_json(cost: Cost) -> dict[str, object]:
    return {
        "bytesPerDay": cost.bytes_a_day,
        "diskDays": cost.disk.days if cost.disk else None,
        "diskBytes": cost.disk.size if cost.disk else None,
        "postsPerSecond": cost.posts.per_s if cost.posts else None,
        "postsPerSecondBusiest": cost.busiest.per_s if cost.busiest else None,
        "webhookDropsAfterSeconds": cost.busiest.full_after_s if cost.busiest else None,
        "pricePerMonth": dict(cost.prices),
    }
