"""
What can be found in the setup of a kube-apiserver: the one table of codes, and the shape of a finding.

KW40x, KW41x: the server, or its pod, does not start. KW42x to KW44x: it starts, and evidence is lost or never made.
KW45x to KW47x: it works, and that is risky. KW48x: a profile (CIS, DISA STIG) asks for something else.
The page docs/reference/apiserver-findings.md lists the same codes. Findings in the policy itself keep their codes.
"""

from dataclasses import dataclass

from kubewitness.policy.findings import Code, Severity

_REFUSED = {
    "KW401": "an --audit flag that kube-apiserver does not know",
    "KW402": "a value that is not of the flag's type",
    "KW403": "a value that kube-apiserver refuses at start",
    "KW404": "the policy cannot be read or is refused",
    "KW405": "the policy, or the webhook's kubeconfig, lies where the container does not see it",
    "KW406": "a mount that cannot be made: its hostPath is not there, or is of another type",
    "KW414": "the webhook's server is no URL",
    "KW415": "a file that the webhook's kubeconfig names is not there",
    "KW416": "the certificate authority of the webhook holds no certificate",
    "KW417": "the webhook's kubeconfig cannot be used",
}
_WRONG = {
    "KW420": "no policy: nothing is recorded",
    "KW421": "no backend: nothing is written or sent",
    "KW422": "the log's directory is mounted read-only",
    "KW423": "the log lies inside the container and goes with it",
    "KW424": "only the log file is mounted, so it cannot be rotated",
    "KW425": "a hostPath without the type that would keep a missing file from becoming a directory",
    "KW426": "the log lies where it does not last, or where the kubelet takes it for a pod",
    "KW427": "the log's directory is not there, and nothing makes it",
    "KW428": "the user that the server runs as cannot read the policy or write the log",
    "KW430": "the webhook's host is a name that only the cluster's DNS knows",
    "KW431": "the webhook's URL has a query string, which is dropped",
    "KW432": "no certificate authority is named for the webhook",
    "KW433": "the certificate authority of the webhook has expired",
    "KW434": "the log is never rotated or never pruned: the disk fills",
    "KW435": "the throttle lets fewer events through than are made: events are dropped",
    "KW436": "the flag has no effect in this setup",
    "KW437": "a flag is given twice: the last one holds",
    "KW438": "blocking-strict that never blocks: the policy omits RequestReceived",
    "KW439": "a file beside the manifest that the kubelet takes for a pod too",
    "KW440": "the running server is not the one that this describes, or writes to a deleted log",
}
_RISKY = {
    "KW450": "truncation is on: bodies above its limit are lost",
    "KW451": "an event may be larger than maxsize, and is then lost",
    "KW452": "the webhook sends events unencrypted",
    "KW453": "the webhook trusts any certificate",
    "KW454": "the certificate authority of the webhook expires soon",
    "KW455": "the webhook shows no credentials",
    "KW456": "a mode in which every request waits for the webhook",
    "KW457": "a mode in which a full disk stops the API",
    "KW458": "a short initial backoff: a short outage of the receiver loses events",
    "KW459": "the log is written as text of which most is lost",
    "KW460": "the log spans less time than its maxage says",
    "KW462": "bodies of lists are recorded, which costs the server memory",
    "KW463": "others than its owner can read the log",
    "KW464": "others than its owner can change what decides about the log",
    "KW465": "others can read the webhook's credentials",
    "KW466": "a mount that lets the server write what it only reads",
}
_PROFILES = {
    "KW480": "CIS 1.2.16, STIG V-242465: no log path",
    "KW481": "CIS 1.2.17, STIG V-242464: the log is kept for less than 30 days",
    "KW482": "CIS 1.2.18, STIG V-242463: fewer than 10 rotated files are kept",
    "KW483": "CIS 1.2.19, STIG V-242462: files of less than 100 MiB",
    "KW484": "CIS 3.2.1, STIG V-242461: no policy",
    "KW485": "CIS 3.2.2: the policy does not cover key security concerns",
    "KW486": "STIG V-242403: something is recorded below RequestResponse",
}


def _codes() -> dict[str, Code]:
    groups = (
        (_REFUSED, Severity.REFUSED),
        (_WRONG, Severity.WRONG),
        (_RISKY, Severity.RISKY),
        (_PROFILES, Severity.WRONG),
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
