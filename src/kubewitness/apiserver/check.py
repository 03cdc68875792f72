"""
Everything there is to say of how a kube-apiserver is set up for auditing: what it refuses, what loses evidence, what is
risky, what a profile wants, and the figures.

    report = check(data, "kube-apiserver.yaml", Question(files=Unknown()))
    report.findings      each with code, severity, file, line, and the line to paste
    report.notes         what the log spans and costs, and what was not looked at

The policy's own findings are among them, under their own codes. Raises EditError for what is not understood.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from kubewitness.apiserver import (
    checks_files,
    checks_flags,
    checks_mounts,
    checks_profiles,
    checks_sizing,
    kubeconfig,
)
from kubewitness.apiserver.context import Context, HostFiles, Rate
from kubewitness.apiserver.findings import CODES, SetupFinding
from kubewitness.apiserver.readers import read_setup
from kubewitness.apiserver.setup import Form, Setup, uid_of
from kubewitness.apiserver.yamltext import EditError
from kubewitness.emit.backends import options
from kubewitness.emit.backends.flagvalues import FlagError
from kubewitness.policy.check import Report as PolicyReport
from kubewitness.policy.check import check as check_policy
from kubewitness.policy.findings import Mode, Profile, Severity

_CHECKS = (
    *checks_flags.CHECKS,
    *checks_mounts.CHECKS,
    *checks_files.CHECKS,
    *checks_sizing.CHECKS,
    *checks_profiles.CHECKS,
)


_CONFLICT = "KW512"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked beside the setup. `policy`: its text where the setup only names it; `policy_file`: from where.

    `host_file`: where the file lies on its host, when it was read under another name.
    """

    files: HostFiles
    policy: bytes | None = None
    policy_file: str = ""
    server_version: str = ""
    profile: str = "default"
    rate: Rate | None = None
    now: datetime | None = None
    host_file: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one setup."""

    setup: Setup
    findings: tuple[SetupFinding, ...]
    notes: tuple[str, ...]
    server_version: str

    def at_least(self, severity: Severity) -> bool:
        """Say whether anything is as bad as this."""
        return any(finding.severity.rank <= severity.rank for finding in self.findings)

    @property
    def starts(self) -> bool:
        """Whether nothing was found that keeps the server from starting."""
        return not self.at_least(Severity.REFUSED)


def check(data: bytes, file: str, question: Question) -> Report:
    """Check one description of a server. Raises EditError."""
    setup = read_setup(data, file)
    version = question.server_version or setup.version or "1.36"
    unreadable = list(_unreadable(setup, version))
    if unreadable:
        return Report(setup, tuple(unreadable), ("the other flags were not judged",), version)
    values = options.parse(setup.arguments(), version)
    policy, policy_file, found = _policy(setup, values, question, version)
    context = Context(
        setup,
        values,
        question.files,
        policy,
        policy_file,
        question.profile,
        question.rate,
        question.now or datetime.now(UTC),
        question.host_file or file,
    )
    findings = [finding for one in _CHECKS for finding in one(context)]
    findings += [*found, *_policy_findings(context), *_webhook(context), *_user(context)]
    findings.sort(key=lambda one: (one.file != file, one.file, one.line, one.column, one.code, one.message))
    notes = [*setup.notes, *checks_sizing.notes(context), *checks_profiles.notes(context), *_not_seen(context)]
    return Report(setup, tuple(findings), tuple(notes), version)


def _unreadable(setup: Setup, version: str) -> Iterator[SetupFinding]:
    """Find flags that the server's command line refuses, one by one, so that each has its line."""
    for flag in setup.flags:
        if not flag.name.startswith("audit-"):
            continue
        code = "KW602" if flag.name in options.BY_NAME else "KW601"
        try:
            options.parse([flag.argument()], version)
        except FlagError as exc:
            known = options.BY_NAME.get(flag.name) or _near(flag.name)
            paste = setup.form.paste(known.name, known.default_of(version) or "...") if known else ""
            yield SetupFinding(
                code, CODES[code].severity, setup.file, flag.line, flag.column, str(exc), _meant(flag.name), paste
            )


def _near(name: str) -> options.Flag | None:
    import difflib

    near = difflib.get_close_matches(name, options.BY_NAME, n=1)
    return options.BY_NAME[near[0]] if near else None


def _meant(name: str) -> str:
    near = _near(name)
    return "" if name in options.BY_NAME or near is None else f"did you mean --{near.name}?"


def _policy(
    setup: Setup, values: options.Values, question: Question, version: str
) -> tuple[PolicyReport | None, str, list[SetupFinding]]:
    """Find the policy: handed in, inside the configuration, or on the host."""
    path = values.text("audit-policy-file")
    text, file = question.policy, question.policy_file
    if text is None and setup.inline_policy:
        text, file = setup.inline_policy.encode(), setup.file
    elif text is None and path and question.files.is_known:
        host = setup.host_path(path) or path
        text, file = question.files.read(host), host
        is_elsewhere = setup.form in (Form.TALOS, Form.MINIKUBE) or question.files.is_hidden(host)
        if text is None and not is_elsewhere:
            line, column = setup.place("audit-policy-file")
            message = f'loading audit policy file: failed to read file path "{path}": there is no file {host}'
            finding = SetupFinding(
                "KW604", Severity.REFUSED, setup.file, line, column, message, "write one, then start"
            )
            return None, file, [finding]
    if text is None:
        return None, file, []
    modes = [values.text(f"audit-{plugin}-mode") for plugin in ("log", "webhook")]
    mode = Mode.BLOCKING_STRICT if Mode.BLOCKING_STRICT.value in modes else Mode.BATCH
    return check_policy(text, _two(version), Profile(question.profile), mode), file, []


def _two(version: str) -> str:
    """Give the version whose policy rules hold: the reader knows 1.35 for all before 1.36."""
    return "1.36" if options.version_key(version) >= (1, 36) else "1.35"


def _policy_findings(context: Context) -> Iterator[SetupFinding]:
    if context.policy is None:
        return
    is_inline = bool(context.setup.inline_policy) and context.policy_file == context.setup.file
    for one in context.policy.findings:
        if one.severity is Severity.NOTE or one.code == _CONFLICT:  # `policy check --show note` and our own note say it
            continue
        line = context.setup.inline_policy_line if is_inline else one.line
        where = f"{one.path}: " if one.path else ""
        yield SetupFinding(one.code, one.severity, context.policy_file, line, one.column, where + one.message, one.help)
    if not context.policy.accepted:
        message = f"loading audit policy file: {context.policy.server_error}: the server does not start"
        yield context.finding("KW604", context.setup.place("audit-policy-file"), message)


def _webhook(context: Context) -> Iterator[SetupFinding]:
    path = context.values.text("audit-webhook-config-file")
    if not path or not context.files.is_known:
        return
    host = context.setup.host_path(path)
    data = context.files.read(host) if host else None
    place = context.setup.place("audit-webhook-config-file")
    if data is None or host is None:
        if host is not None and context.setup.form is not Form.MINIKUBE and not context.files.is_hidden(host):
            message = f"initializing audit webhook: stat {path}: no such file or directory"
            yield context.finding("KW617", place, message)
        return
    try:
        config = kubeconfig.read(data)
    except EditError as exc:
        message = f"initializing audit webhook: invalid configuration: {exc}"
        yield context.finding("KW617", exc.line, message, file=host)
        return

    def read_file(name: str) -> bytes | None:
        seen = context.setup.host_path(name)
        if seen is not None and context.files.is_hidden(seen):
            raise PermissionError(seen)
        return None if seen is None else context.files.read(seen)

    dns = context.setup.uses_cluster_dns or not context.setup.is_host_network
    for problem in kubeconfig.problems(config, read_file, context.now, uses_cluster_dns=dns):
        yield context.finding(problem.code, problem.line, problem.message, paste=problem.help, file=host)


def _user(context: Context) -> Iterator[SetupFinding]:
    """Look whether a server that is not root may read and write what it must."""
    uid = context.setup.run_as
    if context.setup.form is Form.K0S:
        uid = uid_of(context.files.read("/etc/passwd"), "kube-apiserver")
    if uid is None or uid == 0 or not context.files.is_known:
        return
    for name, needed in (("audit-policy-file", 4), ("audit-log-path", 2), ("audit-webhook-config-file", 4)):
        path = context.values.text(name)
        host = context.setup.host_path(path) if path and path != "-" else None
        if host is None:
            continue
        target = host.rpartition("/")[0] if name == "audit-log-path" else host
        facts = context.files.facts(target)
        if facts is None:
            continue
        bits = facts.mode >> 6 if facts.uid == uid else facts.mode
        if not bits & needed:
            verb = "read" if needed == 4 else "write to"
            message = (
                f"the server runs as user {uid}, who cannot {verb} {target} (mode {facts.mode:04o}, owner {facts.uid})"
            )
            yield context.finding("KW628", context.setup.place(name), message, paste=f"chown {uid} {target}")


def _not_seen(context: Context) -> Iterator[str]:
    if not context.files.is_known:
        yield "files of the host were not looked at: policy, permissions, webhook kubeconfig (--root /, --policy FILE)"
    elif context.policy is None and context.values.text("audit-policy-file"):
        yield "the policy could not be read, so it was not judged (as root, or --policy FILE)"
    if context.has_webhook:
        yield "redirects are followed as GET and count as delivered: the receiver must never answer 301, 302 or 303"
