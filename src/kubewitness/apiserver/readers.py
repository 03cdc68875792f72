"""
Read whatever says how a kube-apiserver is started, recognised by its content, into a Setup.

In comes a file's bytes: a static pod manifest, `ps` output or /proc/PID/cmdline, a kubeadm, kind, k3s, rke2, k0s or
Talos configuration, microk8s's file of arguments, or a minikube command line. Raises EditError with the line for what
is not understood.

What a distribution adds by itself (rke2 and Talos turn auditing on) is in `implied`, from their documentation.
"""

import re
import shlex
from dataclasses import replace

from kubewitness.apiserver import yamltext
from kubewitness.apiserver.setup import FlagText, Form, Mount, Setup, flags_of, normal
from kubewitness.apiserver.yamltext import Document, EditError, Node, Path

_VERSION = re.compile(r":v?(1\.\d+)(?:\.\d+)?(?:[-+].*)?$")
_PROGRAM = re.compile(r"(?:^|[\s/\0'\"])(?:kube-apiserver|hyperkube[\s\0]+(?:kube-)?apiserver)(?=[\s\0])")
# a quote opens where a word or a value begins: the one of `it's` is a letter
_WORD = re.compile(r"""(?:(?<![^\s=])(?:"[^"]*"|'[^']*')|\S)+""")
_EXTRA = re.compile(r"--extra-config[=\s]+['\"]?apiserver\.")
_TALOS_POLICY = "/system/config/kubernetes/kube-apiserver/auditpolicy.yaml"
_ROTATION = (("audit-log-maxage", "30"), ("audit-log-maxbackup", "10"), ("audit-log-maxsize", "100"))
RKE2_LOG = "/var/lib/rancher/rke2/server/logs/audit.log"
SNAP_VARIABLES = {"SNAP_DATA": "/var/snap/microk8s/current", "SNAP_COMMON": "/var/snap/microk8s/common"}
TALOS_LOG = "/var/log/audit/kube/kube-apiserver.log"


def read_setup(data: bytes, file: str) -> Setup:
    """Read a description of a server. Raises EditError."""
    text = data.decode("utf-8", "replace")
    first = next((line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    if _EXTRA.search(text) and not first.startswith(("apiVersion", "kind", "{")):
        return _minikube(text, file)
    if first.startswith("--"):
        return _arguments(text, file)
    if _PROGRAM.search(first) or "\0--" in text or re.match(r"(UID|USER|PID|F)\s|\[Unit\]|\[Service\]", first):
        return _process(text, file)
    documents = yamltext.read_all(data)
    ours = [document for document in documents if _says_something(document)]
    return _configuration((ours or documents)[0], file)


def _says_something(document: Document) -> bool:
    """Say whether a document of several is about a kube-apiserver."""
    kinds = ("Pod", "ClusterConfiguration", "Cluster", "ClusterConfig")
    has_server = document.node(("cluster", "apiServer")) is not None or document.node(("machine",)) is not None
    return document.text_at(("kind",)) in kinds or has_server


def _configuration(document: Document, file: str) -> Setup:
    if document.root.id != "mapping":
        raise EditError("not recognised: neither a manifest, a configuration, `ps` output nor flags of kube-apiserver")
    kind, group = document.text_at(("kind",)) or "", document.text_at(("apiVersion",)) or ""
    if kind == "Pod":
        return pod(document, file)
    if kind == "ClusterConfiguration" and "kubeadm" in group:
        return _kubeadm(document, file, ("apiServer",), Form.KUBEADM)
    if kind == "Cluster" and "kind.x-k8s.io" in group:
        return _kind(document, file)
    if kind == "ClusterConfig" and "k0s" in group:
        return _map_form(document, file, ("spec", "api", "extraArgs"), Form.K0S)
    if document.node(("cluster",)) is not None or document.node(("machine",)) is not None:
        return _talos(document, file)
    if not kind and not group:
        return _rancher(document, file)
    said = f"{group} {kind}".strip()
    raise EditError(f"{said} says nothing of a kube-apiserver: expected a Pod or a distribution's configuration")


# -- static pod ------------------------------------------------------------------------------------------------------


def container_of(document: Document) -> Path:
    """Give the path of the container that runs kube-apiserver. Raises EditError."""
    containers = document.node(("spec", "containers"))
    if containers is None or containers.id != "sequence" or not containers.value:
        raise EditError("spec.containers must be a list that is not empty", document.line(("spec", "containers")))
    paths: list[Path] = [("spec", "containers", index) for index in range(len(containers.value))]
    for path in paths:
        words = [word for name in ("command", "args") for word, *_ in _words(document, (*path, name))]
        if document.text_at((*path, "name")) == "kube-apiserver" or any("kube-apiserver" in word for word in words[:3]):
            return path
    raise EditError("no container of this pod runs kube-apiserver", document.line(("spec", "containers")))


def flag_list(document: Document, container: Path) -> Path:
    """Give the path of the list that holds the flags: args where there are some, else command. Raises EditError."""
    for name in ("args", "command"):
        node = document.node((*container, name))
        if node is None or yamltext.is_null(node):
            continue
        if node.id != "sequence":
            raise EditError(f"{name} must be a list", node.start_mark.line + 1)
        if node.value:
            return (*container, name)
    raise EditError(
        "the container has neither command nor args: its flags are inside the image", document.line(container)
    )


def pod(document: Document, file: str) -> Setup:
    """Read a static pod manifest. Raises EditError."""
    container = container_of(document)
    words = [word for name in ("command", "args") for word in _words(document, (*container, name))]
    image = document.text_at((*container, "image")) or ""
    version = _VERSION.search(image)
    network = document.text_at(("spec", "hostNetwork")) or ""
    users = [document.text_at((*at, "securityContext", "runAsUser")) for at in (container, ("spec",))]
    user = next((one for one in users if one), "")
    return Setup(
        Form.POD,
        file,
        flags_of(_unshelled(words)),
        flags_line=document.line(flag_list(document, container)) if words else document.line(container),
        mounts=_mounts(document, container),
        version=version[1] if version else "",
        is_host_network=network.lower() in ("true", "yes", "on"),
        uses_cluster_dns=document.text_at(("spec", "dnsPolicy")) == "ClusterFirstWithHostNet",
        run_as=int(user) if user.isdecimal() and len(user) < _LONG_NUMBER else None,
    )


_LONG_NUMBER = 12
_Word = tuple[str, int, int, Path]


def _words(document: Document, path: Path) -> list[_Word]:
    node = document.node(path)
    if node is None or yamltext.is_null(node):
        return []
    if node.id != "sequence":
        raise EditError(f"{path[-1]} must be a list", node.start_mark.line + 1)
    words: list[_Word] = []
    for index, item in enumerate(node.value):
        if item.id != "scalar":
            raise EditError(f"{path[-1]}[{index}] must be text", item.start_mark.line + 1)
        words.append((item.value, item.start_mark.line + 1, item.start_mark.column + 1, (*path, index)))
    return words


def is_shell(words: list[str]) -> bool:
    """Say whether a command is a line for a shell, which only a shell reads right."""
    return any(word == "-c" or re.fullmatch(r"-[a-z]*c", word) for word in words[1:3]) and len(words) > 2


def _unshelled(words: list[_Word]) -> list[_Word]:
    """Give the words of `sh -c 'kube-apiserver --flag'` as if there were no shell."""
    if not is_shell([word for word, *_ in words]):
        return words
    out: list[_Word] = []
    for text, line, column, path in words:
        for row, part in enumerate(text.split("\n")):
            try:
                split = shlex.split(part.rstrip("\\"), comments=True)
            except ValueError:
                split = part.split()
            out += [(word, line + row, column, path) for word in split]
    return out


def _mounts(document: Document, container: Path) -> tuple[Mount, ...]:
    volumes = _volumes(document)
    mounts = []
    for path in _items(document, (*container, "volumeMounts")):
        name = document.text_at((*path, "name")) or ""
        kind, host, host_type, volume_line = volumes.get(name, ("none", "", "", document.line(path)))
        read_only = (document.text_at((*path, "readOnly")) or "").lower() in ("true", "yes", "on")
        mounts.append(
            Mount(
                normal(document.text_at((*path, "mountPath")) or ""),
                host,
                name,
                kind,
                host_type,
                read_only,
                document.text_at((*path, "subPath")) or "",
                document.line(path),
                volume_line,
            )
        )
    return tuple(mounts)


def _volumes(document: Document) -> dict[str, tuple[str, str, str, int]]:
    volumes = {}
    for path in _items(document, ("spec", "volumes")):
        node = document.node(path)
        names = [key.value for key, _ in node.value] if node is not None and node.id == "mapping" else []
        kind = next((name for name in names if name != "name"), "none")
        host = document.text_at((*path, "hostPath", "path")) or ""
        host_type = document.text_at((*path, "hostPath", "type")) or ""
        volumes[document.text_at((*path, "name")) or ""] = (kind, host, host_type, document.line(path))
    return volumes


def _items(document: Document, path: Path) -> list[Path]:
    node = document.node(path)
    if node is None or yamltext.is_null(node):
        return []
    if node.id != "sequence" or any(item.id != "mapping" for item in node.value):
        raise EditError(f"{path[-1]} must be a list of objects", node.start_mark.line + 1)
    return [(*path, index) for index in range(len(node.value))]


# -- other forms -----------------------------------------------------------------------------------------------------


def map_flags(document: Document, path: Path) -> tuple[FlagText, ...]:
    """Read flags that stand as an object (name: value) or, as kubeadm's v1beta4 has them, a list of name and value."""
    node = document.node(path)
    if node is None or yamltext.is_null(node):
        return ()
    if node.id == "mapping":
        return tuple(_map_flag(key, value, path) for key, value in node.value)
    flags = []
    for item in _items(document, path):
        name = document.text_at((*item, "name")) or ""
        value = document.text_at((*item, "value"))
        flags.append(FlagText(name, value, document.line(item), document.column(item), (*item, "value")))
    return tuple(flags)


def _map_flag(key: Node, value: Node, path: Path) -> FlagText:
    line, column = key.start_mark.line + 1, key.start_mark.column + 1
    if value.id != "scalar":
        raise EditError(f"{key.value} must be text", line)
    return FlagText(str(key.value), str(value.value), line, column, (*path, str(key.value)))


def _map_form(document: Document, file: str, path: Path, form: Form) -> Setup:
    return Setup(form, file, map_flags(document, path), flags_line=document.line(path))


def _kubeadm(document: Document, file: str, at: Path, form: Form) -> Setup:
    mounts = [_extra_volume(document, path) for path in _items(document, (*at, "extraVolumes"))]
    version = _VERSION.search(":" + (document.text_at(("kubernetesVersion",)) or ""))
    return Setup(
        form,
        file,
        map_flags(document, (*at, "extraArgs")),
        flags_line=document.line((*at, "extraArgs")),
        mounts=(*mounts, Mount("/etc/kubernetes/pki", "/etc/kubernetes/pki", "k8s-certs", is_read_only=True)),
        version=version[1] if version else "",
    )


def _extra_volume(document: Document, path: Path) -> Mount:
    return Mount(
        normal(document.text_at((*path, "mountPath")) or ""),
        document.text_at((*path, "hostPath")) or "",
        document.text_at((*path, "name")) or "",
        host_type=document.text_at((*path, "pathType")) or "",
        is_read_only=(document.text_at((*path, "readOnly")) or "").lower() == "true",
        line=document.line(path),
        volume_line=document.line(path),
    )


def patches_of(document: Document) -> list[tuple[Path, Document]]:
    """Give the kubeadm patches of a kind configuration that are about the API server, with their places."""
    found = []
    nodes = [("nodes", index) for index in range(len(_items(document, ("nodes",))))]
    for at in [(), *nodes]:
        path: Path = (*at, "kubeadmConfigPatches")
        for text, line, _, place in _words(document, path):
            try:
                patch = yamltext.read(text)
            except EditError as exc:
                raise EditError(f"kubeadmConfigPatches: {exc}", line + exc.line) from exc
            if patch.text_at(("kind",)) == "ClusterConfiguration":
                found.append((place, patch))
    return found


def _kind(document: Document, file: str) -> Setup:
    setup = Setup(Form.KIND, file, (), flags_line=document.line(("nodes",)), mounts=())
    for place, patch in patches_of(document):
        node = document.node(place)
        is_literal = getattr(node, "style", None) in ("|", ">")
        offset = document.line(place) - (0 if is_literal else 1)
        one = _kubeadm(patch, file, ("apiServer",), Form.KIND)
        flags = tuple(replace(flag, line=flag.line + offset) for flag in one.flags)
        mounts = [
            replace(mount, line=mount.line + offset, volume_line=mount.volume_line + offset)
            for mount in one.mounts or ()
        ]
        extra = [
            (normal(document.text_at((*path, "containerPath")) or ""), document.text_at((*path, "hostPath")) or "")
            for index in range(len(_items(document, ("nodes",))))
            for path in _items(document, ("nodes", index, "extraMounts"))
        ]
        setup = replace(
            setup,
            flags=(*setup.flags, *flags),
            mounts=(*(setup.mounts or ()), *(_through(mount, extra) for mount in mounts)),
            flags_line=one.flags_line + offset,
        )
    return setup


def _through(mount: Mount, extra: list[tuple[str, str]]) -> Mount:
    """Follow a path of the node to the machine, where the node has it mounted from there."""
    for inside, outside in extra:
        if normal(mount.host) == inside:
            return replace(mount, host=outside)
    return mount


def _rancher(document: Document, file: str) -> Setup:
    node = document.node(("kube-apiserver-arg",))
    words: list[_Word] = []
    if node is not None and node.id == "sequence":
        words = _words(document, ("kube-apiserver-arg",))
    elif node is not None and isinstance(node.value, str) and not yamltext.is_null(node):
        words = [(node.value, node.start_mark.line + 1, node.start_mark.column + 1, ("kube-apiserver-arg",))]
    flags = flags_of([("--" + word.removeprefix("--"), line, column, path) for word, line, column, path in words])
    policy = document.text_at(("audit-policy-file",))
    is_rke2 = policy is not None or "rke2" in file
    if policy is not None:
        at: Path = ("audit-policy-file",)
        flags = (FlagText("audit-policy-file", policy, document.line(at), document.column(at), at), *flags)
    implied = (FlagText("audit-log-path", RKE2_LOG, 1), *_rotation()) if is_rke2 else ()
    return Setup(Form.RANCHER, file, flags, flags_line=document.line(("kube-apiserver-arg",)), implied=implied)


def _talos(document: Document, file: str) -> Setup:
    policy = document.node(("cluster", "apiServer", "auditPolicy"))
    text = ""
    if policy is not None and policy.id == "mapping" and policy.value:
        text = yamltext.dump(document.data(("cluster", "apiServer", "auditPolicy")))
    at: Path = ("cluster", "apiServer", "extraArgs")
    implied = (
        FlagText("audit-policy-file", _TALOS_POLICY, document.line(at)),
        FlagText("audit-log-path", TALOS_LOG, document.line(at)),
        *_rotation(),
    )
    setup = _map_form(document, file, at, Form.TALOS)
    line = document.line(("cluster", "apiServer", "auditPolicy"))
    return replace(setup, implied=implied, inline_policy=text, inline_policy_line=line)


def _rotation() -> tuple[FlagText, ...]:
    return tuple(FlagText(name, value, 1) for name, value in _ROTATION)


def _arguments(text: str, file: str) -> Setup:
    words: list[_Word] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            words.append((_unquoted(stripped), number, line.index(stripped[0]) + 1, ()))
    return Setup(Form.ARGS, file, flags_of(words), flags_line=max(len(text.splitlines()), 1))


def _unquoted(word: str) -> str:
    """Give an argument as microk8s reads it: quotes gone, its two variables filled in."""
    for variable, path in SNAP_VARIABLES.items():
        word = word.replace("${" + variable + "}", path).replace("$" + variable, path)
    return word.replace('"', "").replace("'", "")


def _minikube(text: str, file: str) -> Setup:
    words: list[_Word] = []
    joined = re.sub(r"\\\n", "  ", text)
    try:
        split = shlex.split(joined, comments=True)
    except ValueError as exc:
        raise EditError(f"this is no command line: {exc}") from exc
    split = [word.removeprefix("--extra-config=") for word in split]
    for word in split:
        if word.startswith("apiserver."):
            line = text.count("\n", 0, max(text.find(word), 0)) + 1
            words.append(("--" + word.removeprefix("apiserver."), line, 1, ()))
    return Setup(Form.MINIKUBE, file, flags_of(words), mounts=_MINIKUBE_MOUNTS)


_MINIKUBE_MOUNTS = (
    Mount("/etc/ssl/certs", "/etc/ssl/certs", "ca-certs", is_read_only=True),
    Mount("/var/lib/minikube/certs", "/var/lib/minikube/certs", "k8s-certs", is_read_only=True),
)


def _placed(text: str, offset: int, word: str) -> _Word:
    line_start = text.rfind("\n", 0, offset) + 1
    return word.replace('"', "").replace("'", ""), text.count("\n", 0, offset) + 1, offset - line_start + 1, ()


def _process(text: str, file: str) -> Setup:
    """Read `ps` output or /proc/PID/cmdline: the one line that starts a kube-apiserver."""
    if "\0" in text:
        words = [(word, 1, 1, ()) for word in text.rstrip("\0\n").split("\0")]
        return Setup(Form.PS, file, flags_of(words))
    joined = text.replace("\\\n", "  ")  # of the same length: offsets stay those of the text
    for line in re.finditer(r"[^\n]+", joined):
        found = _PROGRAM.search(line[0])
        if found and re.match(r"\s+--", line[0][found.end() :]):
            start = line.start() + found.end()
            placed = [_placed(text, start + m.start(), m[0]) for m in _WORD.finditer(line[0][found.end() :])]
            return Setup(Form.PS, file, flags_of(placed), flags_line=placed[-1][1])
    raise EditError("no line of this starts a kube-apiserver with flags")
