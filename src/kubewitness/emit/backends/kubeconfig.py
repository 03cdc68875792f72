"""
Read the kubeconfig of a webhook: where it is, how it proves itself, how we prove ourselves.

`read(path)` gives a Target or raises KubeconfigError, whose text is kube-apiserver's and whose `problems` name the
fields. Files that the kubeconfig names are looked for beside it, and are read now to see that they can be; tokens and
client certificates are read again when they are used (`credentials`).

Follows k8s.io/client-go/tools/clientcmd: validation.go, client_config.go, and DefaultServerURL of rest. Differs:
proxies that are not spoken to over HTTP (`socks5`, `https`) and auth-provider are refused when the server starts.
"""

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kubewitness.emit.backends.log import reason_of
from kubewitness.policy import yaml11
from kubewitness.policy.gotext import quote
from kubewitness.policy.tree import GoError, Kind, Value

NO_CONFIGURATION = "no configuration has been provided, try setting KUBERNETES_MASTER environment variable"
_EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_EXEC_MODES = ("Never", "IfAvailable", "Always")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: kube-apiserver's sentence, and the field it is about."""

    message: str
    field: str


class KubeconfigError(Exception):
    """A kubeconfig that no webhook can be made of. The text is kube-apiserver's."""

    def __init__(self, message: str, path: Path, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.path = path
        self.problems = problems


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A program that gives credentials."""

    command: str
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    api_version: str
    provides_cluster: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook is and how to speak to it. PEM texts are bytes; empty means: not given."""

    scheme: str
    host: str
    port: int
    path: str
    ca: bytes = b""
    is_insecure: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    client_certificate: bytes = b""
    client_key: bytes = field(default=b"", repr=False)
    client_certificate_file: Path | None = None
    client_key_file: Path | None = None
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    exec_plugin: ExecPlugin | None = None

    @property
    def url(self) -> str:
        """The address as it stands in messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == (443 if self.scheme == "https" else 80) else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}?timeout=30s"


def read(path: Path) -> Target:
    """Read the file. Raises KubeconfigError."""
    try:
        path.stat()
        text = path.read_bytes()
    except OSError as exc:
        raise KubeconfigError(f"stat {path}: {reason_of(exc)}", path) from exc
    try:
        root = yaml11.decode(text).value
    except GoError as exc:
        raise KubeconfigError(f"error loading config file {quote(str(path))}: {exc}", path) from exc
    try:
        return _Reader(path, root).target()
    except _WrongTypeError as exc:
        message, where = exc.args
        told = f"error loading config file {quote(str(path))}: {message}"
        raise KubeconfigError(told, path, (Problem(message, where),)) from exc


class _WrongTypeError(Exception):
    """Something else stands where text is wanted: what Go says, and the field."""


class _Node:
    """A member of the document and the path by which a person finds it; whatever is not there is empty."""

    def __init__(self, value: Value | None, where: str) -> None:
        self._value = value
        self.where = where

    def __bool__(self) -> bool:
        value = self._value
        return value is not None and value.kind is not Kind.NULL and bool(value.text or value.members or value.items)

    def at(self, name: str) -> "_Node":
        is_object = self._value is not None and self._value.kind is Kind.OBJECT
        found = self._value.get(name) if is_object and self._value is not None else None
        return _Node(found, f"{self.where}.{name}" if self.where else name)

    def items(self) -> "list[_Node]":
        if self._value is None or self._value.kind is not Kind.ARRAY:
            return []
        return [_Node(item, f"{self.where}[{number}]") for number, item in enumerate(self._value.items)]

    @property
    def text(self) -> str:
        """The text; empty when there is nothing. Raises _WrongTypeError: an unquoted `y` or 123 is no text."""
        value = self._value
        if value is None or value.kind is Kind.NULL:
            return ""
        if value.kind is not Kind.STRING:
            raise _WrongTypeError(f"json: cannot unmarshal {value.kind.value} into Go value of type string", self.where)
        return value.text

    @property
    def is_true(self) -> bool:
        return self._value is not None and self._value.kind is Kind.BOOL and self._value.text == "true"

    def named(self, name: str) -> "_Node":
        """Give the entry of a list of named things; the last of several with the name, as in Go's map."""
        found = [item for item in self.items() if item.at("name").text == name]
        return found[-1] if found else _Node(None, f"{self.where}[{name}]")


class _Reader:
    """Reads one document, gathering what is wrong with it."""

    def __init__(self, path: Path, root: Value) -> None:
        self._path = path
        self._root = _Node(root, "")
        self._problems: list[Problem] = []

    def target(self) -> Target:
        current = self._root.at("current-context")
        context = self._root.at("contexts").named(current.text)
        if current.text and not context:
            message = f"context was not found for specified context: {current.text}"
            raise KubeconfigError(message, self._path, (Problem(message, current.where),))
        # without a context client-go still takes a cluster or user whose name is empty: nobody has one
        cluster_name, user_name = context.at("context").at("cluster"), context.at("context").at("user")
        user = self._root.at("users").named(user_name.text).at("user")
        cluster = self._root.at("clusters").named(cluster_name.text).at("cluster")
        if not cluster:
            where = cluster_name.where if current.text else current.where
            self._refuse(Problem(NO_CONFIGURATION, where))
        members = {**self._user(user, user_name.text), **self._cluster(cluster, cluster_name.text)}
        if self._problems:
            self._refuse(*self._problems)
        return self._placed(cluster, members)

    def _refuse(self, *problems: Problem) -> None:
        texts = list(dict.fromkeys(problem.message for problem in problems))
        text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        raise KubeconfigError(f"invalid configuration: {text}", self._path, problems)

    def _wrong(self, message: str, node: _Node) -> None:
        self._problems.append(Problem(message, node.where))

    def _file(self, node: _Node) -> Path | None:
        return self._path.parent / node.text if node.text else None

    def _data(self, node: _Node) -> bytes:
        try:
            return base64.b64decode(node.text, validate=True)
        except (binascii.Error, ValueError):
            self._wrong(f"{node.where}: illegal base64 data", node)
            return b""

    def _contents(self, node: _Node, what: str, name: str) -> bytes:
        """Read a file that the kubeconfig names, to see now that it can be read."""
        path = self._file(node)
        if path is None:
            return b""
        try:
            return path.read_bytes()
        except OSError as exc:
            self._wrong(f"unable to read {what} {path} for {name} due to open {path}: {reason_of(exc)}", node)
            return b""

    def _cluster(self, cluster: _Node, name: str) -> dict[str, object]:
        authority, data = cluster.at("certificate-authority"), cluster.at("certificate-authority-data")
        if not cluster.at("server").text:
            self._wrong(f"no server found for cluster {quote(name)}", cluster.at("server"))
        if authority and data:
            self._wrong(
                f"certificate-authority-data and certificate-authority are both specified for {name}. "
                "certificate-authority-data will override.",
                data,
            )
        ca = self._data(data) if data else self._contents(authority, "certificate-authority", name)
        is_insecure = cluster.at("insecure-skip-tls-verify").is_true
        if is_insecure and (authority or data):
            message = "specifying a root certificates file with the insecure flag is not allowed"
            self._wrong(message, cluster.at("insecure-skip-tls-verify"))
        proxy = cluster.at("proxy-url")
        if proxy and urlsplit(proxy.text).scheme != "http":
            message = (
                f"invalid 'proxy-url' {quote(proxy.text)} for cluster {quote(name)}: only http proxies are spoken to"
            )
            self._wrong(message, proxy)
        return {
            "ca": ca,
            "is_insecure": is_insecure,
            "tls_server_name": cluster.at("tls-server-name").text,
            "proxy_url": proxy.text,
        }

    def _user(self, user: _Node, name: str) -> dict[str, object]:
        plugin = self._exec(user.at("exec"), name)
        methods = [
            method
            for method, is_there in (
                ("token", user.at("token") or user.at("tokenFile")),
                ("basicAuth", user.at("username") or user.at("password")),
            )
            if is_there
        ]
        if len(methods) > 1:
            found = f"[{' '.join(methods)}]"
            message = f"more than one authentication method found for {name}; found {found}, only one is allowed"
            self._wrong(message, user)
        if user.at("auth-provider"):
            provider = user.at("auth-provider").at("name").text
            self._wrong(f"no Auth Provider found for name {quote(provider)}", user.at("auth-provider"))
        token_file = user.at("tokenFile")
        if token_file:
            self._contents(token_file, "token file", name)
        return {
            **self._certificate(user, name),
            "token": user.at("token").text,
            "token_file": self._file(token_file),
            "username": user.at("username").text,
            "password": user.at("password").text,
            "exec_plugin": plugin,
        }

    def _certificate(self, user: _Node, name: str) -> dict[str, object]:
        certificate, certificate_data = user.at("client-certificate"), user.at("client-certificate-data")
        key, key_data = user.at("client-key"), user.at("client-key-data")
        if not (certificate or certificate_data):
            return {}
        if certificate and certificate_data:
            self._wrong(
                f"client-cert-data and client-cert are both specified for {name}. client-cert-data will override.",
                certificate_data,
            )
        if key and key_data:
            self._wrong(
                f"client-key-data and client-key are both specified for {name}; client-key-data will override", key_data
            )
        if not (key or key_data):
            message = f"client-key-data or client-key must be specified for {name} to use the clientCert"
            self._wrong(f"{message} authentication method.", key)
        found = self._data(certificate_data) if certificate_data else self._contents(certificate, "client-cert", name)
        found_key = self._data(key_data) if key_data else self._contents(key, "client-key", name)
        return {
            "client_certificate": found,
            "client_key": found_key,
            "client_certificate_file": None if certificate_data else self._file(certificate),
            "client_key_file": None if key_data else self._file(key),
        }

    def _exec(self, plugin: _Node, name: str) -> ExecPlugin | None:
        if not plugin:
            return None
        command, version, mode = plugin.at("command"), plugin.at("apiVersion"), plugin.at("interactiveMode")
        if not command.text:
            self._wrong(f"command must be specified for {name} to use exec authentication plugin", command)
        if not version.text:
            self._wrong(f"apiVersion must be specified for {name} to use exec authentication plugin", version)
        elif version.text not in _EXEC_VERSIONS:
            self._wrong(f"exec plugin: invalid apiVersion {quote(version.text)}", version)
        if mode.text not in _EXEC_MODES and (mode.text or version.text == _EXEC_VERSIONS[0]):
            message = f"invalid interactiveMode for {name}: {quote(mode.text)}"
            missing = f"interactiveMode must be specified for {name} to use exec authentication plugin"
            self._wrong(message if mode.text else missing, mode)
        for variable in plugin.at("env").items():
            if not variable.at("name").text:
                self._wrong(
                    f"env variable name must be specified for {name} to use exec authentication plugin", variable
                )
        program = command.text
        # as client-go: a name is looked for in PATH, a relative path beside the kubeconfig
        if "/" in program and not program.startswith("/"):
            program = str(self._path.parent / program)
        return ExecPlugin(
            program,
            tuple(argument.text for argument in plugin.at("args").items()),
            tuple((each.at("name").text, each.at("value").text) for each in plugin.at("env").items()),
            version.text,
            plugin.at("provideClusterInfo").is_true,
        )

    def _placed(self, cluster: _Node, members: dict[str, object]) -> Target:
        server = cluster.at("server")
        is_tls = bool(members["ca"] or members["is_insecure"] or members.get("client_certificate"))
        text = server.text if "://" in server.text else f"{'https' if is_tls else 'http'}://{server.text}"
        try:
            parts = urlsplit(text)
            port, host = parts.port, parts.hostname
        except ValueError:
            port, host, parts = None, None, urlsplit("")
        if not host or parts.scheme not in ("http", "https"):
            message = f"host must be a URL or a host:port pair: {quote(server.text)}"
            raise KubeconfigError(message, self._path, (Problem(message, server.where),))
        default = 443 if parts.scheme == "https" else 80
        # the query of the URL is dropped, as kube-apiserver drops it
        return Target(parts.scheme, unquote(host), port or default, parts.path or "/", **members)  # type: ignore[arg-type]
