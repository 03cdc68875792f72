"""
Every `--audit-*` flag of kube-apiserver as data: name, type, default by server version, group, help, check.

`parse` reads a command line, `check` gives the refusals a server starts with, in its order and words; `rotation` says
what the flags mean for the log file. Parsers, `--help`, `apiserver check` and docs/reference/emit-flags.md read FLAGS.

Follows k8s.io/apiserver/pkg/server/options/audit.go of 1.36; 1.35 and older differ in three defaults and in what a
maxsize of 0 means. A kubeconfig that the webhook cannot use is refused elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kubewitness.emit.backends.flagvalues import FlagError, Value, read_value
from kubewitness.policy.gotext import general_float, quote
from kubewitness.policy.versions import VersionError, major_and_minor

MODES = ("batch", "blocking", "blocking-strict")
FORMATS = ("legacy", "json")
VERSION = "audit.k8s.io/v1"
MEBIBYTE = 1024 * 1024
# what lumberjack takes when it is told no size, as 1.35 and older do
_LUMBERJACK_MEBIBYTES = 100


@dataclass(frozen=True, slots=True)
class Values:
    """The values of all flags: given or default. `given` names those that were stated."""

    by_name: Mapping[str, Value]
    given: frozenset[str]
    server_version: str

    def text(self, name: str) -> str:
        """Give the value of a flag of text."""
        return str(self.by_name[name])

    def number(self, name: str) -> int:
        """Give the value of an int, or a duration in nanoseconds."""
        value = self.by_name[name]
        if not isinstance(value, int):
            raise TypeError(f"--{name} is not a whole number")
        return value

    def real(self, name: str) -> float:
        """Give the value of a float32."""
        return float(self.by_name[name])

    def is_on(self, name: str) -> bool:
        """Say whether a switch is on."""
        return self.by_name[name] is True


Check = Callable[[Values, str], str | None]


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag. `default` is as `--help` shows it; `older` holds (version, default) for servers before that version.

    Of the flags of one `group` of checks only the first that is refused is named, as in kube-apiserver.
    """

    name: str
    kind: str
    default: str
    group: str
    help: str
    check: Check | None = None
    older: tuple[str, str] | None = None
    alias: str | None = None

    def default_of(self, server_version: str) -> str:
        """Give the default of this version of the server."""
        if self.older is not None and version_key(server_version) < version_key(self.older[0]):
            return self.older[1]
        return self.default


@dataclass(frozen=True, slots=True)
class Rotation:
    """What the flags mean for the log file. `max_bytes` None: never rotated, and nothing is pruned or compressed."""

    max_bytes: int | None
    max_backups: int = 0
    max_age_days: int = 0
    is_compressed: bool = False


def version_key(server_version: str) -> tuple[int, int]:
    """Give `1.36`, `v1.36.2` or `v1.36.2+rke2r1` as (1, 36). Raises FlagError."""
    try:
        return major_and_minor(server_version)
    except VersionError as exc:
        raise FlagError(str(exc)) from exc


def _plugin(name: str) -> str:
    return "webhook" if name.startswith("audit-webhook-") else "log"


def _mode(values: Values, name: str) -> str | None:
    mode = values.text(name)
    if mode in MODES:
        return None
    return f"invalid audit {_plugin(name)} mode {mode}, allowed modes are {quote(','.join(MODES))}"


def _batch(what: str) -> Check:
    def check(values: Values, name: str) -> str | None:
        plugin = _plugin(name)
        if values.text(f"audit-{plugin}-mode") != "batch":
            return None
        if what.startswith("throttle") and not values.is_on(f"audit-{plugin}-batch-throttle-enable"):
            return None
        value = values.real(name)
        if value > 0:
            return None
        return f"invalid audit batch {plugin} {what} {general_float(value)}, must be a positive number"

    return check


def _event_size(values: Values, name: str) -> str | None:
    size = values.number(name)
    return (
        None if size > 0 else f"invalid audit truncate {_plugin(name)} max event size {size}, must be a positive number"
    )


def _batch_size(values: Values, name: str) -> str | None:
    plugin = _plugin(name)
    size, event_size = values.number(name), values.number(f"audit-{plugin}-truncate-max-event-size")
    if size >= event_size:
        return None
    return f"invalid audit truncate {plugin} max batch size {size}, must be greater than max event size ({event_size})"


def _version(values: Values, name: str) -> str | None:
    return None if values.text(name) == VERSION else f'invalid group version, allowed versions are ["{VERSION}"]'


def _format(values: Values, name: str) -> str | None:
    form = values.text(name)
    return (
        None if form in FORMATS else f"invalid audit log format {form}, allowed formats are {quote(','.join(FORMATS))}"
    )


def _not_negative(values: Values, name: str) -> str | None:
    value = values.number(name)
    return None if value >= 0 else f"--{name} {value} can't be a negative number"


def _backend(plugin: str, mode: str, max_size: int, max_wait: str, throttle: tuple[str, str, str]) -> list[Flag]:
    """Give the flags that both backends have, in the order in which they are checked."""
    prefix, batch, truncate = f"audit-{plugin}-", f"{plugin} batch", f"{plugin} truncate"
    enabled, qps, burst = throttle
    return [
        Flag(f"{prefix}mode", "string", mode, batch, "How Events are sent: batch does not hold up requests, blocking"
             " does, blocking-strict also fails a request whose RequestReceived cannot be stored.", _mode),
        Flag(f"{prefix}batch-buffer-size", "int", "10000", batch,
             "Events that may wait; more are dropped and counted. Batch mode only.", _batch("buffer size")),
        Flag(f"{prefix}batch-max-size", "int", str(max_size), batch, "Events in one batch. Batch mode only.",
             _batch("max batch size")),
        Flag(f"{prefix}batch-max-wait", "duration", max_wait, batch,
             "After this time a batch leaves though it is not full. No effect while batch-max-size is 1."),
        Flag(f"{prefix}batch-throttle-enable", "bool", enabled, batch, "Limit the rate of batches. Batch mode only."),
        Flag(f"{prefix}batch-throttle-qps", "float32", qps, batch, "Batches a second, on average.",
             _batch("throttle QPS")),
        Flag(f"{prefix}batch-throttle-burst", "int", burst, batch, "Batches at once after a quiet time.",
             _batch("throttle burst")),
        Flag(f"{prefix}truncate-enabled", "bool", "false", truncate, "Drop the bodies of Events that are too large."),
        Flag(f"{prefix}truncate-max-event-size", "int", "102400", truncate,
             "Bytes of an Event above which its bodies are dropped, and then the Event.", _event_size),
        Flag(f"{prefix}truncate-max-batch-size", "int", "10485760", truncate,
             "Bytes of a batch above which it is split.", _batch_size),
        Flag(f"{prefix}version", "string", VERSION, f"{plugin} version", "API version of the Events.", _version),
    ]  # fmt: skip


FLAGS: tuple[Flag, ...] = (
    Flag("audit-policy-file", "string", "", "policy", "Policy, read once at start; nothing is recorded without."),
    Flag("audit-log-path", "string", "", "log", "Log file; `-` is standard output, without rotation."),
    *_backend("log", "blocking", 1, "0s", ("false", "0", "0")),
    Flag("audit-log-format", "string", "json", "log format", "json: objects, legacy: text, one a line.", _format),
    Flag("audit-log-maxage", "int", "366", "log maxage", "Days a rotated file is kept, by its name; 0: for ever.",
         _not_negative, ("1.36", "0")),
    Flag("audit-log-maxbackup", "int", "100", "log maxbackup", "Rotated files kept; 0: all.",
         _not_negative, ("1.36", "0")),
    Flag("audit-log-maxsize", "int", "100", "log maxsize", "MiB of the file before it is rotated; 0: never rotated"
         " (before 1.36: 100).", _not_negative, ("1.36", "0")),
    Flag("audit-log-compress", "bool", "false", "log", "Compress rotated files with gzip."),
    Flag("audit-webhook-config-file", "string", "", "webhook", "kubeconfig of the receiver; switches the webhook on."),
    Flag("audit-webhook-initial-backoff", "duration", "10s", "webhook", "Pause before the first retry.",
         alias="audit-webhook-batch-initial-backoff"),
    *_backend("webhook", "batch", 400, "30s", ("true", "10", "15")),
)  # fmt: skip
"""The flags, those of each backend in the order in which kube-apiserver checks them."""


def _positive(values: Values, name: str) -> str | None:
    value = values.number(name)
    return None if value > 0 else f"--{name} {value} must be a positive number"


EXTENSIONS: tuple[Flag, ...] = (
    Flag("audit-webhook-spool-dir", "string", "", "webhook spool", "Folder in which Events wait on disk until the"
         " receiver has them, through outages and restarts; empty: they are dropped after five attempts."),
    Flag("audit-webhook-spool-max-size", "int", "1024", "webhook spool", "MiB that may wait in the spool; what does"
         " not fit is refused and counted.", _positive),
    Flag("audit-policy-reload-interval", "duration", "0s", "policy", "Look this often whether the policy file changed,"
         " and go by the new one; each change is an Event. 0: never."),
)  # fmt: skip
"""Flags that kube-apiserver lacks, and would refuse."""

BY_NAME = {name: flag for flag in (*FLAGS, *EXTENSIONS) for name in (flag.name, flag.alias) if name is not None}
SWITCHES = {"log": "audit-log-path", "webhook": "audit-webhook-config-file"}
"""The flag that switches each backend on."""


def parse(arguments: Sequence[str], server_version: str = "1.36") -> Values:
    """Read the `--audit-*` flags of a command line; others are passed over. Raises FlagError in pflag's words."""
    taken: dict[str, Value] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, text = argument.removeprefix("--").partition("=")
        name = name.replace("_", "-")
        if not argument.startswith("--audit") or not name.startswith("audit-"):
            continue
        flag = BY_NAME.get(name)
        if flag is None:
            raise FlagError(f"unknown flag: --{name}")
        if not equals and flag.kind == "bool":
            text = "true"
        elif not equals:
            following = next(rest, None)
            if following is None:
                raise FlagError(f"flag needs an argument: --{name}")
            text = following
        try:
            taken[flag.name] = read_value(flag.kind, text)
        except ValueError as exc:
            raise FlagError(f'invalid argument {quote(text)} for "--{name}" flag: {exc}') from exc
    defaults = {flag.name: read_value(flag.kind, flag.default_of(server_version)) for flag in (*FLAGS, *EXTENSIONS)}
    return Values({**defaults, **taken}, frozenset(taken), server_version)


def check(values: Values) -> list[str]:
    """Give what the server would refuse. A backend that is off is not checked."""
    refusals: list[str] = []
    refused_groups: set[str] = set()
    for flag in (*FLAGS, *EXTENSIONS):
        plugin = flag.group.partition(" ")[0]
        if flag.check is None or flag.group in refused_groups or not values.text(SWITCHES[plugin]):
            continue
        refusal = flag.check(values, flag.name)
        if refusal is not None:
            refusals.append(refusal)
            refused_groups.add(flag.group)
    return refusals


def rotation(values: Values) -> Rotation:
    """Give what the flags mean for the log file."""
    mebibytes = values.number("audit-log-maxsize")
    if not mebibytes:
        if version_key(values.server_version) >= (1, 36):
            return Rotation(None)
        mebibytes = _LUMBERJACK_MEBIBYTES
    return Rotation(
        mebibytes * MEBIBYTE,
        values.number("audit-log-maxbackup"),
        values.number("audit-log-maxage"),
        values.is_on("audit-log-compress"),
    )


def reference() -> str:
    """Write the table of docs/reference/emit-flags.md."""
    return _table(FLAGS)


def extensions() -> str:
    """Write the table of the flags that kube-apiserver lacks."""
    return _table(EXTENSIONS)


def _table(flags: Sequence[Flag]) -> str:
    rows = ["| flag | type | default | before 1.36 | meaning |", "|---|---|---|---|---|"]
    for flag in flags:
        older = "" if flag.older is None else f"`{flag.older[1]}`"
        default = f"`{flag.default}`" if flag.default else ""
        rows.append(f"| `--{flag.name}` | {flag.kind} | {default} | {older} | {flag.help} |")
    return "\n".join(rows)
