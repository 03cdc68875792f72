"""Tools from outside that tests of the store use."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GOPATH = Path("/usr/share/gocode")
VERIFIER = ROOT / "tests" / "go" / "verifier"


@pytest.fixture
def zstd() -> str:
    """The zstd program; without it the test is skipped by name, or fails where nothing may be skipped."""
    found = shutil.which("zstd")
    if found is None and not os.environ.get("KUBEWITNESS_NO_SKIP"):
        pytest.skip("zstd is not installed")
    assert found is not None, "zstd is not installed"
    return found


@pytest.fixture(scope="session")
def go_verifier(tmp_path_factory) -> Path:
    """The independent verifier, compiled once; skipped by name where Debian's package of x/mod is not installed."""
    if not (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir() and not os.environ.get("KUBEWITNESS_NO_SKIP"):
        pytest.skip("golang-golang-x-mod-dev is not installed")
    shared = tmp_path_factory.getbasetemp().parent / "go"
    shared.mkdir(exist_ok=True)
    env = os.environ | {
        "CGO_ENABLED": "0",
        "GO111MODULE": "off",
        "GOCACHE": str(Path(sys.prefix) / "go-cache"),
        "GOFLAGS": "",
        "GOPATH": str(GOPATH),
        "GOTELEMETRY": "off",
        "GOTOOLCHAIN": "local",
    }
    program = shared / "verifier"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists() or program.stat().st_mtime < (VERIFIER / "main.go").stat().st_mtime:
            command = [str(Path(sys.executable).parent / "go"), "build", "-o", str(program), "."]
            done = subprocess.run(command, cwd=VERIFIER, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    return program
