"""What the audit flags themselves say: refused values, backends that are off, modes, rotation, flags without effect."""

from collections.abc import Iterator

from kubewitness.apiserver.context import Context
from kubewitness.apiserver.distros import DISTROS
from kubewitness.apiserver.findings import SetupFinding
from kubewitness.apiserver.setup import Form
from kubewitness.emit.backends import options

# Attempts of the webhook, and the growth of its pauses: 5 in all, 1.5 times each, stretched by up to a fifth.
_PAUSES = 1 + 1.5 + 1.5**2 + 1.5**3
_NS = 1_000_000_000
_SAFE_BACKOFF_S = 10
# A request body of 3 MiB (etcd takes 1.5 MiB, lists are larger) once in the request and once in the response.
_LARGEST_EVENT_MIB = 8


def refusals(context: Context) -> Iterator[SetupFinding]:
    """Give what the server says at start, at the flag that it is about."""
    for text in options.check(context.values):
        name = next((flag.name for flag in options.FLAGS if _is_about(text, flag, context)), "audit-log-path")
        flag = options.BY_NAME[name]
        yield context.flag("KW603", name, text, flag.default_of(context.values.server_version))


def _is_about(text: str, flag: options.Flag, context: Context) -> bool:
    return flag.check is not None and flag.check(context.values, flag.name) == text


def backends(context: Context) -> Iterator[SetupFinding]:
    """Look whether anything is recorded and goes anywhere."""
    if not context.values.text("audit-policy-file"):
        message = "--audit-policy-file is not set: no event is recorded, whatever else is set"
        yield context.flag("KW620", "audit-policy-file", message, _usual(context)[0])
    if not context.has_log and not context.has_webhook:
        message = "neither --audit-log-path nor --audit-webhook-config-file is set: events go nowhere"
        yield context.flag("KW621", "audit-log-path", message, _usual(context)[1])


def _usual(context: Context) -> tuple[str, str]:
    """Give the places of policy and log that the distribution of this form documents."""
    match context.setup.form:
        case Form.KIND:
            return "/etc/kubernetes/audit/policy.yaml", "/var/log/kubernetes/audit/audit.log"
        case Form.RANCHER:
            distro = DISTROS["rke2" if context.setup.implied else "k3s"]
        case Form.K0S:
            distro = DISTROS["k0s"]
        case Form.ARGS:
            distro = DISTROS["microk8s"]
        case Form.MINIKUBE:
            return "/etc/ssl/certs/audit-policy.yaml", "-"
        case _:
            distro = DISTROS["kubeadm"]
    return distro.policy, distro.log


def repeated(context: Context) -> Iterator[SetupFinding]:
    """Look for flags that are given twice."""
    last: dict[str, int] = {}
    for flag in context.setup.flags:
        known = options.BY_NAME.get(flag.name)
        if known is None:
            continue
        if known.name in last:
            message = f"--{known.name} is given in line {last[known.name]} already: only this value holds"
            yield context.finding("KW637", (flag.line, flag.column), message, "take the other one away")
        last[known.name] = flag.line


def without_effect(context: Context) -> Iterator[SetupFinding]:
    """Look for flags that change nothing as the rest stands."""
    for name in sorted(context.values.given):
        why = _idle(context, name)
        if why:
            yield context.flag(
                "KW636", name, f"--{name} has no effect: {why}", help_="take it away, or set what it needs"
            )


def _idle(context: Context, name: str) -> str:
    values = context.values
    plugin = "webhook" if name.startswith("audit-webhook-") else "log" if name.startswith("audit-log-") else ""
    if not plugin or name in ("audit-log-path", "audit-webhook-config-file"):
        return ""
    if not (context.has_log if plugin == "log" else context.has_webhook):
        return f"the {plugin} backend is off"
    prefix = f"audit-{plugin}-"
    if name.startswith(f"{prefix}batch-") and values.text(f"{prefix}mode") != "batch":
        return f"--{prefix}mode is {values.text(f'{prefix}mode')}"
    is_throttle = name.endswith(("throttle-qps", "throttle-burst"))
    if is_throttle and not values.is_on(f"{prefix}batch-throttle-enable"):
        return f"--{prefix}batch-throttle-enable is off"
    if name.startswith(f"{prefix}truncate-max") and not values.is_on(f"{prefix}truncate-enabled"):
        return f"--{prefix}truncate-enabled is off"
    if name in ("audit-log-maxage", "audit-log-maxbackup", "audit-log-maxsize", "audit-log-compress"):
        if values.text("audit-log-path") == "-":
            return "the log goes to standard output"
        if name != "audit-log-maxsize" and options.rotation(values).max_bytes is None:
            return "--audit-log-maxsize=0 turns rotation off"
    return ""


def dropped(context: Context) -> Iterator[SetupFinding]:
    """Look for flags that Talos takes in its configuration and does not hand to the server."""
    if context.setup.form is not Form.TALOS:
        return
    for flag in context.setup.flags:
        if flag.name in options.BY_NAME:
            message = f"Talos drops --{flag.name} without a word and keeps its own value (seen in Talos 1.12)"
            help_ = "see what it runs with: talosctl get staticpod kube-apiserver -o yaml"
            yield context.finding("KW636", (flag.line, flag.column), message, help_)


def rotation(context: Context) -> Iterator[SetupFinding]:
    """Look whether the log can grow for ever, and whether an event can be too large for it."""
    if not context.log_file:
        return
    found = options.rotation(context.values)
    if found.max_bytes is None:
        yield context.flag(
            "KW634", "audit-log-maxsize", "the log is never rotated and grows until the disk is full", "100"
        )
        return
    if not found.max_backups and not found.max_age_days:
        message = "rotated files are kept for ever: the disk fills"
        yield context.flag("KW634", "audit-log-maxbackup", message, "10")
    truncates = context.values.is_on("audit-log-truncate-enabled")
    mebibytes = found.max_bytes // options.MEBIBYTE
    if mebibytes < _LARGEST_EVENT_MIB and not truncates:
        message = f"an event larger than {mebibytes} MiB is lost, with only a line in the server's own log"
        yield context.flag("KW651", "audit-log-maxsize", message, "100")


def modes(context: Context) -> Iterator[SetupFinding]:
    """Look at what a mode costs, and at truncation."""
    values = context.values
    for plugin, is_on in (("log", context.has_log), ("webhook", context.has_webhook)):
        name = f"audit-{plugin}-mode"
        mode = values.text(name)
        if not is_on:
            continue
        if plugin == "webhook" and mode in ("blocking", "blocking-strict"):
            message = f"{mode}: every request waits for the receiver; when it is away, up to 90 s a stage"
            yield context.flag("KW656", name, message, "batch")
        if plugin == "log" and mode == "blocking-strict":
            message = "blocking-strict: when the log cannot be written, every request is answered with 500"
            yield context.flag("KW657", name, message, "blocking", "keep it if no event may be lost at any price")
        if values.is_on(f"audit-{plugin}-truncate-enabled"):
            size = values.number(f"audit-{plugin}-truncate-max-event-size")
            message = f"events above {size:,} bytes lose both bodies, and what is still too large is dropped"
            help_ = "needed only for a receiver with a limit"
            yield context.flag("KW650", f"audit-{plugin}-truncate-enabled", message, "false", help_)
    if context.has_log and values.text("audit-log-format") == "legacy":
        message = "legacy: a line of text without levels, bodies, annotations and object names"
        yield context.flag("KW659", "audit-log-format", message, "json")


def backoff(context: Context) -> Iterator[SetupFinding]:
    """Compute which outage of the receiver is survived."""
    if not context.has_webhook:
        return
    initial_s = context.values.number("audit-webhook-initial-backoff") / _NS
    if initial_s < _SAFE_BACKOFF_S:
        survived = initial_s * _PAUSES
        message = f"the receiver may be away for {survived:.0f} s: a batch is tried 5 times, then dropped for good"
        yield context.flag("KW658", "audit-webhook-initial-backoff", message, "30s", "30s survives some 4 minutes")


CHECKS = (refusals, backends, dropped, repeated, without_effect, rotation, modes, backoff)
