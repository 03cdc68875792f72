"""
A simulation as one HTML page: no script, nothing loaded, bars as inline SVG.

Names come from logs and policies, so every text is made printable first and escaped after; the page forbids itself
scripts and connections besides.
"""

import html
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kubewitness.cli.policy_simulation import Report, size_text
from kubewitness.cli.policy_traffic import bytes_text, change_text
from kubewitness.cli.render.printable import printable
from kubewitness.cli.render.values import rfc3339
from kubewitness.policy.workshop.tally import Tally

if TYPE_CHECKING:
    from kubewitness.policy.workshop.costs import Posts

_BARS = 20
_WIDTH, _LABEL, _BAR, _ROW = 900, 320, 420, 34
_STYLE = """
:root { color-scheme: light dark; --old: #9aa5b1; --new: #2f6fb0; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; } svg text { font: 13px system-ui, sans-serif; fill: currentColor; }
.old { fill: var(--old); } .new { fill: var(--new); } .range { stroke: currentColor; stroke-width: 2; }
.note { border-left: 4px solid #d08700; padding: .3rem .8rem; margin: .5rem 0; overflow-wrap: anywhere; }
.key { display: inline-block; width: .9em; height: .9em; margin: 0 .3em 0 1em; vertical-align: -.1em; }
"""


def page(report: Report) -> str:
    """Write the whole page."""
    return "".join(f"{line}\n" for line in _lines(report))


def escaped(text: object) -> str:
    """Make a text harmless in HTML and in attributes: no control characters, no markup."""
    return html.escape(printable(str(text)), quote=True)


def _lines(report: Report) -> Iterator[str]:
    old, new = map(escaped, report.names)
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{new} simulated</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{new} instead of {old}</h1>"
    traffic = report.traffic
    if traffic.first is not None and traffic.last is not None:
        first, last = (rfc3339(moment, timespec="seconds") for moment in (traffic.first, traffic.last))
        yield f"<p>{traffic.events:,} events, {bytes_text(traffic.size)}, {first} to {last}</p>"
    for note in report.notes:
        yield f'<p class="note">{escaped(note)}</p>'
    yield from _totals(report)
    yield f'<p><span class="key" style="background:var(--old)"></span>{old}'
    yield f'<span class="key" style="background:var(--new)"></span>{new}</p>'
    rules = [
        (f"rules[{rule.index}] line {rule.line} {rule.level}" if rule.index is not None else "no rule", one)
        for rule, one in report.by_rule.items()
    ]
    users = [("(authentication failed)" if user is None else user, one) for user, one in report.by_user.items()]
    for title, rows in (("rule", rules), ("resource", list(report.by_resource.items())), ("user", users)):
        yield f"<h2>Bytes by {title}, before and after</h2>"
        yield from _bars(rows[:_BARS])
        if len(rows) > _BARS:
            yield f"<p>{len(rows) - _BARS:,} more, lighter than these.</p>"
        yield f"<details><summary>Numbers by {title}</summary>"
        yield from _table(title, rows)
        yield "</details>"
    yield from _unseen(report)
    yield "</body></html>"


def _totals(report: Report) -> Iterator[str]:
    old, new = report.total.before, report.total.after
    cost_old, cost_new = report.costs
    yield "<table><thead><tr><th></th><th>before</th><th>after</th><th>change</th></tr></thead><tbody>"
    rows = [
        ("events", f"{old.events:,}", f"{new.events:,}", change_text(old.events, new.events)),
        ("requests", f"{old.requests:,}", f"{new.requests:,}", change_text(old.requests, new.requests)),
        ("bytes", size_text(old), size_text(new), change_text(old.size, new.size)),
    ]
    if cost_old.bytes_a_day is not None and cost_new.bytes_a_day is not None:
        rows.append(("a day", bytes_text(cost_old.bytes_a_day), bytes_text(cost_new.bytes_a_day), ""))
        rows.append(("webhook POSTs/s", _posts(cost_old.posts), _posts(cost_new.posts), ""))
        for price in report.prices:
            before, after = cost_old.prices[price.name], cost_new.prices[price.name]
            money = [f"{amount:,.2f} {price.currency}" for amount in (before, after)]
            rows.append((f"{price.name}, a month", money[0], money[1], change_text(before, after)))
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escaped(text)}</td>" for text in row) + "</tr>"
    yield "</tbody></table>"


def _posts(posts: "Posts | None") -> str:
    return "-" if posts is None else f"{posts.per_s:.2f} ({posts.of_throttle:.0%} of the throttle)"


def _bars(rows: Sequence[tuple[str, Tally]]) -> Iterator[str]:
    most = max((max(one.before.size, one.after.high) for _, one in rows), default=0) or 1
    height = _ROW * len(rows) + 4
    yield f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="bars of bytes before and after">'
    for index, (name, one) in enumerate(rows):
        top = index * _ROW + 4
        label = printable(name)
        shown = label if len(label) <= 46 else f"{label[:22]}…{label[-22:]}"
        yield f"<g><title>{html.escape(label)}: {bytes_text(one.before.size)} to {bytes_text(one.after.size)}</title>"
        yield f'<text x="{_LABEL - 8}" y="{top + 19}" text-anchor="end">{html.escape(shown)}</text>'
        for offset, side, style in ((0, one.before, "old"), (13, one.after, "new")):
            width = _BAR * side.size / most
            yield f'<rect class="{style}" x="{_LABEL}" y="{top + offset}" width="{width:.1f}" height="12"/>'
        if one.after.spread >= 1:
            low, high = (_LABEL + _BAR * size / most for size in (one.after.low, one.after.high))
            yield f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="{top + 19}" y2="{top + 19}"/>'
        text = f"{bytes_text(one.before.size)} → {'≥ ' if one.after.unknown else ''}{bytes_text(one.after.size)}"
        yield f'<text x="{_LABEL + _BAR + 10}" y="{top + 19}">{html.escape(text)}</text></g>'
    yield "</svg>"


def _table(title: str, rows: Sequence[tuple[str, Tally]]) -> Iterator[str]:
    heads = (title, "events", "now", "bytes", "now", "change")
    yield "<table><thead><tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr></thead><tbody>"
    for name, one in rows:
        cells = (
            name,
            f"{one.before.events:,}",
            f"{one.after.events:,}",
            size_text(one.before),
            size_text(one.after),
            change_text(one.before.size, one.after.size),
        )
        yield "<tr>" + "".join(f"<td>{escaped(text)}</td>" for text in cells) + "</tr>"
    yield "</tbody></table>"


def _unseen(report: Report) -> Iterator[str]:
    unknown = report.total.after.unknown
    if unknown:
        yield f'<p class="note">Unknown: {unknown:,} events whose bodies no like event of this log tells of.</p>'
    if report.unseen:
        yield f"<h2>Not in this log, as {escaped(report.names[0])} does not record it</h2><ul>"
        yield from (f"<li>{escaped(one)}</li>" for one in report.unseen)
        yield "</ul>"
