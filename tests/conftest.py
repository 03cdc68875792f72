"""What all tests share: how long Hypothesis looks, and that `make ci` accepts no skip."""

import fcntl
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# a command that a test starts would be compiled anew each time, and the tests by each worker of each run
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# what a shell starts in the background ignores Ctrl-C, and so would the commands that tests interrupt
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SOAK_S = 4 * 3600
"""After so long a test of `make soak` hangs."""
GOPATH = Path("/usr/share/gocode")
GO = Path(__file__).parent / "go"

# no deadline: the machine may be busy, and speed is what benchmarks/ measures; other examples in each run
settings.register_profile("default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.register_profile("soak", settings.get_profile("default"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))

_ACCEPTS_SKIPS = os.environ.get("KUBEWITNESS_NO_SKIP") != "1"


def pytest_collection_modifyitems(items):
    """A long run has hours, also where the machine does other things beside it."""
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.timeout(SOAK_S))


def pytest_collection_finish():
    """Six thousand tests and what they import stay: the collector need not look at them again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.skipped and not _ACCEPTS_SKIPS and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped, which `make ci` does not accept: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def go_programs(tmp_path_factory) -> Path:
    """The programs of tests/go, compiled once; skipped by name where Debian's package of x/mod is not installed."""
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
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for source in sorted(GO.glob("*/main.go")):
            program = shared / source.parent.name
            if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
                # not inlined: the first build compiles Go's library too, and is a third cheaper so
                command = [str(Path(sys.executable).parent / "go"), "build", "-gcflags=all=-l", "-o", str(program), "."]
                done = subprocess.run(command, cwd=source.parent, env=env, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stderr
    return shared


@pytest.fixture(scope="session")
def go_verifier(go_programs) -> Path:
    """The independent verifier of logs."""
    return go_programs / "verifier"
