"""A real server under hostile, broken and merely odd clients: bounded, and the other cluster is served meanwhile."""

import contextlib
import hashlib
import json
import socket
import ssl
import threading
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubewitness.assembly.certificates import make_ca, make_client, make_server
from kubewitness.keep.receiver.quarantine import read_quarantined
from tests.assembly.serving import NOW, Client, Server, Site, authority, event, event_list, serving, write_pair

PLANTED = b"s3cr3t-planted-value"
LONG_AGO = NOW.replace(year=NOW.year - 1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Clusters a and b, by certificate, and c, by token; deadlines short enough to wait for."""
    place = tmp_path_factory.mktemp("drill")
    place.joinpath("c.tokens").write_text(f"# tokens of c\n{hashlib.sha256(b'token-c').hexdigest()}\n")
    limits = {"head": "1s", "body": "2s", "handshake": "1s", "connections": 10, "bodyBytes": "4Mi", "headBytes": "16Ki"}
    site = Site(place, extra="", **limits, waitingBytes="6Mi")
    text = site.config.read_text()
    site.config.write_text(text.replace("clusters:", "clusters:\n- {name: c, tokens: c.tokens}"))
    return site


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[Server]:
    """One server for all drills: what one leaves behind is what the next must live with."""
    with serving(site) as running:
        running.wait_open("c")
        yield running


_count = iter(range(1_000_000))


def fresh() -> bytes:
    """An Event that was not sent before."""
    return event(next(_count), f"fresh-{next(_count)}", planted=PLANTED.decode())


@pytest.fixture(autouse=True)
def _other_cluster_is_served(server: Server) -> Iterator[None]:
    """Whatever a drill does to cluster a, cluster b is answered in time, during and after it."""
    slowest, is_over = [0.0], threading.Event()
    failed: list[object] = []
    # it connects before the drill begins: floods come from the same address here, which has its share of handshakes
    first = server.client("b")
    assert first.post(event_list(fresh()))[0] == 200

    def keep_posting() -> None:
        client = first
        try:
            while not is_over.wait(0.05):
                begun = time.monotonic()
                status, said = client.post(event_list(fresh()))
                slowest[0] = max(slowest[0], time.monotonic() - begun)
                if (status, said.get("stored")) != (200, 1):
                    failed.append((status, said))
                if client.headers.get("Connection") == "close":
                    client.close()
                    client = server.client("b")
        except OSError as exc:
            failed.append(exc)
        client.close()

    thread = threading.Thread(target=keep_posting)
    thread.start()
    yield
    is_over.set()
    thread.join()
    assert not failed
    assert slowest[0] < 10


def answer_of(connection: ssl.SSLSocket) -> tuple[int, bytes]:
    """Read an answer, or until the server closes; give the status, 0 for none, and all that was read."""
    data = b""
    try:
        while not data.endswith(b"}\n") and (chunk := connection.recv(65536)):
            data += chunk
    except OSError:
        pass
    connection.close()
    return int(data.split()[1]) if data.startswith(b"HTTP/1.1 ") else 0, data


def test_who_is_not_known_is_not_served(server: Server, site: Site, tmp_path: Path) -> None:
    """T8: no certificate, another authority's, an expired one, a server's, one of no cluster, a wrong token."""
    with server.client(None) as client:
        assert client.post(event_list(fresh()))[0] == 401
    with server.client(None) as client:
        assert client.post(event_list(fresh()), Authorization="Bearer token-x")[0] == 403
    with server.client(None) as client:
        assert client.post(event_list(fresh()), Authorization="Basic dG9rZW4tYw==")[0] == 403
    stranger = make_client(authority(), "apiserver z", LONG_AGO, 1000)
    bad = {
        "other-ca": make_client(make_ca("test authority", LONG_AGO), "apiserver a", LONG_AGO, 1000),
        "expired": make_client(authority(), "apiserver a", LONG_AGO, 30),
        "for-servers": make_server(authority(), ["apiserver a"], LONG_AGO, 1000),
    }
    for name, pair in bad.items():
        write_pair(site.place, name, pair)
        with pytest.raises(OSError), server.client(name) as client:  # noqa: PT011 - TLS says it in several ways
            client.post(event_list(fresh()))
    write_pair(site.place, "stranger", stranger)
    with server.client("stranger") as client:
        assert client.post(event_list(fresh()))[0] == 403
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    plain.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert plain.recv(100)[:4] != b"HTTP"
    plain.close()
    server.wait_for("refused", reason="unknown")
    assert server.metric('kubewitness_receiver_refused_total{reason="anonymous"}') >= 1


def test_old_versions_of_tls_are_refused(server: Server, site: Site) -> None:
    """TLS 1.2 and 1.3 are spoken; nothing older is."""
    for version, is_good in ((ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_1, False)):
        context = site.tls("a")
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        if is_good:
            with Client(server.port, context) as client:
                assert client.post(event_list(fresh()))[0] == 200
        else:
            with pytest.raises(OSError), Client(server.port, context) as client:  # noqa: PT011 - of several kinds
                client.post(event_list(fresh()))


def test_the_cluster_follows_from_the_credentials_alone(server: Server, site: Site) -> None:
    """T9: whatever URL, headers and body say, Events go to the cluster of the credentials; two at once are refused."""
    for name, headers in (("a", {}), ("b", {}), (None, {"Authorization": "Bearer token-c"})):
        for path in ("/b", "/a", "/c?cluster=b", "/clusters/b", "http://b/"):
            raw = fresh()
            with server.client(name) as client:
                status, said = client.post(
                    event_list(raw), path, X_Cluster="b", Host="b", X_Forwarded_For="10.0.0.1", **headers
                )
            assert (status, said["stored"]) == (200, 1)
            mine = name or "c"
            for cluster in "abc":
                assert (raw in site.lines(cluster)) == (cluster == mine)
    with server.client("a") as client:
        assert client.post(event_list(fresh()), Authorization="Bearer token-c")[0] == 403
    server.wait_for("refused", reason="ambiguous")


def test_what_is_served_to_everybody_names_no_file(server: Server, site: Site) -> None:
    """T23: a path with dots, encoded dots, NUL, an absolute path or 4 KB of it gives nothing but what is public."""
    secret = site.place / "secret"
    secret.write_bytes(PLANTED)
    for path in (
        "/../../secret",
        "/a/../../../secret",
        "/a/%2e%2e/segments/00000000000000000000.zst",
        "/a/tile/../../segments/00000000000000000000.zst",
        "/a/tile/0/000/../000",
        "//etc/passwd",
        "/a//etc/passwd",
        "/a/checkpoint%00.txt",
        "/a/tile/entries/" + "x" * 4096,
        "/..%2f..%2fsecret/checkpoint",
        "/z/checkpoint",
        "/a/cluster.json",
        "/a/settled",
    ):
        with socket.create_connection(("127.0.0.1", server.ports["tiles"]), timeout=10) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.split()[1] in (b"404", b"400"), path
        assert PLANTED not in answer
        assert b"root:" not in answer


def test_a_slow_head_and_a_slow_body_are_cut(server: Server) -> None:
    """T16: a byte now and then does not keep a connection: 408 after the deadline; silence is closed too."""
    dripping, slow, silent = server.raw_client(), server.raw_client(), server.raw_client()
    begun = time.monotonic()
    slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    dripping.sendall(b"POST / HT")
    try:
        for byte in b"TP/1.1\r\nHost: x\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy":
            dripping.sendall(bytes([byte]))
            slow.sendall(b" ")
            time.sleep(0.1)
    except OSError:
        pass
    assert answer_of(dripping)[0] in (408, 0)
    assert answer_of(slow)[0] in (408, 0)
    assert answer_of(silent)[0] == 0
    assert time.monotonic() - begun < 20
    for reason in ("slow_head", "slow_body", "silent"):
        assert server.metric(f'kubewitness_receiver_refused_total{{reason="{reason}"}}') >= 1


def test_a_head_without_end_is_refused(server: Server) -> None:
    """T16: 1 MiB of headers are not kept: 431."""
    connection = server.raw_client()
    with contextlib.suppress(OSError):
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * (1 << 20))
    assert answer_of(connection)[0] in (431, 0)
    assert server.metric('kubewitness_receiver_refused_total{reason="malformed"}') >= 1


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4194305\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n", 415),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"\x00\x01\x02\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 405),
    ],
)
def test_requests_that_kube_apiserver_never_sends(server: Server, head: bytes, status: int) -> None:
    """T16: too large, chunked, without length, compressed, not POST, not HTTP: it is said at once."""
    connection = server.raw_client()
    connection.sendall(head)
    got, answer = answer_of(connection)
    assert got == status
    assert b"Location" not in answer


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_client_that_wants_no_more_is_answered_and_let_go(server: Server, version: bytes) -> None:
    """With `Connection: close`, and over HTTP/1.0, the answer comes and the connection ends."""
    body = event_list(fresh())
    connection = server.raw_client()
    head = b"POST / HTTP/%s\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(head % (version, len(body)) + body)
    data = b""
    with contextlib.suppress(ssl.SSLEOFError):
        while chunk := connection.recv(65536):
            data += chunk
    connection.close()
    assert data.split()[1] == b"200"
    assert data.endswith(b'{"stored": 1, "duplicates": 0, "quarantined": 0}\n')
    assert "unexpected" not in {said["event"] for said in server.said}


def test_requests_may_follow_each_other_closely(server: Server) -> None:
    """Three requests written at once are answered one after the other; a client that asks first is told to go on."""
    bodies = [event_list(fresh()) for _ in range(3)]
    connection = server.raw_client()
    connection.sendall(
        b"".join(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body for body in bodies)
    )
    data = b""
    while data.count(b'"stored": 1') < 3:
        chunk = connection.recv(65536)
        assert chunk, data
        data += chunk
    body = event_list(fresh())
    connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
    connection.sendall(body)
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    connection.close()


def test_compressed_bodies_are_not_unpacked(server: Server) -> None:
    """T16: a gigabyte of `a` in a megabyte of gzip is refused as it is; sent without saying so, it is only bytes."""
    packed = zlib.compress(b"a" * (64 << 20))
    with server.client() as client:
        assert client.post(packed, Content_Encoding="gzip")[0] == 415
    with server.client() as client:
        status, said = client.post(packed)
    assert (status, said["stored"]) == (200, 0)
    assert int(str(said["quarantined"])) > 0


def _deep(depth: int) -> bytes:
    return event(1).replace(b'"verb"', b'"requestObject":' + b"[" * depth + b"]" * depth + b',"verb"')


def test_content_is_never_refused(server: Server, site: Site) -> None:
    """T16, T17, T18: deep, torn, alien, a million items: 200; Events are stored, all else is quarantined."""
    good = fresh()
    future = event(5, f"future-{next(_count)}", stage="ResponsePondered", unheardOf={"a": [1, "huge"]})
    future = future.replace(b'"huge"', b"1e400")
    cases: dict[str, tuple[bytes, int, int]] = {
        "empty": (b"", 0, 0),
        "no JSON": (b"<html>no</html>", 0, 1),
        "torn": (event_list(fresh(), fresh())[:-30], 1, 1),
        "another kind": (b'{"kind":"Pod","apiVersion":"v1"}', 0, 1),
        "bad item": (event_list(fresh(), b'{"no":"Event"}', fresh()), 2, 1),
        "not an object": (event_list(b"1", b"null", fresh()), 1, 2),
        "deep item": (event_list(_deep(100_000)), 1, 0),
        "deep nothing": (b"[" * 100_000, 0, 1),
        "a million items": (b'{"kind":"EventList","items":[' + b",".join([b"{}"] * 1_000_000) + b"]}", 0, 1),
        "a future stage": (event_list(future), 1, 0),
        "huge numbers": (event_list(event(7, f"n-{next(_count)}", n=10**400)), 1, 0),
        "v1beta1": (event_list(fresh()).replace(b"io/v1", b"io/v1beta1"), 1, 0),
        "invalid UTF-8": (event_list(fresh().replace(b"/api/", b"/\xff\xfe/")), 1, 0),
        "a megabyte of a": (event_list(event(8, f"a-{next(_count)}", requestURI="a" * (1 << 20))), 1, 0),
        "good": (event_list(good), 1, 0),
    }
    for name, (body, stored, quarantined) in cases.items():
        begun = time.monotonic()
        with server.client() as client:
            status, said = client.post(body)
        assert status == 200, name
        assert (said["stored"], said["quarantined"]) == (stored, quarantined), name
        assert time.monotonic() - begun < 10, name
    lines = site.lines()
    assert good in lines
    assert future in lines
    assert server.metric('kubewitness_receiver_events_unknown_stage_total{cluster="a"}') == 1
    kept = list(site.data.glob("logs/*/quarantine/*.kept"))
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
    odd = [piece for path in kept for piece in read_quarantined(path.read_bytes())]
    assert b"<html>no</html>" in [piece.raw for piece in odd]
    assert b'{"no":"Event"}' in [piece.raw for piece in odd]
    assert all(piece.why for piece in odd)


def test_idle_connections_are_bounded(server: Server) -> None:
    """T16: of many connections that say nothing few get as far as a handshake, and a cluster holds its share."""
    plain = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(200)]
    server.until(lambda: server.metric('kubewitness_receiver_refused_total{reason="handshakes"}') > 0)
    for connection in plain:
        connection.close()
    time.sleep(1)  # until those that wait for a handshake are gone
    held: list[ssl.SSLSocket] = []

    def one_more() -> bool:
        with contextlib.suppress(OSError):
            held.append(server.raw_client())
        assert server.metric('kubewitness_receiver_connections{cluster="a"}') <= 10
        return server.metric('kubewitness_receiver_refused_total{reason="connections"}') > 0

    server.until(one_more)
    for connection in held:
        connection.close()
    server.until(lambda: server.metric('kubewitness_receiver_connections{cluster="a"}') == 0)
    with server.client() as client:
        assert client.post(event_list(fresh()))[0] == 200


def test_a_cluster_has_only_its_share_of_memory(server: Server) -> None:
    """T16: a second large body beside one that is being received gets 503 with Retry-After, not memory."""
    first = server.raw_client()
    first.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n")
    time.sleep(0.1)
    with server.client() as client:
        status, _ = client.post(b" " * 4_000_000)
        assert (status, client.headers["Retry-After"]) == (503, "3")
    first.close()
    server.until(lambda: server.metric('kubewitness_receiver_connections{cluster="a"}') == 0)
    with server.client() as client:
        assert client.post(b" " * 4_000_000)[0] == 200


def test_nothing_that_events_say_comes_out(server: Server) -> None:
    """T27: a value in Events, odd items, headers, paths and tokens is in no line of our log and no metric."""
    planted = PLANTED.decode()
    with server.client() as client:
        client.post(event_list(fresh(), b'{"password":"%s"}' % PLANTED), f"/{planted}?x={planted}", X_Planted=planted)
        client.post(b'{"kind":"%s"' % PLANTED)
        client.post(event_list(event(1, planted), event(2, planted)))
    with server.client(None) as client:
        client.post(event_list(fresh()), Authorization=f"Bearer {planted}")
    connection = server.raw_client()
    connection.sendall(b"POST / HTTP/1.1\r\n%s\r\n\r\n" % PLANTED)
    answer_of(connection)
    server.wait_for("audit_id_reused")
    assert planted not in "".join(server.raw)
    assert PLANTED not in server.get("/metrics")[1]
    assert PLANTED not in server.get("/readyz")[1]


def test_certificates_and_authority_change_without_a_restart(server: Server, site: Site) -> None:
    """T33: half-written or mismatched files leave the old ones in force, and somebody hears."""
    place = site.place
    old_server, old_ca = (place / "server.crt").read_bytes(), (place / "ca.crt").read_bytes()
    with server.client() as client:
        (place / "server.crt").write_bytes(old_server[: len(old_server) // 2])
        server.wait_for("reload_failed")
        assert server.metric("kubewitness_config_reload_failed") == 1
        assert client.post(event_list(fresh()))[0] == 200
    write_pair(place, "server", make_server(authority(), ["127.0.0.1"], LONG_AGO, 1000))
    (place / "server.crt").write_bytes(old_server)  # of another key
    server.until(lambda: sum(said["event"] == "reload_failed" for said in server.said) >= 2)
    with server.client() as client:
        assert client.post(event_list(fresh()))[0] == 200
    # a new authority beside the old one, and a server certificate of the new one
    new_ca = make_ca("new authority", LONG_AGO)
    write_pair(place, "server", make_server(new_ca, ["127.0.0.1"], LONG_AGO, 1000))
    (place / "ca.crt").write_bytes(old_ca + new_ca.certificate)
    write_pair(place, "new", make_client(new_ca, "apiserver a", LONG_AGO, 1000))
    server.wait_for("reloaded")
    assert server.metric("kubewitness_config_reload_failed") == 0
    for name in ("a", "new"):
        with server.client(name) as client:
            assert client.post(event_list(fresh()))[0] == 200
    entries = [entry for entry in site.operator() if entry["verb"] == "reload"]
    assert json.dumps(entries).count('"code": 500') >= 2
