"""What the tests of commands share: the recorded logs, unpacked, and a way to run a command."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard

from kubewitness.cli.main import main

DATA = Path(__file__).parent.parent / "data"


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of the answer."""
        return self.out.splitlines()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    """No variable of the person who runs the tests has a say; 80 columns; nothing on standard input."""
    for name in ("KUBEWITNESS_DATA", "KUBEWITNESS_CLUSTER", "KUBEWITNESS_OUTPUT", "KUBEWITNESS_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_COLOR", "FORCE_COLOR", "KUBEWITNESS_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="session")
def security_log(tmp_path_factory) -> str:
    """The log recorded under the "security-focused" policy, with one attack in it."""
    path = tmp_path_factory.mktemp("logs") / "audit-security.log"
    data = (DATA / "audit-security.log.zst").read_bytes()
    path.write_bytes(zstandard.ZstdDecompressor().decompressobj().decompress(data))
    return str(path)


@pytest.fixture
def run(capsysbinary) -> Callable[..., Result]:
    """Run a command of the command line in this process."""

    def run_command(*arguments: str) -> Result:
        capsysbinary.readouterr()
        code = main(arguments)
        captured = capsysbinary.readouterr()
        return Result(code, captured.out.decode("utf-8", "surrogateescape"), captured.err.decode())

    return run_command
