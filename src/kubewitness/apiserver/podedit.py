"""
Change the static pod of a kube-apiserver: set flags, mount a file or a directory of the host.

In comes a Document, out goes one in which only that differs. What is already so stays; what would hide the policy or
the log (a mount that is read-only, that is no path of the host, that is a file where a directory belongs) is refused
with its line, because a person has to decide about it.
"""

from collections.abc import Mapping

from kubewitness.apiserver import yamltext
from kubewitness.apiserver.plan import PlanError
from kubewitness.apiserver.readers import container_of, flag_list, is_shell, pod
from kubewitness.apiserver.setup import Setup, directory_of
from kubewitness.apiserver.yamltext import Document, EditError

_PATHS = ("audit-policy-file", "audit-log-path", "audit-webhook-config-file")


def effective_flags(document: Document, flags: Mapping[str, tuple[str, bool]]) -> dict[str, str]:
    """Give the values that will hold once these flags (value, whether it was asked for) are set. Raises EditError."""
    setup = pod(document, "")
    effective = {}
    for name, (value, is_asked) in flags.items():
        flag = setup.flag(name)
        if flag is not None and not flag.value:
            raise EditError(f"--{name} has no value", flag.line)
        effective[name] = value if flag is None or is_asked else flag.value or value
        if name in _PATHS and effective[name] != "-" and not effective[name].startswith("/"):
            raise EditError(
                f"--{name}={effective[name]} must begin with /: it is to be mounted", flag.line if flag else 1
            )
    return effective


def set_flags(document: Document, effective: Mapping[str, str]) -> Document:
    """Set flags to these values. Raises EditError."""
    container = container_of(document)
    place = flag_list(document, container)
    words = document.data(place)
    if isinstance(words, list) and is_shell([str(word) for word in words]):
        raise EditError(
            "the flags stand in a line for a shell: write `command: [kube-apiserver, --flag=value, ...]`",
            document.line(place),
        )
    setup = pod(document, "")
    for name, value in effective.items():
        flag = setup.flag(name)
        if flag is not None and flag.value != value:
            item = document.text_at(flag.path) or ""
            document = yamltext.replace(document, flag.path, f"--{name}={value}" if item.startswith("--") else value)
    new = [f"--{name}={value}" for name, value in effective.items() if setup.flag(name) is None]
    return yamltext.append(document, place, *new)


def host_path(document: Document, path: str) -> str:
    """Give the path of the host behind a path of the server: through a mount, or the same where none is yet."""
    return pod(document, "").host_path(path) or path


ANNOTATION = "kubewitness/audit-files"


def annotate(document: Document, digest: str, *, is_needed: bool) -> Document:
    """Note what the mounted files hold: another note makes the kubelet start the server anew, another file does not."""
    place = ("metadata", "annotations")
    present = document.text_at((*place, ANNOTATION))
    if present == digest or (present is None and not is_needed):
        return document
    if present is not None:
        return yamltext.replace(document, (*place, ANNOTATION), digest)
    node = document.node(place)
    if node is None:
        above = document.node(("metadata",))
        if above is None:
            return yamltext.put(document, (), "metadata", {"annotations": {ANNOTATION: digest}})
        return yamltext.put(document, ("metadata",), "annotations", {ANNOTATION: digest})
    if yamltext.is_null(node) or not node.value:
        return yamltext.replace(document, place, {ANNOTATION: digest})
    return yamltext.put(document, place, ANNOTATION, digest)


def mount_file(document: Document, path: str, name: str, file: str) -> Document:
    """See that the server has this file, to read. Raises PlanError, EditError."""
    setup = pod(document, file)
    mount = setup.mount_of(path)
    if mount is None:
        return _mount(document, setup, path, name, "File", read_only=True)
    if not mount.host:
        raise PlanError(
            f"{path} lies in the volume {mount.volume}, which is {_article(mount.kind)}, no path of the host",
            file,
            mount.line,
            "name another place with --policy-path",
        )
    return document


def mount_directory(document: Document, path: str, name: str, file: str) -> Document:
    """See that the server has this directory of the host, to write. Raises PlanError, EditError."""
    if directory_of(path) == path:
        raise PlanError("the log cannot lie in /", file, 0, "give --log-path a directory of its own")
    setup = pod(document, file)
    mount = setup.mount_of(path)
    inside = [one for one in setup.mounts or () if directory_of(one.path) == path and one.volume.startswith("audit")]
    if mount is None and inside:
        raise PlanError(
            f"only the file {inside[0].path} is mounted: rotation cannot rename it, so its directory must be mounted",
            file,
            inside[0].line,
            f"take this mount and its volume out; the directory {path} is then mounted",
        )
    if mount is None:
        return _mount(document, setup, path, name, "DirectoryOrCreate", read_only=False)
    if mount.is_read_only:
        raise PlanError(
            f"{path} is mounted read-only", file, mount.line, "take `readOnly: true` away, or choose another --log-path"
        )
    if not mount.host:
        raise PlanError(
            f"{path} lies in the volume {mount.volume}, which is {_article(mount.kind)}: the log goes with the pod",
            file,
            mount.line,
            f"use a hostPath: `hostPath: {{path: {path}, type: DirectoryOrCreate}}`",
        )
    return document


def _article(kind: str) -> str:
    return "not defined" if kind == "none" else f"of the kind {kind}"


def _mount(document: Document, setup: Setup, path: str, name: str, kind: str, *, read_only: bool) -> Document:
    container = container_of(document)
    taken = {mount.volume for mount in setup.mounts or ()} | _volume_names(document)
    free = next(one for one in (name, *(f"{name}-{number}" for number in range(2, 1000))) if one not in taken)
    mount: dict[str, yamltext.Data] = {"mountPath": path, "name": free}
    if read_only:
        mount["readOnly"] = True
    volume: dict[str, yamltext.Data] = {"hostPath": {"path": path, "type": kind}, "name": free}
    document = _add(document, (*container, "volumeMounts"), mount)
    return _add(document, ("spec", "volumes"), volume)


def _volume_names(document: Document) -> set[str]:
    volumes = document.data(("spec", "volumes"))
    return {str(one.get("name")) for one in volumes if isinstance(one, dict)} if isinstance(volumes, list) else set()


def _add(document: Document, path: yamltext.Path, value: yamltext.Data) -> Document:
    node = document.node(path)
    if node is None:
        return yamltext.put(document, path[:-1], str(path[-1]), [value])
    if yamltext.is_null(node):
        return yamltext.replace(document, path, [value])
    return yamltext.append(document, path, value)
