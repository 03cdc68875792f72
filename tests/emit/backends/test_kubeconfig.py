"""A kubeconfig leads to its receiver by every kind of credential, or is refused with file and field."""

# ruff: noqa: E501, ISC004

import base64
import datetime as dt
import json
import os
import sys
from pathlib import Path

import pytest

from kubewitness.emit.backends import kubeconfig
from kubewitness.emit.backends.build import StartError, webhook_backend
from kubewitness.emit.backends.credentials import Credentials
from kubewitness.emit.backends.kubeconfig import KubeconfigError
from kubewitness.emit.backends.options import parse
from kubewitness.emit.backends.post import Poster, PostError
from kubewitness.emit.metrics import Metrics
from tests.emit.backends.receiver import receiving
from tests.toyapi.process import certificate


def config(tmp_path: Path, cluster: str = "{server: 'https://h/'}", user: str = "{}", context: str = "c") -> Path:
    path = tmp_path / "webhook.yaml"
    path.write_text(
        f"current-context: {context}\nclusters: [{{name: audit, cluster: {cluster}}}]\n"
        f"users: [{{name: me, user: {user}}}]\ncontexts: [{{name: c, context: {{cluster: audit, user: me}}}}]\n"
    )
    return path


NONE = "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable"


@pytest.mark.parametrize(
    ("cluster", "user", "context", "message", "field"),
    [
        ("{}", "{}", "c", NONE, "contexts[0].context.cluster"),
        ("{server: ''}", "{}", "c", 'invalid configuration: no server found for cluster "audit"', "clusters[0].cluster.server"),
        ("{server: h}", "{}", "d", "context was not found for specified context: d", "current-context"),
        ("{server: h}", "{}", "", NONE, "current-context"),
        (
            "{server: h, certificate-authority: /nope.crt}", "{}", "c",
            "invalid configuration: unable to read certificate-authority /nope.crt for audit due to open /nope.crt: "
            "no such file or directory",
            "clusters[0].cluster.certificate-authority",
        ),
        (
            "{server: h, certificate-authority: /dev/null, certificate-authority-data: eA==}", "{}", "c",
            "invalid configuration: certificate-authority-data and certificate-authority are both specified for audit. "
            "certificate-authority-data will override.",
            "clusters[0].cluster.certificate-authority-data",
        ),
        (
            "{server: h, certificate-authority-data: '!'}", "{}", "c",
            "invalid configuration: clusters[0].cluster.certificate-authority-data: illegal base64 data",
            "clusters[0].cluster.certificate-authority-data",
        ),
        (
            "{server: h, certificate-authority: /dev/stdin, insecure-skip-tls-verify: true}", "{}", "c",
            "invalid configuration: specifying a root certificates file with the insecure flag is not allowed",
            "clusters[0].cluster.insecure-skip-tls-verify",
        ),
        (
            "{server: h, proxy-url: 'socks5://p'}", "{}", "c",
            "invalid configuration: invalid 'proxy-url' \"socks5://p\" for cluster \"audit\": only http proxies are spoken to",
            "clusters[0].cluster.proxy-url",
        ),
        ("{server: 'ftp://h'}", "{}", "c", 'host must be a URL or a host:port pair: "ftp://h"', "clusters[0].cluster.server"),
        ("{server: 'h:99999999'}", "{}", "c", 'host must be a URL or a host:port pair: "h:99999999"', "clusters[0].cluster.server"),
        (
            "{server: h}", "{token: a, username: b}", "c",
            "invalid configuration: more than one authentication method found for me; found [token basicAuth], only one "
            "is allowed",
            "users[0].user",
        ),
        (
            "{server: h}", "{client-certificate: /dev/null}", "c",
            "invalid configuration: client-key-data or client-key must be specified for me to use the clientCert "
            "authentication method.",
            "users[0].user.client-key",
        ),
        (
            "{server: h}", "{client-certificate: /nope.crt, client-key: /dev/null}", "c",
            "invalid configuration: unable to read client-cert /nope.crt for me due to open /nope.crt: no such file or "
            "directory",
            "users[0].user.client-certificate",
        ),
        (
            "{server: h}", "{auth-provider: {name: gcp}}", "c",
            'invalid configuration: no Auth Provider found for name "gcp"',
            "users[0].user.auth-provider",
        ),
        (
            "{server: h}", "{tokenFile: /nope}", "c",
            "invalid configuration: unable to read token file /nope for me due to open /nope: no such file or directory",
            "users[0].user.tokenFile",
        ),
        (
            "{server: h}", "{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}}", "c",
            "invalid configuration: command must be specified for me to use exec authentication plugin",
            "users[0].user.exec.command",
        ),
        (
            "{server: h}", "{exec: {command: x, apiVersion: client.authentication.k8s.io/v1}}", "c",
            "invalid configuration: interactiveMode must be specified for me to use exec authentication plugin",
            "users[0].user.exec.interactiveMode",
        ),
        (
            "{server: h}", "{exec: {command: x, apiVersion: v9}}", "c",
            'invalid configuration: exec plugin: invalid apiVersion "v9"',
            "users[0].user.exec.apiVersion",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    tmp_path: Path, cluster: str, user: str, context: str, message: str, field: str
) -> None:
    """The sentence is kube-apiserver's; the field tells where to look."""
    path = config(tmp_path, cluster, user, context)
    with pytest.raises(KubeconfigError) as caught:
        kubeconfig.read(path)
    assert str(caught.value) == message
    assert (caught.value.path, caught.value.problems[0].field) == (path, field)


@pytest.mark.parametrize(
    ("text", "kind"), [("12345", "number"), ("yes", "bool"), ("[a]", "array"), ("{a: b}", "object")]
)
def test_what_is_no_text_is_refused(tmp_path: Path, text: str, kind: str) -> None:
    """A token of digits must be quoted, as in kube-apiserver: it would be lost otherwise."""
    path = config(tmp_path, "{server: h}", f"{{token: {text}}}")
    with pytest.raises(KubeconfigError) as caught:
        kubeconfig.read(path)
    assert str(caught.value) == (
        f'error loading config file "{path}": json: cannot unmarshal {kind} into Go value of type string'
    )
    assert caught.value.problems[0].field == "users[0].user.token"


def test_several_problems_are_told_together(tmp_path: Path) -> None:
    """Nobody has to mend them one by one."""
    path = config(tmp_path, "{server: ''}", "{token: a, password: b}")
    with pytest.raises(KubeconfigError) as caught:
        kubeconfig.read(path)
    assert str(caught.value).startswith("invalid configuration: [more than one authentication method found for me;")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "initializing audit webhook: stat {}: no such file or directory"),
        ("", f"initializing audit webhook: {NONE}"),
        (
            "a: [",
            'initializing audit webhook: error loading config file "{}": yaml: line 1: did not find expected node content',
        ),
    ],
)
def test_the_server_does_not_start_without(tmp_path: Path, text: str | None, message: str) -> None:
    """A missing, an empty and a broken file are refused when the server starts, in its words."""
    path = tmp_path / "nope.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StartError) as caught:
        webhook_backend(parse([f"--audit-webhook-config-file={path}"]), Metrics(), print)
    assert str(caught.value) == message.format(path)


@pytest.mark.parametrize(
    ("cluster", "user", "message"),
    [
        ("{server: 'https://h', certificate-authority: junk}", "{}", "unable to load root certificates"),
        (
            "{server: 'https://h', insecure-skip-tls-verify: true}",
            "{client-certificate: junk, client-key: junk}",
            "tls: failed to find a usable certificate and key",
        ),
    ],
)
def test_certificates_that_are_none_stop_the_server(tmp_path: Path, cluster: str, user: str, message: str) -> None:
    """Better now than at the first Event, which would be lost after five attempts."""
    (tmp_path / "junk").write_text("no PEM")
    with pytest.raises(StartError, match=message):
        webhook_backend(parse([f"--audit-webhook-config-file={config(tmp_path, cluster, user)}"]), Metrics(), print)


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("https://h", "https://h/?timeout=30s"),
        ("https://h:443/a/b?x=1", "https://h/a/b?timeout=30s"),
        ("http://h:8080", "http://h:8080/?timeout=30s"),
        ("h:8080/p", "http://h:8080/p?timeout=30s"),
        ("https://[::1]:9/", "https://[::1]:9/?timeout=30s"),
    ],
)
def test_addresses(tmp_path: Path, server: str, url: str) -> None:
    """The path is kept, the query dropped, an empty path is `/`, and without a scheme there is no TLS."""
    assert kubeconfig.read(config(tmp_path, f"{{server: '{server}'}}")).url == url


def test_client_certificates_from_files_and_from_data(tmp_path: Path) -> None:
    """A receiver that asks for one sees the certificate; a renewed file is shown on the next connection."""
    with receiving(tmp_path, asks_certificate=True) as receiver:
        cert, key = certificate(tmp_path, "client", "hook", (), tmp_path / "ca")
        data = [base64.b64encode(path.read_bytes()).decode() for path in (cert, key)]
        # file names are relative to the kubeconfig
        files = kubeconfig.read(receiver.kubeconfig(user="{client-certificate: client.crt, client-key: client.key}"))
        inline = kubeconfig.read(
            receiver.kubeconfig(user=f"{{client-certificate-data: {data[0]}, client-key-data: {data[1]}}}")
        )
        for target in (files, inline):
            poster = Poster(target)
            poster.post(b"{}")
            certificate(tmp_path, "client", "renewed", (), tmp_path / "ca")
            poster.post(b"{}")
            poster.close()
        names = [dict(part[0] for part in seen.certificate["subject"])["commonName"] for seen in receiver.seen]
        assert names == ["hook", "renewed", "hook", "hook"]
        bare = Poster(kubeconfig.read(receiver.kubeconfig()))
        with pytest.raises(PostError):
            bare.post(b"{}")


def test_trust(tmp_path: Path) -> None:
    """A CA from data, another name, no check at all; and a server nobody vouches for is refused."""
    with receiving(tmp_path) as receiver:
        ca = base64.b64encode((tmp_path / "ca.crt").read_bytes()).decode()
        for cluster in (
            f"certificate-authority-data: {ca}",
            f"certificate-authority-data: {ca}\ntls-server-name: localhost",
            "insecure-skip-tls-verify: true",
        ):
            poster = Poster(kubeconfig.read(receiver.kubeconfig(cluster=cluster)))
            assert poster.post(b"{}").code == 200
            poster.close()
        wrong = Poster(
            kubeconfig.read(receiver.kubeconfig(cluster=f"certificate-authority-data: {ca}\ntls-server-name: other"))
        )
        with pytest.raises(PostError, match="tls: failed to verify certificate: x509: hostname mismatch"):
            wrong.post(b"{}")
        # without a CA the system's are taken
        stranger = Poster(kubeconfig.read(receiver.kubeconfig(cluster="tls-server-name: localhost")))
        with pytest.raises(PostError, match="certificate signed by unknown authority"):
            stranger.post(b"{}")


def authorization(target: kubeconfig.Target) -> str:
    return Credentials(target).authorization()


def test_tokens_and_passwords(tmp_path: Path) -> None:
    """A token goes as Bearer, name and password as Basic; nothing is nothing."""
    assert authorization(kubeconfig.read(config(tmp_path, user="{token: abc}"))) == "Bearer abc"
    basic = authorization(kubeconfig.read(config(tmp_path, user="{username: u, password: 'p:ä'}")))
    assert base64.b64decode(basic.removeprefix("Basic ")).decode() == "u:p:ä"
    assert authorization(kubeconfig.read(config(tmp_path))) == ""


def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    """A rotated token is used after a minute, or at once when the old one was refused; a missing file keeps the old."""
    (tmp_path / "token").write_text("one\n")
    now = [0.0]
    credentials = Credentials(kubeconfig.read(config(tmp_path, user="{tokenFile: token}")), lambda: now[0])
    assert credentials.authorization() == "Bearer one"
    (tmp_path / "token").write_text("two")
    assert credentials.authorization() == "Bearer one"
    now[0] = 60
    assert credentials.authorization() == "Bearer two"
    (tmp_path / "token").write_text("three")
    credentials.refused()
    assert credentials.authorization() == "Bearer three"
    (tmp_path / "token").unlink()
    now[0] = 200
    assert credentials.authorization() == "Bearer three"


PLUGIN = """\
import json, os, sys
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
with open({calls!r}, "a") as calls:
    calls.write(json.dumps([info, sys.argv[1:], os.environ.get("EXTRA")]) + chr(10))
n = len(open({calls!r}).readlines())
status = {{"token": f"token-{{n}}", "expirationTimestamp": {expires!r}}}
print(json.dumps({{"kind": "ExecCredential", "apiVersion": {version!r}, "status": status}}))
"""
V1 = "client.authentication.k8s.io/v1"


def plugin(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "plugin"
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(0o700)
    spec = f"command: ./plugin, apiVersion: {V1}, interactiveMode: Never, args: [x, z], provideClusterInfo: true"
    return config(tmp_path, user=f"{{exec: {{{spec}, env: [{{name: EXTRA, value: e}}]}}}}")


def test_an_exec_plugin_gives_tokens_until_they_expire(tmp_path: Path) -> None:
    """It is told of the cluster, run once, run again after the expiry or a refusal."""
    calls = str(tmp_path / "calls")
    expires = dt.datetime.fromtimestamp(1_800_000_000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    path = plugin(tmp_path, PLUGIN.format(calls=calls, expires=expires, version=V1))
    now = [1_700_000_000.0]
    credentials = Credentials(kubeconfig.read(path), lambda: now[0])
    assert [credentials.authorization() for _ in range(2)] == ["Bearer token-1"] * 2
    credentials.refused()
    assert credentials.authorization() == "Bearer token-2"
    now[0] = 1_800_000_000.0
    assert credentials.authorization() == "Bearer token-3"
    info, arguments, extra = json.loads(Path(calls).read_text().splitlines()[0])
    assert (arguments, extra) == (["x", "z"], "e")
    assert info["spec"] == {"interactive": False, "cluster": {"server": "https://h/"}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import sys; print('bad day', file=sys.stderr); sys.exit(3)", "failed with exit code 3: bad day"),
        ("print('{')", "decoding stdout"),
        ("print('{}')", f"is configured to use API version {V1}, plugin returned version"),
        (f'print(\'{{"kind":"ExecCredential","apiVersion":"{V1}"}}\')', "didn't return a token or cert/key pair"),
    ],
)
def test_a_plugin_that_fails_is_a_failed_attempt(tmp_path: Path, body: str, message: str) -> None:
    """The reason names the program and what it said."""
    poster = Poster(kubeconfig.read(plugin(tmp_path, body)))
    with pytest.raises(PostError, match=message):
        poster.post(b"{}")


def test_a_plugin_that_is_not_there(tmp_path: Path) -> None:
    """The start succeeds, as in kube-apiserver; each attempt says what is missing."""
    path = plugin(tmp_path, "")
    (tmp_path / "plugin").unlink()
    with pytest.raises(PostError, match=r"exec: executable .*plugin not found"):
        Poster(kubeconfig.read(path)).post(b"{}")


def test_a_plugin_may_give_a_certificate(tmp_path: Path) -> None:
    """It is shown to the receiver in place of a token."""
    with receiving(tmp_path, asks_certificate=True) as receiver:
        cert, key = certificate(tmp_path, "given", "from-plugin", (), tmp_path / "ca")
        status = {"clientCertificateData": cert.read_text(), "clientKeyData": key.read_text()}
        answer = {"kind": "ExecCredential", "apiVersion": V1, "status": status}
        (tmp_path / "answer.json").write_text(json.dumps(answer))
        spec = f"command: cat, apiVersion: {V1}, interactiveMode: Never, args: [{tmp_path / 'answer.json'}]"
        poster = Poster(kubeconfig.read(receiver.kubeconfig(user=f"{{exec: {{{spec}}}}}")))
        assert poster.post(b"{}").code == 200
        poster.close()
        assert receiver.seen[0].certificate["subject"][0][0] == ("commonName", "from-plugin")


def test_http_goes_through_the_proxy_that_is_named(tmp_path: Path) -> None:
    """A plain-http receiver is asked for by its whole address, with the proxy's own credentials."""
    with receiving(tmp_path, tls=False) as proxy:
        cluster = f"proxy-url: 'http://me:secret@127.0.0.1:{proxy.port}'"
        path = proxy.kubeconfig(server="http://receiver.example", cluster=cluster)
        poster = Poster(kubeconfig.read(path))
        assert poster.post(b"{}").code == 200
        poster.close()
        (seen,) = proxy.seen
        assert seen.line == "POST http://receiver.example/k8s-audit?timeout=30s HTTP/1.1"
        headers = dict(seen.headers)
        assert headers["Host"] == "receiver.example"
        assert base64.b64decode(headers["Proxy-Authorization"].removeprefix("Basic ")) == b"me:secret"


def test_the_proxy_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken for receivers elsewhere, not for those it is told to leave, and never for ourselves."""
    with receiving(tmp_path, tls=False) as proxy:
        monkeypatch.setattr(os, "environ", {"http_proxy": proxy.url, "no_proxy": "near.example"})
        for server in ("http://far.example", proxy.url):
            poster = Poster(kubeconfig.read(proxy.kubeconfig(server=server, path="/")))
            assert poster.post(b"{}").code == 200
            poster.close()
        assert [seen.line.split()[1] for seen in proxy.seen] == ["http://far.example/?timeout=30s", "/?timeout=30s"]
        with pytest.raises(PostError, match=r"lookup near\.example: no such host"):
            Poster(kubeconfig.read(proxy.kubeconfig(server="http://near.example", path="/"))).post(b"{}")
