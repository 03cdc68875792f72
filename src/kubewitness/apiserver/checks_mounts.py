"""Whether the server's container sees the policy and whether the log it writes reaches the host, and stays there."""

from collections.abc import Iterator

from kubewitness.apiserver.context import Context
from kubewitness.apiserver.findings import SetupFinding
from kubewitness.apiserver.setup import Form, Mount, directory_of, is_within, normal

_FLEETING = ("/tmp", "/run", "/var/run", "/dev/shm", "/var/tmp")  # noqa: S108 - named because they do not last
_DIRECTORY_TYPES = ("Directory", "DirectoryOrCreate")
_FILE_TYPES = ("File", "FileOrCreate")


def policy_is_seen(context: Context) -> Iterator[SetupFinding]:
    """Look whether the policy and the webhook's kubeconfig are mounted, as files."""
    for name in ("audit-policy-file", "audit-webhook-config-file"):
        path = context.values.text(name)
        if not path or context.setup.mounts is None or context.setup.inline_policy:
            continue
        mount = context.setup.mount_of(path)
        if mount is None:
            message = f"{path} is not mounted: the server says `no such file or directory` and does not start"
            paste = _mount_lines(path, name.removesuffix("-file").removesuffix("-config"), "File", read_only=True)
            yield context.finding("KW605", context.setup.place(name), message, paste=paste)
            continue
        yield from _file_mount(context, mount, path)
        if not mount.is_read_only:
            message = f"{mount.path} is mounted writable: a server that was taken over can change it"
            yield context.finding("KW666", mount.line, message, paste="readOnly: true")


def _file_mount(context: Context, mount: Mount, path: str) -> Iterator[SetupFinding]:
    is_itself = mount.path == normal(path)
    if not mount.host:
        if mount.kind == "none":
            message = f"the volume {mount.volume} is not defined: the pod is refused"
            yield context.finding("KW606", mount.line, message, paste=f"- name: {mount.volume}")
        return
    if is_itself and mount.host_type in _DIRECTORY_TYPES and not mount.sub_path:
        message = f"{mount.host} is mounted as a directory ({mount.host_type}), but {path} must be a file"
        yield context.finding("KW606", mount.volume_line, message, paste="type: File")
    if is_itself and not mount.host_type:
        message = f"no type: when {mount.host} is missing, a directory of that name is made, and the server fails on it"
        yield context.finding("KW625", mount.volume_line, message, paste="type: File")
    if is_itself and mount.host_type == "FileOrCreate":
        message = f"FileOrCreate: when {mount.host} is missing, an empty file is made, and the server refuses it"
        yield context.finding("KW625", mount.volume_line, message, paste="type: File")


def log_is_seen(context: Context) -> Iterator[SetupFinding]:
    """Look whether the log's directory is a directory of the host that can be written to."""
    log = context.log_file
    if not log or context.setup.mounts is None:
        return
    directory = directory_of(log)
    mount = context.setup.mount_of(log)
    if mount is None:
        message = f"{directory} is not mounted: the log lies inside the container and is gone when it restarts"
        paste = _mount_lines(directory, "audit-log", "DirectoryOrCreate", read_only=False)
        yield context.finding("KW623", context.setup.place("audit-log-path"), message, paste=paste)
        return
    if not mount.host:
        message = f"the log lies in {_volume(mount)}: it goes with the pod"
        paste = f"hostPath: {{path: {directory}, type: DirectoryOrCreate}}"
        yield context.finding("KW623", mount.volume_line, message, paste=paste)
    if mount.is_read_only:
        message = f"{mount.path} is mounted read-only: the server cannot write {log}"
        yield context.finding("KW622", mount.line, message, "take `readOnly: true` away", "readOnly: false")
    if mount.path == normal(log):
        message = (
            f"only the file {log} is mounted: it cannot be renamed, so it is never rotated, and may be a directory"
        )
        paste = _mount_lines(directory, "audit-log", "DirectoryOrCreate", read_only=False)
        yield context.finding("KW624", mount.line, message, "mount its directory instead", paste)
    elif mount.host and mount.host_type in _FILE_TYPES:
        message = f"{mount.host} holds the log, so it must be a directory, not {mount.host_type}"
        yield context.finding("KW606", mount.volume_line, message, paste="type: DirectoryOrCreate")


def log_lasts(context: Context) -> Iterator[SetupFinding]:
    """Look whether the log lies where it stays."""
    host = context.setup.host_path(context.log_file) if context.log_file else None
    if not host:
        return
    place = next((one for one in _FLEETING if is_within(host, one)), None)
    if place:
        message = f"{host} lies in {place}, which does not last: it is emptied at a restart or by age"
        yield context.flag("KW626", "audit-log-path", message, "/var/log/kubernetes/audit/audit.log")
    static_pods = directory_of(context.host_file)
    if context.setup.form is Form.POD and static_pods.endswith("manifests") and is_within(host, static_pods):
        message = f"{host} lies among the static pods: the kubelet tries to run every file there"
        yield context.flag("KW626", "audit-log-path", message, "/var/log/kubernetes/audit/audit.log")


def _volume(mount: Mount) -> str:
    if mount.kind == "none":
        return f"a volume {mount.volume} that is not defined"
    return f"the volume {mount.volume} of the kind {mount.kind}"


def _mount_lines(path: str, name: str, kind: str, *, read_only: bool) -> str:
    only = ", readOnly: true" if read_only else ""
    return (
        f"volumeMounts: - {{mountPath: {path}, name: {name}{only}}}\n"
        f"volumes: - {{name: {name}, hostPath: {{path: {path}, type: {kind}}}}}"
    )


CHECKS = (policy_is_seen, log_is_seen, log_lasts)
