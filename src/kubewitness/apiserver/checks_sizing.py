"""
The arithmetic: how long the log spans, how much disk it takes, whether the throttle lets the rate through.

`checks` find what is too small for a known rate; `notes` say the figures, whatever they are.
"""

import math
from collections.abc import Iterator

from kubewitness.apiserver.context import Context
from kubewitness.apiserver.findings import SetupFinding
from kubewitness.apiserver.setup import directory_of
from kubewitness.emit.backends import options
from kubewitness.event.types import Level
from kubewitness.policy.evaluate import evaluate
from kubewitness.policy.types import Attributes

_DAY_S = 86_400
_MEBIBYTE = options.MEBIBYTE
# A throttle that is as fast as the mean falls behind whenever the rate is above it.
_HEADROOM = 2.0
_LISTS = ("pods", "configmaps", "secrets", "endpoints")


def span(context: Context) -> Iterator[SetupFinding]:
    """Look whether the files hold what maxage promises, and whether the disk holds the files."""
    found = options.rotation(context.values)
    if not context.log_file or found.max_bytes is None:
        return
    files = found.max_backups + 1 if found.max_backups else None
    host = context.setup.host_path(context.log_file)
    if files is not None and host and context.files.is_known and not found.is_compressed:
        free = context.files.free_bytes(directory_of(host))
        if free is not None and free < files * found.max_bytes:
            message = f"the log may take {_size(files * found.max_bytes)}, and {_size(free)} are free"
            yield context.flag("KW634", "audit-log-maxbackup", message, str(max(1, free // found.max_bytes - 2)))
    if context.rate is None or files is None or not context.rate.bytes_per_s:
        return
    holds_s = files * found.max_bytes / context.rate.bytes_per_s
    if found.max_age_days and holds_s < found.max_age_days * _DAY_S:
        needed = math.ceil(found.max_age_days * _DAY_S * context.rate.bytes_per_s / found.max_bytes)
        message = (
            f"{files} files of {found.max_bytes // _MEBIBYTE} MiB hold {duration(holds_s)} at {_rate(context)},"
            f" not the {found.max_age_days} days of --audit-log-maxage"
        )
        help_ = f"{_size(needed * found.max_bytes)} of disk, or send events away with the webhook"
        yield context.flag("KW660", "audit-log-maxbackup", message, str(needed), help_)


def throttle(context: Context) -> Iterator[SetupFinding]:
    """Look whether batches leave as fast as events come."""
    if context.rate is None:
        return
    for plugin, is_on in (("log", context.has_log), ("webhook", context.has_webhook)):
        prefix = f"audit-{plugin}-batch-"
        values = context.values
        if not is_on or values.text(f"audit-{plugin}-mode") != "batch" or not values.is_on(f"{prefix}throttle-enable"):
            continue
        each, qps = values.number(f"{prefix}max-size"), values.real(f"{prefix}throttle-qps")
        rate = context.rate.peak_per_s
        if qps * each >= rate:
            continue
        needed = math.ceil(rate * _HEADROOM / each)
        buffer = values.number(f"{prefix}buffer-size")
        message = (
            f"{qps:g} batches a second of at most {each} events are {qps * each:,.0f} events a second; at {rate:,.0f}"
            f" the buffer of {buffer:,} is full after {duration(buffer / (rate - qps * each))}, then events are dropped"
        )
        yield context.flag("KW635", f"{prefix}throttle-qps", message, str(needed))


def lists(context: Context) -> Iterator[SetupFinding]:
    """Look whether whole lists are held in memory a second time to be logged."""
    policy = context.policy.document.policy if context.policy is not None else None
    if policy is None:
        return
    heavy = []
    for resource in _LISTS:
        request = Attributes("list", "someone", ("system:authenticated",), resource=resource, resource_request=True,
                             api_version="v1", path=f"/api/v1/{resource}")  # fmt: skip
        if evaluate(policy, request).level is Level.REQUEST_RESPONSE:
            heavy.append(resource)
    if heavy:
        message = (
            f"whole lists are recorded ({', '.join(heavy)} and perhaps more): the server holds each in memory and"
            " encodes it a second time"
        )
        paste = "- level: Metadata\n  verbs: [get, list, watch]"
        yield context.finding(
            "KW662", 1, message, "put it above the rule that records them", paste, context.policy_file
        )


def notes(context: Context) -> Iterator[str]:
    """Say what the log costs and spans."""
    found = options.rotation(context.values)
    if context.log_file and found.max_bytes is not None and found.max_backups:
        most = (found.max_backups + 1) * found.max_bytes
        text = f"log: at most {found.max_backups + 1} files of {found.max_bytes // _MEBIBYTE} MiB, {_size(most)} in all"
        if context.rate is not None and context.rate.bytes_per_s:
            text += f"; at {_rate(context)} that is {duration(most / context.rate.bytes_per_s)}"
        yield text
    elif context.log_file:
        yield "log: no limit on the number of files"
    if context.rate is None and (context.has_log or context.has_webhook):
        yield "rate: not known, so neither span nor throttle were judged (--rate N, or --measure LOG)"
    if context.has_webhook and context.values.text("audit-webhook-mode") == "batch":
        yield from _webhook_notes(context)


def _webhook_notes(context: Context) -> Iterator[str]:
    values = context.values
    each, qps = values.number("audit-webhook-batch-max-size"), values.real("audit-webhook-batch-throttle-qps")
    if values.is_on("audit-webhook-batch-throttle-enable"):
        yield f"webhook: at most {qps:g} batches a second of {each} events, {qps * each:,.0f} events a second"
    initial_s = values.number("audit-webhook-initial-backoff") / 1e9
    pauses = initial_s * (1 + 1.5 + 1.5**2 + 1.5**3)
    yield f"webhook: an outage of {duration(pauses)} is survived; what a longer one holds back is lost"


def _rate(context: Context) -> str:
    if context.rate is None:
        raise ValueError("no rate")
    how = "measured" if context.rate.is_measured else "given"
    return f"{context.rate.events_per_s:,.0f} events/s of {context.rate.event_bytes:,.0f} bytes ({how})"


def duration(seconds: float) -> str:
    """Write a time as a person says it."""
    for unit, name in ((_DAY_S, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.0f} {name}"
    return f"{seconds:.0f} s"


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


CHECKS = (span, throttle, lists)
