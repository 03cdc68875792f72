"""
KW5xx: what the chosen profile demands and the policy does not give, each with the requirement it is from.

Every demand is a claim (`prove.claims`), so it is kept for all possible requests or broken by one that is shown.
CIS: Kubernetes Benchmark 3.2.1 and 3.2.2. STIG: V-242403 and its conflict with CIS. PCI: DSS 4.0.1, 10.2.1 and 10.2.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kubewitness.event.types import Level
from kubewitness.policy.checks_unseen import rule_path
from kubewitness.policy.findings import Context, Do, Edit, Finding, Fix, Profile, check
from kubewitness.policy.prove import library
from kubewitness.policy.prove.answer import TooHardError
from kubewitness.policy.prove.claims import parse_claims, prove
from kubewitness.policy.prove.describe import decision_text, request_text
from kubewitness.policy.subjects import rule_content

_BUDGET_STATES = 60_000


@dataclass(frozen=True, slots=True)
class _Demand:
    """What a profile asks, as claims."""

    code: str
    profile: Profile
    claims: tuple[str, ...]
    message: str
    help: str


_DEMANDS = (
    _Demand(
        "KW501",
        Profile.CIS,
        library.CIS_SECRETS,
        "CIS 3.2.2 wants secrets, configmaps and tokenreviews at level Metadata",
        "put a first rule with level: Metadata for them",
    ),
    _Demand(
        "KW502",
        Profile.CIS,
        library.CIS_CHANGES,
        "CIS 3.2.2 wants changes of pods and deployments recorded",
        "put a rule with level: Request for changes of pods and deployments above the one that leaves them out",
    ),
    _Demand(
        "KW503",
        Profile.CIS,
        library.CIS_COMMANDS,
        "CIS 3.2.2 wants pods/exec, pods/portforward, pods/proxy and services/proxy recorded",
        "put a rule with level: Metadata for them above the one that leaves them out",
    ),
    _Demand(
        "KW511",
        Profile.STIG,
        library.STIG_EVERYTHING,
        "STIG V-242403 wants level RequestResponse for everything",
        "the rule it asks for is `- level: RequestResponse` alone; see KW301 to KW304 for what that writes",
    ),
    _Demand(
        "KW521",
        Profile.PCI,
        library.PCI_ACCESS,
        "PCI DSS 10.2.1.1 and 10.2.1.2 want each access of people and all that administrators do recorded",
        "record the group system:masters and all requests for secrets at level: Metadata at least",
    ),
    _Demand(
        "KW522",
        Profile.PCI,
        library.PCI_OUTCOME,
        "PCI DSS 10.2.2 wants success or failure, origin and the object of each event, which ResponseComplete has",
        "record the rest at level: Metadata, and keep ResponseComplete; name what you leave out in your scoping",
    ),
    _Demand(
        "KW523",
        Profile.PCI,
        library.PCI_ACCOUNTS,
        "PCI DSS 10.2.1.5 wants changes of accounts, credentials and privileges recorded, and what they were",
        "record changes of roles and bindings at level: Request, of service accounts and certificates at Metadata",
    ),
)


@check(
    KW501="CIS 3.2.2: secrets, configmaps and tokenreviews are not at Metadata",
    KW502="CIS 3.2.2: changes of pods or deployments are not recorded",
    KW503="CIS 3.2.2: exec, port forwarding or proxies are not recorded",
    KW511="STIG V-242403: not everything is at RequestResponse",
    KW521="PCI DSS 10.2.1.1, 10.2.1.2: something that people or administrators do is not recorded",
    KW522="PCI DSS 10.2.2: the outcome of something is not recorded",
    KW523="PCI DSS 10.2.1.5: a change of accounts or privileges is not recorded, or not what it was",
)
def demands(context: Context) -> Iterator[Finding]:
    """Find what the profile demands and the policy does not give."""
    if context.policy is None:
        return
    for demand in _DEMANDS:
        if demand.profile is context.profile:
            yield from _broken(context, demand)


def _broken(context: Context, demand: _Demand) -> Iterator[Finding]:
    if context.policy is None:
        return
    by_rule: dict[int | None, str] = {}
    for text in demand.claims:
        for claim in parse_claims(text):
            try:
                answer = prove(context.policy, claim, budget_states=_BUDGET_STATES)
            except TooHardError:
                continue
            for breach in answer.breaches:
                shown = f"{decision_text(breach.decision)} for {request_text(breach.example)}"
                by_rule.setdefault(breach.decision.rule_index, shown)
    for index, shown in by_rule.items():
        yield context.finding(demand.code, rule_path(index), f"{demand.message}: {shown}", demand.help, _fix(demand))


def _fix(demand: _Demand) -> Fix | None:
    """Put a first rule, where the demand is one level for some resources."""
    if demand.code not in ("KW501", "KW503"):
        return None
    names = demand.claims[0].split(" ")[0].split(",")
    made = replace(parse_claims(demand.claims[0])[0].scope[0], level=Level.METADATA)
    says = f"put a first rule with level Metadata for {', '.join(names)}"
    edit = Edit(Do.INSERT, ("rules", 0), rule_content(made))
    return Fix(says, (edit,), (made,), Level.METADATA, Level.METADATA)


@check(
    KW318="the policy follows STIG V-242403 where CIS 3.2.2 forbids it",
    KW418="the policy follows CIS 3.2.2 where STIG V-242403 wants bodies of secrets",
)
def conflict(context: Context) -> Iterator[Finding]:
    """Name the conflict between the two benchmarks where the policy takes a side of it."""
    if context.policy is None or context.profile not in (Profile.STIG, Profile.CIS):
        return
    secrets = parse_claims("secrets never above Metadata")[0]
    try:
        breaches = prove(context.policy, secrets, budget_states=_BUDGET_STATES).breaches
    except TooHardError:
        return
    is_stig = context.profile is Profile.STIG
    if is_stig != bool(breaches):
        # the policy takes the side of the other benchmark, which KW501 or KW511 says
        return
    message = (
        "V-242403 has bodies of secrets written to the log, which CIS 3.2.2 forbids (and KW301 to KW304 tell)"
        if is_stig
        else "CIS 3.2.2 keeps bodies of secrets out of the log, and V-242403 of the STIG wants every body in it"
    )
    help_ = (
        "decide for one and document it; a collector that seals or drops these bodies on intake keeps secrets unread "
        "while the server records as the STIG says"
    )
    index = breaches[0].decision.rule_index if breaches else None
    yield context.finding("KW318" if is_stig else "KW418", rule_path(index), message, help_)
