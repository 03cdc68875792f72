"""The example of docs/how-to/audit-a-python-api.md runs as the page shows it."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubewitness.cli.main import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "audit-a-python-api.md"
ORDERS = "/apis/shop.example/v1/namespaces/eu/orders"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("has_own_identities", [False, True])
def test_the_example_leaves_the_events_that_the_page_promises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], has_own_identities: bool
) -> None:
    """A real server runs the code of the page; its log says who created what, and who was refused."""
    (tmp_path / "audit-policy.yaml").write_text(blocks("yaml")[0])
    code, identify = blocks("python")
    if has_own_identities:
        code = identify + code.replace("is_slow=", "identify=identify, is_slow=")
    (tmp_path / "shop.py").write_text(code)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--no-proxy-headers", "--port", str(port), "shop:app"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for _ in range(400):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        connection = http.client.HTTPConnection("127.0.0.1", port)

        def ask(method: str, path: str, body: str | None = None, token: str = "") -> int:
            headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status

        order = '{"metadata":{"name":"o-1"},"items":3}'
        assert ask("POST", ORDERS, order, "alices-token") == 201
        assert ask("GET", "/healthz") == 200
        assert ask("GET", "/nowhere") == 404
        assert ask("POST", ORDERS, order, "wrong") == (401 if has_own_identities else 201)
        connection.close()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
    events = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    created, missing, other = events
    assert created["user"]["username"] == "alice"
    assert created["user"].get("uid") == ("42" if has_own_identities else None)
    assert created["requestObject"] == json.loads(order)
    assert created["responseObject"]["metadata"]["uid"] == "1"
    assert created["annotations"] == {"shop.example/channel": "web"}
    assert created["sourceIPs"] == ["127.0.0.1"]
    assert (missing["requestURI"], missing["responseStatus"]["code"]) == ("/nowhere", 404)
    assert missing["user"]["username"] == "system:anonymous"
    assert (other["stage"], other["user"]) == (
        ("ResponseStarted", {}) if has_own_identities else ("ResponseComplete", missing["user"])
    )
    assert main(["who", "created", "orders.shop.example/o-1", "-n", "eu", str(tmp_path / "audit.log")]) == 0
    assert "alice created orders" in capsys.readouterr().out
