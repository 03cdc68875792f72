"""The configuration: what is right is read, what is wrong is named with file, line, field and what would be right."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.assembly.config import Config, admission, camel, parse_config, read_config
from kubewitness.assembly.yamlnodes import ConfigError, parse_address
from kubewitness.keep.receiver.limits import Limits
from kubewitness.keep.store.layout import DataDir, cluster_dir
from tests.assembly.serving import Site

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "reference" / "config.md").read_text("utf-8")
GOOD = """\
data: data
listen:
  events: ":9443"
tls: {certificate: s.crt, key: s.key, clientCA: ca.crt}
clusters:
- name: prod
  certificates:
  - commonName: one
"""
FILE = Path("/etc/k/kubewitness.yaml")


def test_the_least_that_is_needed() -> None:
    """Everything else has a default; paths are relative to the file."""
    config = parse_config(FILE, GOOD)
    assert config.data == Path("/etc/k/data")
    assert config.keys == Path("/etc/k/data.keys")
    assert config.events == [("::", 9443)]
    assert config.operate == ("127.0.0.1", 9440)
    assert config.tiles is None
    assert config.limits == Limits()
    assert [cluster.name for cluster in config.clusters] == ["prod"]


def test_the_example_of_the_page() -> None:
    """What docs/reference/config.md shows is read, and says what it says."""
    example = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert example
    config = parse_config(FILE, example[1])
    assert [cluster.name for cluster in config.clusters] == ["production", "staging"]
    assert (config.tiles, config.grace_seconds, config.seal_seconds) == (("127.0.0.1", 9441), 20, 1)


def test_the_page_names_every_field() -> None:
    """Each limit with its default, each field of the top."""
    units = {1 << 30: "Gi", 1 << 20: "Mi", 1 << 10: "Ki"}
    for field in dataclasses.fields(Limits):
        value = getattr(Limits(), field.name)
        unit = next((unit for unit in units if value % unit == 0 and value), 1)
        shown = f"{value:g}s" if field.name.endswith("_seconds") else f"{value // unit}{units.get(unit, '')}"
        assert f"| `{camel(field.name)}` | `{shown}` |" in PAGE, field.name
    for name in ("data", "keys", "listen.events", "listen.operate", "listen.tiles", "tls.clientCA", "grace", "limits"):
        assert f"`{name}`" in PAGE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("data: data\n", ""), "kubewitness.yaml:1: data: it is needed"),
        (("data: data", "dta: data"), "kubewitness.yaml:1: dta: there is no such field; did you mean data?"),
        (("data: data", "data: data\ndata: x"), "kubewitness.yaml:2: data: given twice"),
        (("data: data", "data: [data]"), "kubewitness.yaml:1: data: a single value is wanted here"),
        (("data: data", "data: data\nkeys: data/keys"), "kubewitness.yaml:2: keys: keys must not lie in the data"),
        (("data: data", "data: data\nkeys: x/../data/keys"), "kubewitness.yaml:2: keys: keys must not lie in the data"),
        (("data: data", f"data: {__file__}"), f"kubewitness.yaml:1: data: {__file__} is not a directory"),
        (("data: data", f"data: data\nkeys: {__file__}"), f"kubewitness.yaml:2: keys: {__file__} is not a directory"),
        (('":9443"', "9443"), "kubewitness.yaml:3: listen.events: '9443' is not an address such as 127.0.0.1:9443"),
        (('":9443"', "example.com:1"), "kubewitness.yaml:3: listen.events: 'example.com:1' is not an address"),
        (('  events: ":9443"\n', "  tiles: off\n"), "listen.events: it is needed: where kube-apiserver posts to"),
        (("name: prod", "name: _operator"), "kubewitness.yaml:6: clusters[0].name: names that begin with _"),
        (
            ("- name: prod", "- name: prod\n  certificate: x"),
            "kubewitness.yaml:7: clusters[0].certificate: there is no",
        ),
        (("  - commonName: one\n", "  - {}\n"), "clusters[0].certificates[0]: one of commonName, dnsName, uri"),
        (
            ("  - commonName: one\n", "  - fingerprint: abc\n"),
            "certificates[0].fingerprint: SHA-256 of the certificate",
        ),
        (
            ("  certificates:\n  - commonName: one\n", ""),
            "kubewitness.yaml:6: clusters[0]: nobody can bring the Events",
        ),
        ((", clientCA: ca.crt", ""), "kubewitness.yaml:4: tls: clientCA is needed"),
        (("clusters:", "limits: {bodyBytes: 10Mb}\nclusters:"), "limits.bodyBytes: '10Mb' is not a whole number"),
        (("clusters:", "limits: {body: soon}\nclusters:"), "limits.body: 'soon' is not a duration such as 500ms"),
        (("clusters:", "limits: {body: 0s}\nclusters:"), "limits.body: it must be more than 0"),
        (("clusters:", "limits: {bodyBytes: 1Gi}\nclusters:"), "limits.waitingBytes: it must hold one body at least"),
        (("clusters:", "seal: {index: maybe}\nclusters:"), "seal.index: 'maybe' is not true or false"),
        (("tls: {", "tls: {{"), "kubewitness.yaml:5: not YAML"),
        (("data: data", "data: *x"), "not YAML"),
    ],
)
def test_mistakes_are_named(change: tuple[str, str], message: str) -> None:
    """File, line, field, and what would be right."""
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(ConfigError) as caught:
        parse_config(FILE, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(FILE))


def test_clusters_are_not_named_twice() -> None:
    """Two clusters of a name would be one log of two."""
    with pytest.raises(ConfigError, match=r"clusters\[1\]\.name: there is a cluster prod already"):
        parse_config(FILE, GOOD + "- {name: prod, tokens: t}\n")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text raises anything but ConfigError."""
    for whole in (text, GOOD.replace("prod", text), f"data: {text}\n{GOOD}"):
        try:
            assert isinstance(parse_config(FILE, whole), Config)
        except ConfigError:
            continue


@pytest.mark.parametrize("name", ["../../x", "/etc", ".", "..", "a/b", "a\\b", "x" * 4096, "é", "a:b", "con"])
def test_no_name_of_a_cluster_is_a_path(tmp_path: Path, name: str) -> None:
    """T23: whatever a cluster is called, its log lies under a name of 16 hexadecimal digits."""
    config = parse_config(FILE, GOOD.replace("name: prod", "name: " + json.dumps(name)))
    assert config.clusters[0].name == name
    assert re.fullmatch(r"[0-9a-f]{16}", cluster_dir(name))
    assert DataDir(tmp_path).log_path(name).parent == tmp_path / "logs"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:2", ("::1", 2)),
        (":3", ("::", 3)),
        ("localhost:4", ("127.0.0.1", 4)),
        ("x:1", None),
        ("127.0.0.1", None),
        ("127.0.0.1:65536", None),
        ("127.0.0.1:-1", None),
        ("", None),
    ],
)
def test_addresses(text: str, address: tuple[str, int] | None) -> None:
    """IPv4, IPv6, all interfaces, this machine; nothing that has to be looked up."""
    assert parse_address(text) == address


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """Missing, not PEM, of another key, tokens in the clear: said by the name of the file, never by its content."""
    site = Site(tmp_path)
    config = read_config(site.config)
    assert not admission(config).clients.has_tokens
    key = (tmp_path / "server.key").read_bytes()
    for name, content, message in (
        ("server.key", (tmp_path / "a.key").read_bytes(), "cannot be used together"),
        ("server.key", b"no PEM", "server.key: not PEM"),
        ("server.key", None, "server.key: No such file"),
    ):
        (tmp_path / name).unlink()
        if content is not None:
            (tmp_path / name).write_bytes(content)
        else:
            assert not (tmp_path / name).exists()
        with pytest.raises(ConfigError, match=message) as caught:
            admission(config)
        assert "BEGIN" not in str(caught.value)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "server.key").write_bytes(key)
    secret = "the-token-itself"
    (tmp_path / "t").write_text(f"# note\n{secret}\n")
    with_tokens = dataclasses.replace(config, clusters=[dataclasses.replace(config.clusters[0], tokens=tmp_path / "t")])
    with pytest.raises(ConfigError, match=r"t:2: not SHA-256 of a token") as caught:
        admission(with_tokens)
    assert secret not in str(caught.value)
    (tmp_path / "t").write_text("# none\n")
    with pytest.raises(ConfigError, match="it has no token"):
        admission(with_tokens)
    (tmp_path / "t").write_text("a" * 64 + "\n" + "sha256:" + "b" * 64 + "\n")
    assert admission(with_tokens).clients.has_tokens


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    """Not there, not UTF-8, empty, very long, very deep."""
    path = tmp_path / "c.yaml"
    with pytest.raises(ConfigError, match="No such file"):
        read_config(path)
    for content, message in (
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"", "it is empty"),
        (b"a" * (1 << 21), "no configuration"),
        (b"[" * 5000, "."),
        (b"- a\n", "fields are wanted here"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            read_config(path)


def test_where_heads_go(tmp_path: Path) -> None:
    """Paths are those of the file's folder, and must be there; one place an item; what cannot be sent to is refused."""

    def read(checkpoints: str) -> Config:
        return parse_config(tmp_path / "k.yaml", f"{GOOD}seal: {{checkpoints: {checkpoints}}}\n")

    (tmp_path / "heads").mkdir()
    given = (
        "[{file: heads}, {syslog: 'udp://127.0.0.1:514'}, {syslog: 'unix:///dev/log'}, {stdout: true}, {stdout: false}]"
    )
    assert [dict(one) for one in read(given).checkpoints if one] == [
        {"file": str(tmp_path / "heads")},
        {"syslog": "udp://127.0.0.1:514"},
        {"syslog": "unix:///dev/log"},
        {"stdout": "true"},
    ]
    for wrong, message in (
        ("[{file: none}]", "is not a directory that is there"),
        ("[{git: none}]", "is not a directory that is there"),
        ("[{file: heads, stdout: true}]", "one of file, git, syslog, stdout"),
        ("[{}]", "one of file, git, syslog, stdout"),
        ("[{syslog: 'http://x'}]", "is not udp://HOST:PORT"),
        ("[{syslog: 'udp://x:99999'}]", "is not udp://HOST:PORT"),
        ("[{stdout: perhaps}]", "true or false"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            read(wrong)
