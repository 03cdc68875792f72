"""
What CIS (Kubernetes Benchmark 1.10, with the numbers of kube-bench) and DISA STIG ask of a setup, by number.

A file that exists is not a control that is met: the policy is proved, not looked for. Where both ask for opposite
things it is said, and which of the two a setup can meet.
"""

from collections.abc import Iterator

from kubewitness.apiserver.context import Context
from kubewitness.apiserver.findings import SetupFinding
from kubewitness.emit.backends import options
from kubewitness.policy.prove.answer import TooHardError
from kubewitness.policy.prove.claims import parse_claims, prove
from kubewitness.policy.prove.describe import decision_text, request_text

CONFLICT = (
    "CIS 3.2.2 and STIG V-242403 contradict each other: the STIG wants RequestResponse for everything, CIS no body of"
    " Secrets, ConfigMaps and TokenReviews. No policy meets both. Keep the bodies out (CIS), or record everything and"
    " let the receiver seal or drop secrets before they reach a disk, and document the deviation."
)
_NEEDS = (
    ("KW481", "audit-log-maxage", 30, "days a rotated file is kept", "CIS 1.2.17, STIG V-242464"),
    ("KW482", "audit-log-maxbackup", 10, "rotated files kept", "CIS 1.2.18, STIG V-242463"),
    ("KW483", "audit-log-maxsize", 100, "MiB of a file", "CIS 1.2.19, STIG V-242462"),
)


def controls(context: Context) -> Iterator[SetupFinding]:
    """Look at what the chosen profile asks for."""
    if context.profile == "default":
        return
    if not context.has_log:
        message = "--audit-log-path is not set (CIS 1.2.16, STIG V-242465)"
        yield context.flag("KW480", "audit-log-path", message, "/var/log/kubernetes/audit/audit.log")
    if not context.values.text("audit-policy-file"):
        message = "--audit-policy-file is not set (CIS 3.2.1, STIG V-242461)"
        yield context.flag("KW484", "audit-policy-file", message, "/etc/kubernetes/audit-policy.yaml")
    for code, name, least, what, numbers in _NEEDS:
        value = context.values.number(name)
        is_stated = name in context.values.given
        is_enough = value >= least or (value == 0 and name != "audit-log-maxsize" and is_stated)
        if not is_enough or not is_stated:
            why = f"is {value}" if is_stated else "is not set, and an auditor does not count defaults"
            message = f"--{name} ({what}) {why}: at least {least} are asked for ({numbers})"
            yield context.flag(code, name, message, str(least))
    policy = context.policy.document.policy if context.policy is not None else None
    if policy is None:
        return
    claims = {"cis": ("KW485", "cis-3.2.2"), "stig": ("KW486", "* always at least RequestResponse")}
    code, text = claims[context.profile]
    for claim in parse_claims(text):
        try:
            answer = prove(policy, claim)
        except TooHardError as exc:
            yield context.finding(code, 1, f"not decided: {exc}", file=context.policy_file)
            continue
        for breach in answer.breaches[:1]:
            rule = breach.decision.rule_index
            line = _rule_line(context, rule)
            message = f"not so: {claim.text}; {request_text(breach.example)} is {decision_text(breach.decision)}"
            yield context.finding(code, line, message, file=context.policy_file)


def _rule_line(context: Context, rule: int | None) -> int:
    tree = context.policy.document.tree if context.policy is not None else None
    value = tree.at(("rules", rule)) if tree is not None and rule is not None else None
    return 1 if value is None else value.mark.line


def notes(context: Context) -> Iterator[str]:
    """Name the conflict of the two, whichever was asked for, and the trap in the numbers."""
    if context.profile == "default":
        return
    yield CONFLICT
    if context.rate is None and context.log_file and options.rotation(context.values).max_backups:
        yield "maxage is a promise that maxbackup x maxsize may not keep: 10 files of 100 MiB can be hours (--rate)"


CHECKS = (controls,)
