"""
What can be found in the setup of a kube-apiserver: the one table of codes, and the shape of a finding.

KW60x, KW61x: the server, or its pod, does not start. KW62x to KW64x: it starts, and evidence is lost or never made.
KW65x to KW67x: it works, and that is risky. KW68x: a profile (CIS, DISA STIG) asks for something else.
The page docs/reference/apiserver-findings.md lists the same codes. Findings in the policy itself keep their codes.
"""

from dataclasses import dataclass

from kubewitness.policy.findings import Code, Severity

_REFUSED = {
    "KW601": "an --audit flag that kube-apiserver does not know",
    "KW602": "a value that is not of the flag's type",
    "KW603": "a value that kube-apiserver refuses at start",
    "KW604": "the policy cannot be read or is refused",
    "KW605": "the policy, or the webhook's kubeconfig, lies where the container does not see it",
    "KW606": "a mount that cannot be made: its hostPath is not there, or is of another type",
    "KW614": "the webhook's server is no URL",
    "KW615": "a file that the webhook's kubeconfig names is not there",
    "KW616": "the certificate authority of the webhook holds no certificate",
    "KW617": "the webhook's kubeconfig cannot be used",
}
_WRONG = {
    "KW620": "no policy: nothing is recorded",
    "KW621": "no backend: nothing is written or sent",
    "KW622": "the log's directory is mounted read-only",
    "KW623": "the log lies inside the container and goes with it",
    "KW624": "only the log file is mounted, so it cannot be rotated",
    "KW625": "a hostPath without the type that would keep a missing file from becoming a directory",
    "KW626": "the log lies where it does not last, or where the kubelet takes it for a pod",
    "KW627": "the log's directory is not there, and nothing makes it",
    "KW628": "the user that the server runs as cannot read the policy or write the log",
    "KW630": "the webhook's host is a name that only the cluster's DNS knows",
    "KW631": "the webhook's URL has a query string, which is dropped",
    "KW632": "no certificate authority is named for the webhook",
    "KW633": "the certificate authority of the webhook has expired",
    "KW634": "the log is never rotated or never pruned: the disk fills",
    "KW635": "the throttle lets fewer events through than are made: events are dropped",
    "KW636": "the flag has no effect in this setup",
    "KW637": "a flag is given twice: the last one holds",
    "KW639": "a file beside the manifest that the kubelet takes for a pod too",
    "KW642": "the client certificate of the webhook has expired",
    "KW640": "the running server is not the one that this describes, or writes to a deleted log",
    "KW641": "a file of config.yaml.d hides what this one says",
}
_RISKY = {
    "KW650": "truncation is on: bodies above its limit are lost",
    "KW651": "an event may be larger than maxsize, and is then lost",
    "KW652": "the webhook sends events unencrypted",
    "KW653": "the webhook trusts any certificate",
    "KW654": "the certificate authority of the webhook expires soon",
    "KW655": "the webhook shows no credentials",
    "KW656": "a mode in which every request waits for the webhook",
    "KW657": "a mode in which a full disk stops the API",
    "KW658": "a short initial backoff: a short outage of the receiver loses events",
    "KW659": "the log is written as text of which most is lost",
    "KW660": "the log spans less time than its maxage says",
    "KW662": "bodies of lists are recorded, which costs the server memory",
    "KW667": "the client certificate of the webhook expires soon",
    "KW663": "others than its owner can read the log",
    "KW664": "others than its owner can change what decides about the log",
    "KW665": "others can read the webhook's credentials",
    "KW666": "a mount that lets the server write what it only reads",
}
_PROFILES = {
    "KW680": "CIS 1.2.16, STIG V-242465: no log path",
    "KW681": "CIS 1.2.17, STIG V-242464: the log is kept for less than 30 days",
    "KW682": "CIS 1.2.18, STIG V-242463: fewer than 10 rotated files are kept",
    "KW683": "CIS 1.2.19, STIG V-242462: files of less than 100 MiB",
    "KW684": "CIS 3.2.1, STIG V-242461: no policy",
}


def _codes() -> dict[str, Code]:
    groups = (
        (_REFUSED, Severity.REFUSED),
        (_WRONG, Severity.WRONG),
        (_RISKY, Severity.RISKY),
        (_PROFILES, Severity.UNMET),
    )
    return {code: Code(code, severity, text) for codes, severity in groups for code, text in codes.items()}


CODES = _codes()


@dataclass(frozen=True, slots=True)
class SetupFinding:
    """One thing found: in which file and line, what, why, and the line to paste (empty: there is none)."""

    code: str
    severity: Severity
    file: str
    line: int
    column: int
    message: str
    help: str = ""
    paste: str = ""
