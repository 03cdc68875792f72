"""The second half of the demo: a real server takes the log in over mutual TLS, and a copy of its store is edited."""

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from kubewitness.cli.errors import ExitCode, UserError

STORE = "store"
EDITED = "edited"
CLUSTER = "main"
BODY_EVENTS = 400  # as kube-apiserver sends at most
STOP_SECONDS = 20
_RUN = "import sys; from kubewitness.cli.main import main; sys.exit(main())"
_HEAD = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['
_TYPE = b'"kind":"Event","apiVersion":"audit.k8s.io/v1",'


class DemoServer:
    """`kubewitness serve --data store` in the current directory, for as long as the block runs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Let it finish and seal what it took, if it runs."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()

    def start(self, command: list[str]) -> str:
        """Start it; give where it listens, once its store is open. Raises UserError when it does not start."""
        self._process = subprocess.Popen(  # noqa: S603 - this program itself
            [sys.executable, "-c", _RUN, *command],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"COLUMNS": "80"},
        )
        line, url, is_open = "", "", False
        for line in self._process.stderr or ():
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("event") == "started":
                host, self._port = said["addresses"]["events"][0]
                url = f"https://{host}:{self._port}"
            if said.get("cluster") == CLUSTER and str(said.get("event")).startswith("store_"):
                is_open = said["event"] == "store_open"
                if not is_open:
                    break
            if url and is_open:
                return url
        raise UserError(f"the server did not start: {line.strip()}", ExitCode.RUNTIME)

    def post(self, bodies: list[bytes]) -> dict[str, int]:
        """Post bodies with the client certificate that was made; give what became of the Events. Raises OSError."""
        made = Path(f"{STORE}.server")
        context = ssl.create_default_context(cafile=made / "ca.crt")
        context.load_cert_chain(made / f"apiserver-{CLUSTER}.crt", made / f"apiserver-{CLUSTER}.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=context, timeout=30)
        total: dict[str, int] = {}
        try:
            for body in bodies:
                connection.request("POST", "/?timeout=30s", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                said = json.loads(answer.read())
                if answer.status != 200:
                    raise UserError(f"the server answered {answer.status}: {said}", ExitCode.RUNTIME)
                for name, count in said.items():
                    total[name] = total.get(name, 0) + count
        finally:
            connection.close()
        return total


def bodies_of(log: Path) -> list[bytes]:
    """Make of a log file the bodies in which kube-apiserver's webhook posts the same Events."""
    items = [line.replace(_TYPE, b"", 1) for line in log.read_bytes().splitlines()]
    return [_HEAD + b",".join(items[at : at + BODY_EVENTS]) + b"]}\n" for at in range(0, len(items), BODY_EVENTS)]


def serve(server: DemoServer, command: list[str], log: Path) -> list[str]:
    """Start the server, post the log, and the first body again; give what there is to say."""
    url = server.start(command)
    bodies = bodies_of(log)
    first = server.post(bodies)
    again = server.post(bodies[:1])
    return [
        f"(it runs now, at {url})",
        f"posted {len(bodies)} bodies: {first['stored']:,} Events stored, {first['duplicates']:,} known before",
        f"posted the first one again: {again['stored']:,} stored, {again['duplicates']:,} known before",
    ]


def edit_a_copy() -> str:
    """Copy the store and give the deletion of the secret to somebody else, with every checksum right; say what was."""
    from kubewitness._kit.files import DiskDirectory
    from kubewitness.keep.seal.leaf import Kept
    from kubewitness.keep.store.layout import LOGS, cluster_dir
    from kubewitness.keep.store.reader import Lost, read_blocks
    from kubewitness.keep.store.segment import Block, Commit, encode_block, encode_end

    shutil.copytree(STORE, EDITED)
    segments = Path(EDITED) / LOGS / cluster_dir(CLUSTER) / "segments"
    out: list[bytes] = []
    end = 0
    with DiskDirectory.at(segments) as directory:
        for part in read_blocks(directory):
            if isinstance(part, Lost):
                raise UserError(f"{part.segment}: Events are missing", ExitCode.INTEGRITY)
            commits = [
                Commit(one.received_ns, one.source, one.secret, [Kept(_edited(kept.line)) for kept in one.events])
                for one in part.commits
            ]
            out.append(encode_block(Block(part.first, commits)))
            end = part.end
    (path,) = segments.iterdir()
    path.write_bytes(b"".join(out) + encode_end(end))
    return "(in the copy edited/ auditor deletes the secret; all checksums are right)"


def _edited(line: bytes) -> bytes:
    if b'"verb":"delete"' in line and b'"name":"important"' in line and b'"stage":"ResponseComplete"' in line:
        return line.replace(b'"username":"attacker"', b'"username":"auditor"')
    return line
