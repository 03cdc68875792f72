"""The audit policies that come with kubewitness: what each is for, keeps and shows. One table for every command."""

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Preset:
    """What a policy is for; what it is proved to keep (`policy prove`); how much it shows (`policy coverage`)."""

    text: str
    claims: tuple[str, ...]
    fully_seen: int
    """Techniques, of 57, that it tells from daily work; none goes unseen."""


_NO_BODIES = ("no-secret-bodies", "exec-visible", "* never above Metadata")
_CHANGES = ("no-secret-bodies", "exec-visible", "rbac-changes-with-bodies")
PRESETS: dict[str, Preset] = {
    "minimal": Preset("every request once, without bodies", _NO_BODIES, 30),
    "cis": Preset("CIS Kubernetes Benchmark 3.2.1 and 3.2.2", ("cis-3.2.2", *_CHANGES), 48),
    "forensic": Preset("every change with what was asked and what came of it", _CHANGES, 57),
    "detection-ready": Preset("every technique that an audit log can show is told from daily work", _CHANGES, 57),
    "gke-like": Preset("the division of labour of a managed cloud", ("cis-3.2.2", *_CHANGES), 53),
    "recommended": Preset("bodies of changes of rights and of ways into a container", ("cis-3.2.2", *_CHANGES), 54),
    "metadata": Preset("every request without bodies, probes of load balancers too", _NO_BODIES, 30),
    "stig": Preset("everything, as DISA STIG V-242403 asks, secrets included", ("stig-v-242403",), 57),
}


def preset(name: str) -> str:
    """Give the text of a preset."""
    return files("kubewitness.policy.workshop").joinpath(f"presets/{name}.yaml").read_text("utf-8")


def described() -> str:
    """Give a line for each preset, as help shows it."""
    return "".join(f"  {name:<17}{one.text}\n" for name, one in PRESETS.items())
