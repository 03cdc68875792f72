"""
What CIS (Kubernetes Benchmark 1.10, with the numbers of kube-bench) and DISA STIG ask of a setup, by number.

What they ask of the policy is held against the policy itself (policy.check, KW5xx). Where both ask for opposite things
it is said, and which of the two a setup can meet.
"""

from collections.abc import Iterator

from kubewitness.apiserver.context import Context
from kubewitness.apiserver.findings import SetupFinding
from kubewitness.emit.backends import options

CONFLICT = (
    "CIS 3.2.2 and STIG V-242403 contradict each other: the STIG wants RequestResponse for everything, CIS no body of"
    " Secrets, ConfigMaps and TokenReviews. No policy meets both. Keep the bodies out (CIS), or record everything and"
    " let the receiver seal or drop secrets before they reach a disk, and document the deviation."
)
_NEEDS = (
    ("KW681", "audit-log-maxage", 30, "days a rotated file is kept", "CIS 1.2.17, STIG V-242464"),
    ("KW682", "audit-log-maxbackup", 10, "rotated files kept", "CIS 1.2.18, STIG V-242463"),
    ("KW683", "audit-log-maxsize", 100, "MiB of a file", "CIS 1.2.19, STIG V-242462"),
)


def controls(context: Context) -> Iterator[SetupFinding]:
    """Look at what the chosen profile asks for."""
    if context.profile not in ("cis", "stig"):
        return
    if not context.has_log:
        message = "--audit-log-path is not set (CIS 1.2.16, STIG V-242465)"
        yield context.flag("KW680", "audit-log-path", message, "/var/log/kubernetes/audit/audit.log")
    if not context.values.text("audit-policy-file"):
        message = "--audit-policy-file is not set (CIS 3.2.1, STIG V-242461)"
        yield context.flag("KW684", "audit-policy-file", message, "/etc/kubernetes/audit-policy.yaml")
    for code, name, least, what, numbers in _NEEDS:
        value = context.values.number(name)
        is_stated = name in context.values.given
        is_enough = value >= least or (value == 0 and name != "audit-log-maxsize" and is_stated)
        if not is_enough or not is_stated:
            why = f"is {value}" if is_stated else "is not set, and an auditor does not count defaults"
            message = f"--{name} ({what}) {why}: at least {least} are asked for ({numbers})"
            yield context.flag(code, name, message, str(least))


def notes(context: Context) -> Iterator[str]:
    """Name the conflict of the two, whichever was asked for, and the trap in the numbers."""
    if context.profile not in ("cis", "stig"):
        return
    yield CONFLICT
    if context.rate is None and context.log_file and options.rotation(context.values).max_backups:
        yield "maxage is a promise that maxbackup x maxsize may not keep: 10 files of 100 MiB can be hours (--rate)"


CHECKS = (controls,)
