"""
Plan how auditing is turned on: for each distribution, in its own documented form.

`plan` reads through a Host and changes nothing. Flags that the server has stay as they are unless other values were
asked for; mounts that already lead to the policy or the log are used. Run on its own result it plans no change.
"""

import hashlib
import re
from collections.abc import Callable, Mapping

from kubewitness.apiserver import podedit, yamltext
from kubewitness.apiserver.distros import DISTROS, Distro
from kubewitness.apiserver.plan import Host, NewDirectory, NewFile, Plan, PlanError, Wanted
from kubewitness.apiserver.readers import SNAP_VARIABLES, map_flags, patches_of, pod, read_setup
from kubewitness.apiserver.setup import FlagText, directory_of, is_within
from kubewitness.apiserver.yamltext import Document, EditError, Path


def plan(name: str, wanted: Wanted, host: Host) -> Plan:
    """Plan for this distribution. Raises PlanError, and OSError from the host."""
    distro = DISTROS[name]
    config = wanted.config or distro.config
    try:
        return _PLANNERS[name](distro, config, wanted, host)
    except EditError as exc:
        raise PlanError(str(exc), config, exc.line) from exc


def _flags(wanted: Wanted, policy: str, log: str, webhook: str) -> dict[str, tuple[str, bool]]:
    """Give the flags to be set: value, and whether it was asked for expressly."""
    flags = {"audit-policy-file": (wanted.policy_path or policy, bool(wanted.policy_path))}
    if log:
        flags["audit-log-path"] = (wanted.log_path or log, bool(wanted.log_path))
    flags |= {name: (value, False) for name, value in wanted.defaults.items() if log != "-" or "webhook" in name}
    if wanted.webhook is not None:
        flags["audit-webhook-config-file"] = (webhook, True)
    return flags | {name: (value, True) for name, value in wanted.flags.items()}


def _policy_file(host: Host, path: str, wanted: Wanted, mode: int = 0o600) -> NewFile:
    before = host.read(path)
    after = next((one for one in (wanted.policy, before, wanted.fallback) if one is not None), None)
    if after is None:
        raise PlanError(f"there is no policy at {path}", help_="name one with --policy FILE or --preset NAME")
    return NewFile(path, before, after, mode)


def _text(host: Host, path: str, or_else: str | None = None, help_: str = "") -> bytes:
    found = host.read(path)
    if found is not None:
        return found
    if or_else is None:
        raise PlanError(f"{path} is not there", help_=help_ or "name it with --config FILE, or another --distro")
    return or_else.encode()


def _missing(host: Host, directory: str, mode: int = 0o700, owner: str = "") -> tuple[NewDirectory, ...]:
    return () if host.is_directory(directory) else (NewDirectory(directory, mode, owner),)


# -- kubeadm: the static pod -----------------------------------------------------------------------------------------


def _kubeadm(distro: Distro, config: str, wanted: Wanted, host: Host) -> Plan:
    before = _text(host, config, help_="run this on a control plane node, or name the manifest with --config FILE")
    document = yamltext.read(before)
    if document.text_at(("kind",)) != "Pod":
        raise EditError("the kubelet takes only a manifest of kind: Pod", document.line(("kind",)))
    static_pods = directory_of(config)
    flags = _flags(wanted, distro.policy, distro.log, distro.webhook)
    effective = podedit.effective_flags(document, flags)
    policy = podedit.host_path(document, effective["audit-policy-file"])
    log = effective.get("audit-log-path", "")
    for path in (policy, log, wanted.webhook and distro.webhook):
        if path and is_within(path, static_pods):
            raise PlanError(
                f"{path} lies in {static_pods}: the kubelet would take every file there for a pod",
                help_="choose a place outside, such as /etc/kubernetes/audit-policy.yaml",
            )
    document = podedit.mount_file(document, effective["audit-policy-file"], "audit-policy", config)
    directories: tuple[NewDirectory, ...] = ()
    if log and log != "-":
        document = podedit.mount_directory(document, directory_of(log), "audit-log", config)
        log = podedit.host_path(document, log)
        directories = _missing(host, directory_of(log))
    files = [_policy_file(host, policy, wanted)]
    if wanted.webhook is not None:
        path = effective["audit-webhook-config-file"]
        document = podedit.mount_file(document, path, "audit-webhook", config)
        at = podedit.host_path(document, path)
        files.append(NewFile(at, host.read(at), wanted.webhook))
    document = podedit.set_flags(document, effective)  # until here every line is where the person sees it
    # a server that runs already reads its files only when it starts, and the kubelet looks only at the manifest
    is_stale = document.text == before.decode("utf-8", "replace") and any(file.is_changed for file in files)
    digest = hashlib.sha256(b"\0".join(file.after for file in files)).hexdigest()[:16]
    document = podedit.annotate(document, f"sha256-{digest}", is_needed=is_stale)
    files.append(NewFile(config, before, document.text.encode()))
    advice = (distro.restart, *distro.advice, _for_upgrades(document, effective))
    return Plan(distro.name, directories, tuple(files), config, policy, "" if log == "-" else log, advice)


def _for_upgrades(document: Document, effective: Mapping[str, str]) -> str:
    """Say what must stand in the cluster's own configuration, from which kubeadm upgrade writes the manifest anew."""
    setup = pod(document, "")
    args: list[yamltext.Data] = [{"name": name, "value": value} for name, value in effective.items()]
    volumes: list[yamltext.Data] = [
        {"name": one.volume, "hostPath": one.host, "mountPath": one.path, "pathType": one.host_type}
        | ({"readOnly": True} if one.is_read_only else {})
        for one in setup.mounts or ()
        if one.host_type and any(is_within(path, one.path) for path in effective.values() if path.startswith("/"))
    ]
    text = yamltext.dump({"apiServer": {"extraArgs": args, "extraVolumes": volumes}})
    return (
        "kubeadm upgrade writes the manifest anew from ConfigMap kubeadm-config in kube-system: put into its\n"
        "ClusterConfiguration (kubeadm.k8s.io/v1beta4)\n" + "".join(f"  {line}\n" for line in text.splitlines())
    ).rstrip("\n")


# -- kind ------------------------------------------------------------------------------------------------------------

_KIND_NEW = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n"
_KIND_POLICY, _KIND_LOG = "/etc/kubernetes/audit/policy.yaml", "/var/log/kubernetes/audit"
_KIND_WEBHOOK = "/etc/kubernetes/audit/webhook.yaml"


def _kind(distro: Distro, config: str, wanted: Wanted, host: Host) -> Plan:
    before = host.read(config)
    document = yamltext.read(before if before is not None else _KIND_NEW)
    node = document.node(("nodes",))
    if node is None:
        document = yamltext.put(document, (), "nodes", [{"role": "control-plane"}])
    flags = _flags(wanted, _KIND_POLICY, f"{_KIND_LOG}/audit.log", _KIND_WEBHOOK)
    present = patches_of(document)
    if any(map_flags(patch, ("apiServer", "extraArgs")) for _, patch in present):
        setup = read_setup(document.text.encode(), config)
        if any(setup.flag(name) is None for name in flags):
            place, _ = present[0]
            raise PlanError(
                "a kubeadm patch for the API server is there already, without all the audit flags",
                config,
                document.line(place),
                "take it out, run this, then put your other flags into the patch that was written",
            )
    else:
        document = _kind_mounts(document, distro, wanted)
    files = [_policy_file(host, distro.policy, wanted, distro.policy_mode)]
    if wanted.webhook is not None:
        files.append(NewFile(distro.webhook, host.read(distro.webhook), wanted.webhook))
    if not present:
        document = _kind_patch(document, flags, wanted)
    files.append(NewFile(config, before, document.text.encode(), 0o644))
    directories = _missing(host, directory_of(distro.log))
    advice = (distro.restart, *distro.advice)
    return Plan(distro.name, directories, tuple(files), config, distro.policy, distro.log, advice)


def _kind_mounts(document: Document, distro: Distro, wanted: Wanted) -> Document:
    nodes = document.node(("nodes",))
    if nodes is None or nodes.id != "sequence":
        raise EditError("nodes must be a list", document.line(("nodes",)))
    mounts = [(distro.policy, _KIND_POLICY, True), (directory_of(distro.log), _KIND_LOG, False)]
    if wanted.webhook is not None:
        mounts.append((distro.webhook, _KIND_WEBHOOK, True))
    for index in range(len(nodes.value)):
        at: Path = ("nodes", index)
        if document.text_at((*at, "role")) not in (None, "control-plane"):
            continue
        if document.node((*at, "extraMounts")) is None:
            document = yamltext.put(document, at, "extraMounts", [_extra(*mount) for mount in mounts])
        else:
            for mount in mounts:
                document = yamltext.append(document, (*at, "extraMounts"), _extra(*mount))
    return document


def _extra(host: str, inside: str, read_only: bool) -> dict[str, yamltext.Data]:
    return {"hostPath": f"./{host}", "containerPath": inside, "readOnly": read_only}


def _kind_patch(document: Document, flags: Mapping[str, tuple[str, bool]], wanted: Wanted) -> Document:
    """Write the patch without a version and with flags as an object: kind turns it into what its kubeadm reads."""
    volumes: list[yamltext.Data] = [
        _volume("audit-policy", _KIND_POLICY, "File", read_only=True),
        _volume("audit-log", _KIND_LOG, "DirectoryOrCreate", read_only=False),
    ]
    if wanted.webhook is not None:
        volumes.append(_volume("audit-webhook", _KIND_WEBHOOK, "File", read_only=True))
    args: dict[str, yamltext.Data] = {name: value for name, (value, _) in flags.items()}
    patch = yamltext.dump(
        {"kind": "ClusterConfiguration", "apiServer": {"extraArgs": args, "extraVolumes": volumes}},
    )
    if document.node(("kubeadmConfigPatches",)) is None:
        return yamltext.put(document, (), "kubeadmConfigPatches", [patch])
    return yamltext.append(document, ("kubeadmConfigPatches",), patch)


def _volume(name: str, path: str, kind: str, *, read_only: bool) -> dict[str, yamltext.Data]:
    return {"name": name, "hostPath": path, "mountPath": path, "readOnly": read_only, "pathType": kind}


# -- k3s and rke2 ----------------------------------------------------------------------------------------------------


def _rancher(distro: Distro, config: str, wanted: Wanted, host: Host) -> Plan:
    before = host.read(config)
    flags = _flags(wanted, distro.policy, distro.log, distro.webhook)
    _refuse_drop_ins(config, host)
    document = yamltext.read(before) if before and before.strip() else None
    setup = None if document is None else read_setup(before or b"", config)
    policy, _ = flags["audit-policy-file"]
    if setup is not None and not wanted.policy_path:
        found = setup.flag("audit-policy-file")
        policy = found.value or policy if found is not None else policy
    if distro.name == "rke2":
        flags.pop("audit-policy-file")
        document = _set_member(document, "audit-policy-file", policy)
        if wanted.webhook is not None:
            mount = f"{distro.webhook}:{distro.webhook}:ro"
            document = _extend(document, "kube-apiserver-extra-mount", [mount])
    present = {} if setup is None else {flag.name: flag for flag in setup.flags}
    new = [f"{name}={value}" for name, (value, _) in flags.items() if name not in present]
    document = _extend(document, "kube-apiserver-arg", new) if new or document is None else document
    for name, (value, is_asked) in flags.items():
        flag = present.get(name)
        if flag is None:
            continue
        if is_asked and flag.value != value and document is not None:
            document = yamltext.replace(document, flag.path, f"{name}={value}")
    if document is None:
        raise PlanError("there is nothing to write", config)
    setup = read_setup(document.text.encode(), config)
    found = setup.flag("audit-log-path")
    log = (found.value if found is not None else None) or distro.log
    files = [_policy_file(host, policy, wanted)]
    if wanted.webhook is not None:
        files.append(NewFile(distro.webhook, host.read(distro.webhook), wanted.webhook))
    files.append(NewFile(config, before, document.text.encode()))
    directories = () if log == "-" else _missing(host, directory_of(log))
    advice = (distro.restart, *distro.advice)
    return Plan(distro.name, directories, tuple(files), config, policy, "" if log == "-" else log, advice)


def _refuse_drop_ins(config: str, host: Host) -> None:
    """Refuse where a file of config.yaml.d takes the place of the list that we would write to."""
    directory = f"{config}.d"
    for name in host.names(directory):
        text = (host.read(f"{directory}/{name}") or b"").decode("utf-8", "replace")
        found = re.search(r"^(kube-apiserver-arg|audit-policy-file)\s*:", text, re.MULTILINE)
        if found:
            raise PlanError(
                f"{found[1]} is set here too, and the last file wins",
                f"{directory}/{name}",
                text.count("\n", 0, found.start()) + 1,
                f"write it as {found[1]}+: so that it adds to the list, or name this file with --config",
            )


def _set_member(document: Document | None, name: str, value: str) -> Document:
    if document is None:
        return yamltext.read(yamltext.dump({name: value}))
    if document.node((name,)) is None:
        return yamltext.put(document, (), name, value)
    return document if document.text_at((name,)) == value else yamltext.replace(document, (name,), value)


def _extend(document: Document | None, name: str, values: list[str]) -> Document:
    if document is None:
        return yamltext.read(yamltext.dump({name: values}))
    node = document.node((name,))
    if node is None:
        return yamltext.put(document, (), name, list(values))
    if node.id == "scalar" and not yamltext.is_null(node):
        raise EditError(f"{name} is one text: write it as a list, one flag an item", document.line((name,)))
    present = document.data((name,)) or []
    new: list[yamltext.Data] = [one for one in values if not isinstance(present, list) or one not in present]
    if yamltext.is_null(node) or not node.value:
        return yamltext.replace(document, (name,), new)
    return yamltext.append(document, (name,), *new)


# -- k0s, talos, microk8s, minikube ----------------------------------------------------------------------------------

_K0S_NEW = "apiVersion: k0s.k0sproject.io/v1beta1\nkind: ClusterConfig\nmetadata:\n  name: k0s\nspec: {}\n"


def _k0s(distro: Distro, config: str, wanted: Wanted, host: Host) -> Plan:
    before = _text(host, config, help_=f"write one first: k0s config create > {config}")
    document = yamltext.read(before)
    flags = _flags(wanted, distro.policy, distro.log, distro.webhook)
    document, effective = _set_map(document, ("spec", "api", "extraArgs"), flags)
    policy, log = effective["audit-policy-file"], effective["audit-log-path"]
    files = [_policy_file(host, policy, wanted, distro.policy_mode)]
    if wanted.webhook is not None:
        files.append(NewFile(distro.webhook, host.read(distro.webhook), wanted.webhook))
    files.append(NewFile(config, before, document.text.encode()))
    directories = () if log == "-" else _missing(host, directory_of(log), owner="kube-apiserver")
    advice = (distro.restart, *distro.advice)
    return Plan(distro.name, directories, tuple(files), config, policy, "" if log == "-" else log, advice)


def _set_map(document: Document, path: Path, flags: Mapping[str, tuple[str, bool]]) -> tuple[Document, dict[str, str]]:
    """Set flags in an object of name and value, made where it is missing; give the values that then hold."""
    present = {flag.name: flag for flag in map_flags(document, path)}
    effective = {name: value for name, (value, _) in flags.items()}
    if not present:
        return _made(document, path, dict(effective)), effective
    for name, (value, is_asked) in flags.items():
        flag = present.get(name)
        if flag is None:
            document = yamltext.put(document, path, name, value)
        elif is_asked and flag.value != value:
            document = yamltext.replace(document, flag.path, value)
        else:
            effective[name] = flag.value or value
    return document, effective


def _made(document: Document, path: Path, value: yamltext.Data) -> Document:
    """Make an object at a path, and what is missing above it."""
    for length in range(len(path), 0, -1):
        node = document.node(path[:length])
        if node is not None and (yamltext.is_null(node) or not node.value):
            return yamltext.replace(document, path[:length], value)
        if document.node(path[: length - 1]) is not None and node is None:
            above = document.node(path[: length - 1])
            if above is not None and (yamltext.is_null(above) or not above.value):
                value = {str(path[length - 1]): value}
                continue
            return yamltext.put(document, path[: length - 1], str(path[length - 1]), value)
        value = {str(path[length - 1]): value}
    raise EditError("an object belongs here", document.line(path))


def _talos(distro: Distro, config: str, wanted: Wanted, host: Host) -> Plan:
    if wanted.webhook is not None:
        raise PlanError(
            "Talos has no place for a webhook kubeconfig that this could write",
            help_="put it into machine.files and cluster.apiServer.extraVolumes by hand",
        )
    if wanted.flags or wanted.log_path or wanted.policy_path:
        raise PlanError(
            "Talos has its own values for the audit flags, and drops others without a word (seen in Talos 1.12)",
            help_="leave --set, --log-path and --policy-path away: only the policy can be chosen",
        )
    before = host.read(config)
    policy = wanted.policy if wanted.policy is not None or before is not None else wanted.fallback
    if before is not None:
        document = yamltext.read(before)
        setup = read_setup(before, config)
        if policy is None and not setup.inline_policy:
            raise PlanError("cluster.apiServer.auditPolicy is not there", config, 1, "name a policy: --policy FILE")
    else:
        document = yamltext.read("cluster: {}\n")
    if policy is not None:
        value = yamltext.read(policy).data()
        after = yamltext.dump({"cluster": {"apiServer": {"auditPolicy": value}}})
        if before is not None and document.data() != yamltext.read(after).data():
            raise PlanError("this file is there and holds something else", config, 1, "name another with --config")
        document = yamltext.read(after) if before is None else document
    file = NewFile(config, before, document.text.encode())
    return Plan(distro.name, (), (file,), config, config, "", (distro.restart, *distro.advice))


def _microk8s(distro: Distro, config: str, wanted: Wanted, host: Host) -> Plan:
    before = _text(host, config)
    text = before.decode("utf-8", "strict") if before.isascii() else before.decode("utf-8", "replace")
    setup = read_setup(before, config)
    flags = _flags(wanted, *(_snap(path) for path in (distro.policy, distro.log, distro.webhook)))
    lines = text.splitlines(keepends=True)
    for name, (value, is_asked) in flags.items():
        flag: FlagText | None = setup.flag(name)
        if flag is None:
            if lines and not lines[-1].endswith("\n"):
                lines[-1] += "\n"
            lines.append(f"--{name}={value}\n")
        elif is_asked and flag.value != value:
            lines[flag.line - 1] = f"--{name}={value}\n"
    after = "".join(lines).encode()
    setup = read_setup(after, config)
    policy, log = (_value(setup.flag(name)) for name in ("audit-policy-file", "audit-log-path"))
    files = [_policy_file(host, policy, wanted)]
    if wanted.webhook is not None:
        files.append(NewFile(distro.webhook, host.read(distro.webhook), wanted.webhook))
    files.append(NewFile(config, before, after))
    directories = () if log == "-" else _missing(host, directory_of(log))
    advice = (distro.restart, *distro.advice)
    return Plan(distro.name, directories, tuple(files), config, policy, "" if log == "-" else log, advice)


def _value(flag: FlagText | None) -> str:
    return "" if flag is None else flag.value or ""


def _snap(path: str) -> str:
    for variable, directory in SNAP_VARIABLES.items():
        if path.startswith(directory):
            return "${" + variable + "}" + path[len(directory) :]
    return path


def _minikube(distro: Distro, _config: str, wanted: Wanted, host: Host) -> Plan:
    inside = "/etc/ssl/certs/"
    flags = _flags(wanted, f"{inside}audit-policy.yaml", "-", f"{inside}audit-webhook.yaml")
    files = [_policy_file(host, distro.policy, wanted, distro.policy_mode)]
    if wanted.webhook is not None:
        files.append(NewFile(distro.webhook, host.read(distro.webhook), wanted.webhook, distro.policy_mode))
    words = [f"--extra-config=apiserver.{name}={value}" for name, (value, _) in flags.items()]
    command = " \\\n    ".join(["minikube start", *words])
    return Plan(distro.name, (), tuple(files), "", distro.policy, "", (command, *distro.advice))


_PLANNERS: dict[str, Callable[[Distro, str, Wanted, Host], Plan]] = {
    "kubeadm": _kubeadm,
    "kind": _kind,
    "k3s": _rancher,
    "rke2": _rancher,
    "k0s": _k0s,
    "minikube": _minikube,
    "talos": _talos,
    "microk8s": _microk8s,
}
