"""Heads of a running server: handed to sinks, shown in metrics, verified while it writes and over HTTP."""

import json
import re
import socket
import subprocess
from pathlib import Path

from kubewitness.keep.store.layout import DataDir, KeyDir
from tests.assembly.serving import PROGRAM, Site, event, event_list, serving


def verify(*words: str) -> tuple[int, dict]:
    done = subprocess.run([*PROGRAM, "verify", *words, "-o", "json"], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_heads_leave_the_server_and_its_log_verifies_while_it_writes(tmp_path: Path, go_verifier: Path) -> None:
    """File, git and syslog have every head; one that fails is told; `verify` accepts store and tiles meanwhile."""
    site = Site(tmp_path, ["a"])
    (tmp_path / "heads").mkdir()
    (tmp_path / "plain").mkdir()
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "repo")], check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as syslog:
        syslog.bind(("127.0.0.1", 0))
        syslog.settimeout(10)
        sinks = f"[file: heads, git: repo, syslog: 'udp://127.0.0.1:{syslog.getsockname()[1]}', git: plain]"
        text = site.config.read_text()
        sinks = re.sub(r"(\w+: [^,\]]+)", r"{\1}", sinks)
        site.config.write_text(text.replace("seal: {every: 50ms}", f"seal: {{every: 50ms, checkpoints: {sinks}}}"))
        with serving(site) as server:
            server.wait_for("checkpoint_sink", sink=f"git {tmp_path}/plain")
            with server.client() as client:
                for first in range(0, 300, 30):
                    assert client.post(event_list(*(event(n) for n in range(first, first + 30))))[0] == 200
                    if first % 90 == 0:
                        code, report = verify(str(site.data), "--cluster", "a")
                        assert code == 0 or report["logs"][0]["head"] is None, report
            server.until(lambda: server.metric('kubewitness_seal_events{cluster="a"}') == 300)
            shown = [line for line in server.get("/metrics")[1].decode().splitlines() if "checkpoint_info{" in line]
            assert any('origin="kubewitness.io/log/a"' in line and 'size="300"' in line for line in shown)
            assert (
                server.metric(
                    'kubewitness_seal_sink_failing{cluster="a",sink="git PLAIN"}'.replace("PLAIN", f"{tmp_path}/plain")
                )
                == 1
            )
            (key,) = KeyDir(tmp_path / "data.keys").verifiers("a")
            url = f"http://127.0.0.1:{server.ports['tiles']}/a"
            code, report = verify(url, "--key", str(key))
            assert (code, report["logs"][0]["head"]["size"]) == (0, 300)
        messages = [syslog.recv(65536).decode() for _ in range(2)]
    assert all("[checkpoint@32473 " in message for message in messages)
    kept = {file.name for file in (tmp_path / "heads").rglob("*") if file.is_file()}
    assert "300" in kept
    log = subprocess.run(
        ["git", "-C", str(tmp_path / "repo"), "log", "--format=%s"], capture_output=True, text=True, check=True
    )
    assert any(line.startswith("kubewitness.io/log/a: 300 events") for line in log.stdout.splitlines())
    code, report = verify(str(site.data))
    assert code == 0
    assert {log["cluster"] for log in report["logs"]} == {"a", "_operator"}
    for cluster in ("a", "_operator"):
        log = DataDir(site.data).log_path(cluster)
        words = ["-keys", str(tmp_path / "data.keys" / f"{log.name}.vkey"), str(log)]
        done = subprocess.run([str(go_verifier), *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
