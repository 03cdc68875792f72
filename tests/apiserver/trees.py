"""Trees that stand for machines: each distribution's files as its documentation shows them, under another root."""

import dataclasses
import functools
import shutil
import tempfile
from pathlib import Path

from kubewitness.apiserver.apply import Root, apply
from kubewitness.apiserver.distros import DISTROS
from kubewitness.apiserver.enable import plan
from kubewitness.apiserver.plan import Wanted

DATA = Path(__file__).parent.parent / "data"
FIXTURES = DATA / "apiserver"
POLICY = b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n"
ROTATION = {"audit-log-maxage": "30", "audit-log-maxbackup": "10", "audit-log-maxsize": "100"}
WANTED = Wanted(policy=POLICY, defaults=ROTATION)
NAMES = tuple(DISTROS)


def fixture(name: str) -> Path | None:
    """The file that a distribution has before anything was done, None where there is none."""
    found = [FIXTURES / f"{name}{suffix}" for suffix in (".yaml", ".args")]
    return next((path for path in found if path.exists()), None)


def machine(name: str, root: Path) -> Root:
    """Put the fixture of a distribution where it belongs."""
    source = fixture(name)
    if source is not None:
        place = root / DISTROS[name].config.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(source.read_bytes())
    return Root(root)


@functools.cache
def _enabled(webhook: bytes | None) -> tempfile.TemporaryDirectory[str]:
    place = tempfile.TemporaryDirectory(prefix="kubewitness-tests-")
    root = machine("kubeadm", Path(place.name) / "root")
    apply(plan("kubeadm", dataclasses.replace(WANTED, webhook=webhook), root), root)
    return place


def enabled(root: Path, webhook: bytes | None = None) -> Root:
    """A control plane node of kubeadm on which auditing was turned on; made once, then copied."""
    shutil.copytree(Path(_enabled(webhook).name) / "root", root, dirs_exist_ok=True)
    return Root(root)


def contents(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a tree with its bytes and mode."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mode & 0o7777)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
