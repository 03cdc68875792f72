"""
How a kube-apiserver is set up, as far as auditing goes: flags with their places, mounts, version.

`readers` makes a Setup of whatever describes a server (a static pod, a process list, a distribution's configuration);
the checks read it. Pure data and path arithmetic: nothing here opens a file.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubewitness.emit.backends import options


class Form(enum.Enum):
    """What describes the server, and how a flag is written there."""

    POD = "static pod manifest"
    PS = "command line"
    KUBEADM = "kubeadm ClusterConfiguration"
    KIND = "kind cluster configuration"
    RANCHER = "k3s or rke2 configuration"
    K0S = "k0s configuration"
    TALOS = "Talos machine configuration"
    ARGS = "file of arguments"
    MINIKUBE = "minikube command line"

    def paste(self, name: str, value: str) -> str:
        """Write the flag as it stands in this form."""
        match self:
            case Form.POD:
                return f"- --{name}={value}"
            case Form.RANCHER:
                return f'- "{name}={value}"'
            case Form.K0S | Form.TALOS | Form.KIND:
                return f'{name}: "{value}"'
            case Form.KUBEADM:
                return f'- {{name: {name}, value: "{value}"}}'
            case Form.MINIKUBE:
                return f"--extra-config=apiserver.{name}={value}"
            case _:
                return f"--{name}={value}"


@dataclass(frozen=True, slots=True)
class FlagText:
    """One flag as it is stated. `value` None: stated without one. `path`: where the text stands in the document."""

    name: str
    value: str | None
    line: int
    column: int = 1
    path: tuple[str | int, ...] = ()

    def argument(self) -> str:
        """Write it as one word of a command line."""
        return f"--{self.name}" if self.value is None else f"--{self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of the server's container. `host` empty: not a path of the host (an emptyDir, a ConfigMap...)."""

    path: str
    host: str
    volume: str
    kind: str = "hostPath"
    host_type: str = ""
    is_read_only: bool = False
    sub_path: str = ""
    line: int = 1
    volume_line: int = 1


@dataclass(frozen=True, slots=True)
class Setup:
    """What is known of one server. `mounts` None: it sees the host's paths as they are."""

    form: Form
    file: str
    flags: tuple[FlagText, ...]
    flags_line: int = 1
    mounts: tuple[Mount, ...] | None = None
    version: str = ""
    is_host_network: bool = True
    uses_cluster_dns: bool = False
    run_as: int | None = None
    inline_policy: str = ""
    inline_policy_line: int = 1
    implied: tuple[FlagText, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def arguments(self) -> list[str]:
        """Give the audit flags as a command line, what the distribution adds first."""
        return [flag.argument() for flag in (*self.implied, *self.flags) if flag.name.startswith("audit-")]

    def flag(self, name: str) -> FlagText | None:
        """Give a flag by its name or its alias; of several the last, as the server takes it."""
        wanted = options.BY_NAME.get(name)
        names = {name} if wanted is None else {wanted.name, wanted.alias}
        return next((flag for flag in reversed((*self.implied, *self.flags)) if flag.name in names), None)

    def place(self, name: str) -> tuple[int, int]:
        """Give line and column of a flag, or of where it would be written."""
        flag = self.flag(name)
        return (self.flags_line, 1) if flag is None else (flag.line, flag.column)

    def mount_of(self, path: str) -> Mount | None:
        """Give the mount that a path of the server lies in: the deepest."""
        found = [mount for mount in self.mounts or () if is_within(path, mount.path)]
        return max(found, key=lambda mount: len(mount.path.rstrip("/")), default=None)

    def host_path(self, path: str) -> str | None:
        """Give the path of the host behind a path of the server; None when there is none."""
        if self.mounts is None:
            return path
        mount = self.mount_of(path)
        return None if mount is None or not mount.host else behind(mount, path)


def uid_of(passwd: bytes | None, name: str) -> int | None:
    """Find a user's number in the text of an /etc/passwd."""
    for line in (passwd or b"").decode("utf-8", "replace").splitlines():
        parts = line.split(":")
        if len(parts) > 2 and parts[0] == name and parts[2].isdecimal():
            return int(parts[2])
    return None


def behind(mount: Mount, path: str) -> str:
    """Give the path of the host that a path within this mount names."""
    rest = normal(path)[len(normal(mount.path)) :].strip("/")
    parts = [mount.host.rstrip("/"), mount.sub_path.strip("/"), rest]
    return "/".join(part for part in parts if part) or "/"


def is_within(path: str, directory: str) -> bool:
    """Say whether a path is this directory or lies under it."""
    path, directory = normal(path), normal(directory)
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def normal(path: str) -> str:
    """Give a path without doubled, dotted and trailing parts, as text alone: links are not followed."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return ("/" if path.startswith("/") else "") + "/".join(parts)


def directory_of(path: str) -> str:
    """Give the directory that a path lies in."""
    return normal(path).rpartition("/")[0] or "/"


def flags_of(words: Sequence[tuple[str, int, int, tuple[str | int, ...]]]) -> tuple[FlagText, ...]:
    """Read a command line: words with line, column and path. A value may be the word that follows its flag."""
    flags: list[FlagText] = []
    rest = iter(words)
    for word, line, column, path in rest:
        if not word.startswith("--") or word == "--":
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("_", "-")
        known = options.BY_NAME.get(name)
        if equals:
            flags.append(FlagText(name, value, line, column, path))
        elif known is None or known.kind == "bool":
            flags.append(FlagText(name, None, line, column, path))
        else:
            following = next(rest, None)
            if following is None:
                flags.append(FlagText(name, None, line, column, path))
            else:
                flags.append(FlagText(name, following[0], line, column, following[3]))
    return tuple(flags)
