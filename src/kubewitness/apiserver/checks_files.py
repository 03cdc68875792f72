"""What only the host's disk can tell: what is missing, who may read the log, who may change what decides about it."""

import re
import stat
from collections.abc import Iterator

from kubewitness.apiserver.context import Context
from kubewitness.apiserver.findings import SetupFinding
from kubewitness.apiserver.setup import Form, directory_of
from kubewitness.event import logfiles

_CREATES = ("DirectoryOrCreate", "FileOrCreate")
_MANIFEST_ENDS = (".yaml", ".yml", ".json")


def missing(context: Context) -> Iterator[SetupFinding]:
    """Look for host paths that are not there, or are of another type than the mount says."""
    for mount in context.setup.mounts or ():
        if context.setup.form is not Form.POD or not mount.host or not context.files.is_known or not mount.host_type:
            continue
        if not _concerns_audit(context, mount.path):
            continue
        facts = context.files.facts(mount.host)
        if facts is None and context.files.is_hidden(mount.host):
            continue
        wants_file = mount.host_type.startswith("File")
        if facts is None:
            if mount.host_type not in _CREATES:
                message = f"{mount.host} is not there, and {mount.host_type} does not make it: the pod does not start"
                yield context.finding(
                    "KW606", mount.volume_line, message, paste=_make(mount.host, wants_file=wants_file)
                )
        elif facts.is_directory == wants_file:
            found = "a directory" if facts.is_directory else "no directory"
            message = f"{mount.host} is {found}, but its type is {mount.host_type}: the pod does not start"
            yield context.finding("KW606", mount.volume_line, message, paste=_make(mount.host, wants_file=wants_file))


def _make(path: str, *, wants_file: bool) -> str:
    return f"test -d {path} && rmdir {path}; touch {path}" if wants_file else f"mkdir -p -m 0700 {path}"


def _concerns_audit(context: Context, path: str) -> bool:
    names = ("audit-policy-file", "audit-webhook-config-file", "audit-log-path")
    paths = [context.values.text(name) for name in names]
    return any(found == path or found.startswith(path.rstrip("/") + "/") for found in paths if found)


def log_directory(context: Context) -> Iterator[SetupFinding]:
    """Look at the log's directory and files: there, and for their owner alone."""
    host = context.setup.host_path(context.log_file) if context.log_file and context.files.is_known else None
    if not host or context.setup.form in (Form.TALOS, Form.MINIKUBE):
        return
    directory = directory_of(host)
    facts = context.files.facts(directory)
    mount = context.setup.mount_of(context.log_file)
    if facts is None:
        is_hidden = context.files.is_hidden(directory)
        if mount is not None and mount.host_type == "" and not is_hidden:
            message = f"{directory} is not there, and its hostPath has no type that makes it"
            yield context.finding("KW627", mount.volume_line, message, paste="type: DirectoryOrCreate")
        return
    line = context.setup.place("audit-log-path")
    if facts.mode & (stat.S_IWGRP | stat.S_IWOTH) and not facts.mode & stat.S_ISVTX:
        message = f"{directory} (mode {facts.mode:04o}) lets others take the log away"
        yield context.finding("KW664", line, message, paste=f"chmod 0700 {directory}")
    if facts.mode & (stat.S_IXGRP | stat.S_IXOTH | stat.S_IRGRP | stat.S_IROTH):
        names = [name for name in context.files.names(directory) if _is_log(name, host)]
        for name in names:
            found = context.files.facts(f"{directory}/{name}")
            if found is not None and found.mode & (stat.S_IRGRP | stat.S_IROTH):
                message = f"{directory}/{name} (mode {found.mode:04o}) is readable by {_others(found.mode, found.gid)}"
                yield context.finding("KW663", line, message, paste=f"chmod 0600 {directory}/{name}")


def _is_log(name: str, log: str) -> bool:
    base = log.rpartition("/")[2]
    return name == base or logfiles.parse(name, base) is not None


def _others(mode: int, gid: int) -> str:
    return "everyone on this host" if mode & stat.S_IROTH else f"the group {gid}"


def deciding_files(context: Context) -> Iterator[SetupFinding]:
    """Look who may change manifest, policy and webhook kubeconfig, and read the last."""
    if not context.files.is_known:
        return
    paths = []
    for name in ("audit-policy-file", "audit-webhook-config-file"):
        path = context.values.text(name)
        host = context.setup.host_path(path) if path else None
        if host:
            paths.append((name, host))
    for name, host in paths:
        facts = context.files.facts(host)
        if facts is None or facts.is_directory:
            continue
        if facts.mode & (stat.S_IWGRP | stat.S_IWOTH):
            message = f"{host} (mode {facts.mode:04o}) can be changed by others than its owner"
            yield context.finding("KW664", context.setup.place(name), message, paste=f"chmod go-w {host}")
        if "webhook" in name and facts.mode & (stat.S_IRGRP | stat.S_IROTH):
            message = f"{host} (mode {facts.mode:04o}) holds credentials and can be read by others"
            yield context.finding("KW665", context.setup.place(name), message, paste=f"chmod 0600 {host}")


def among_the_static_pods(context: Context) -> Iterator[SetupFinding]:
    """Look for copies of the manifest that the kubelet runs too."""
    if context.setup.form is not Form.POD or not context.files.is_known:
        return
    directory, _, own = context.host_file.rpartition("/")
    if not directory.endswith("manifests"):
        return
    for name in context.files.names(directory):
        if name == own or name.startswith(".") or "apiserver" not in name:
            continue
        is_backup = not name.endswith(_MANIFEST_ENDS) or own.partition(".")[0] in name
        if is_backup:
            message = f"{name} lies beside it: the kubelet runs every file there, so an old manifest may win"
            yield context.finding("KW639", 1, message, paste=f"mv {directory}/{name} /root/")


def hidden_by_another_file(context: Context) -> Iterator[SetupFinding]:
    """Look for files of config.yaml.d, of k3s and rke2, that set the same and win."""
    if context.setup.form is not Form.RANCHER or not context.files.is_known:
        return
    directory = f"{context.host_file}.d"
    for name in context.files.names(directory):
        text = (context.files.read(f"{directory}/{name}") or b"").decode("utf-8", "replace")
        found = re.search(r"^(kube-apiserver-arg|audit-policy-file)\s*:", text, re.MULTILINE)
        if found:
            line = text.count("\n", 0, found.start()) + 1
            message = f"{found[1]} is set here too, and the last file wins: what the other says of it is not used"
            help_ = "with a + behind the name it adds to the list instead"
            yield context.finding("KW641", line, message, help_, f"{found[1]}+:", f"{directory}/{name}")


CHECKS = (hidden_by_another_file, missing, log_directory, deciding_files, among_the_static_pods)
