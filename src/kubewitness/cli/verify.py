"""
`kubewitness verify`: check that a store, a served log or an evidence bundle is what was signed.

Ends with 3 when anything contradicts a signature, with 4 when something is not there to be checked, with 0 only when
there was something to check and all of it was.
"""

import argparse
import errno
import json
import os
import sys
import time
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubewitness.cli.answer import counted, say
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.store import add_store_arguments, clusters_of, data_of, given_keys, published_keys

if TYPE_CHECKING:
    from kubewitness.keep.seal.checkpoint import Checkpoint
    from kubewitness.keep.seal.note import VerifierKey
    from kubewitness.keep.store.layout import ClusterMeta
    from kubewitness.keep.store.memory import Remembered
    from kubewitness.keep.store.verify import Finding, Kind
    from kubewitness.keep.store.verify_data import LogVerdict

HELP = """Check that a store, a served log or an evidence bundle is what was signed.

  kubewitness verify --data /var/lib/kubewitness --state heads.json
  kubewitness verify https://audit.example.com/logs/prod --key prod.vkey --state heads.json
  kubewitness verify case-17.zip --key prod.vkey

Every Event is read and hashed again, from the lines up to the signed heads. With --state the heads that were seen
are remembered: only so a log that was rolled back, or written anew by the holder of its key, is found.
Ends with 0 if all is as signed, 3 if anything contradicts a signature, 4 if something is not there to be checked."""

_SHOWN = 5
"""Findings of one kind; more are counted."""
_MAX_BUNDLE_BYTES = 1 << 31


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to verify, by which keys, against which memory."""
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help="a data directory, the URL of a log's tiles, or an evidence bundle"
    )
    add_store_arguments(parser)
    group = parser.add_argument_group("trust")
    group.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        default=[],
        help="a verifier key, or a file of them; else those in the state file, else those that lie beside the data",
    )
    group.add_argument("--state", metavar="FILE", help="remember heads and keys here, and compare with what is there")
    group.add_argument(
        "--head",
        metavar="FILE",
        action="append",
        default=[],
        help="a signed head that was kept elsewhere, which the log must lead to; may be given again",
    )
    group.add_argument(
        "--max-unsigned",
        metavar="SECONDS",
        type=float,
        default=60.0,
        help="how long Events may wait for a signature before that ends with 4 (default: %(default)g)",
    )
    group.add_argument("--ca", metavar="FILE", help="certificates of the authorities to trust for an https URL")
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="table, json (default: table)"
    )


def run(args: argparse.Namespace) -> int:
    """Verify and tell."""
    target = args.target or ""
    if target and args.data and args.data != os.environ.get("KUBEWITNESS_DATA"):
        raise UserError("give either TARGET or --data, not both")
    if not args.max_unsigned >= 0:  # so a number that is none, which nothing exceeds, is refused too
        raise UserError(f"--max-unsigned {args.max_unsigned:g}: a number of seconds is wanted, 0 or more")
    if target.startswith(("http://", "https://")):
        report = _verify_url(args, target)
    elif target and not (Path(target) / "logs").is_dir() and _is_bundle(Path(target)):
        return _verify_bundle(args, Path(target))
    else:
        args.data = target or args.data
        report = _verify_data(args)
    code = report.code()
    if args.output == "json":
        print(json.dumps(report.as_json(code), indent=2))  # noqa: T201
    else:
        sys.stdout.writelines(report.as_text())
        for line in report.reservations(args):
            say(line)
    sys.stdout.flush()
    try:
        _remember(args, report)
    except OSError as exc:  # what was found is told all the same, and counts for more
        say(f"--state {args.state}: not remembered: {exc.strerror}")
        return code if code is ExitCode.INTEGRITY else ExitCode.RUNTIME
    return code


def _is_bundle(path: Path) -> bool:
    return path.is_file() or any((path / name).is_file() for name in ("SHA256SUMS", "about.json"))


class Report:
    """What a verification has to say: logs, and findings that belong to none."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.memory: dict[str, Remembered] = {}
        """What was remembered before."""
        self.logs: list[LogVerdict] = []
        self.others: list[Finding] = []
        self.pinned = False
        """Whether the keys came from outside: --key, or the state file."""

    def findings(self) -> "list[Finding]":
        """Give all of them."""
        return [finding for log in self.logs for finding in log.verdict.findings] + self.others

    def code(self) -> ExitCode:
        """Give the exit code."""
        findings = self.findings()
        if any(finding.kind.is_violation for finding in findings):
            return ExitCode.INTEGRITY
        if findings or not self.logs or not all(log.verdict.is_sound for log in self.logs):
            return ExitCode.INCOMPLETE
        return ExitCode.OK

    def as_json(self, code: ExitCode) -> dict[str, Any]:
        """Give it as an object."""
        return {
            "place": self.place,
            "result": _RESULTS[code],
            "exitCode": int(code),
            "keysPinned": self.pinned,
            "logs": [_log_json(log) for log in self.logs],
            "findings": [_finding_json(finding) for finding in self.others],
        }

    def as_text(self) -> Iterator[str]:
        """Give it as lines for people."""
        from kubewitness.cli.render.folded import folded
        from kubewitness.cli.render.printable import printable

        for log in self.logs:
            yield f"{printable(log.cluster or log.origin)}: {_result_of(log)}\n"
            for line in _facts(log):
                yield f"{folded(f'  {printable(line)}', sys.stdout)}\n"
            yield from self._lines(log.verdict.findings)
        if not self.logs and not self.others:
            yield f"{printable(self.place)}: nothing to check\n"
        yield from self._lines(self.others)

    def _lines(self, findings: "list[Finding]") -> Iterator[str]:
        from kubewitness.cli.render.folded import folded
        from kubewitness.cli.render.printable import printable

        seen: Counter[Kind] = Counter()
        for finding in findings:
            seen[finding.kind] += 1
            if seen[finding.kind] > _SHOWN:
                continue
            what = printable(f"{finding.where}: {finding.what}{_range(finding)}")
            yield f"{folded(f'  {finding.kind.value}: {what}', sys.stdout)}\n"
        for kind, count in seen.items():
            if count > _SHOWN:
                yield f"  {kind.value}: {count - _SHOWN:,} more; -o json has all\n"

    def reservations(self, args: argparse.Namespace) -> Iterator[str]:
        """Say what this verification cannot know."""
        if not self.logs:
            return
        if not args.state:
            yield (
                "without --state FILE a log that was rolled back, or written anew by the holder of its key, "
                "is not told from this one"
            )
        if not self.pinned and any(log.keys for log in self.logs):
            yield "the keys were taken from beside the data; --key pins one that you had from elsewhere"


_RESULTS = {ExitCode.OK: "sound", ExitCode.INTEGRITY: "violated", ExitCode.INCOMPLETE: "incomplete"}


def _result_of(log: "LogVerdict") -> str:
    verdict = log.verdict
    if verdict.is_violated:
        number = sum(finding.kind.is_violation for finding in verdict.findings)
        return f"VIOLATED, {counted(number, 'finding')}"
    return "sound" if verdict.is_sound else "incomplete"


def _facts(log: "LogVerdict") -> Iterator[str]:
    verdict = log.verdict
    head = verdict.head
    if head is not None:
        yield f"head   {head.size:,} events, root {b64encode(head.root).decode()}"
    yield (
        f"events {verdict.events:,} read; {counted(verdict.heads, 'head')} met"
        + (f"; {counted(verdict.unsigned, 'event')} after the head, not signed yet" if verdict.unsigned else "")
    )
    for key in log.keys:
        yield f"key    {key.name}+{key.key_id.hex()}"
    if log.before is not None:
        yield f"memory the head of {log.before:,} events that was seen before"


def _range(finding: "Finding") -> str:
    if finding.end <= finding.first:
        return ""
    if finding.end == finding.first + 1:
        return f" (event {finding.first})"
    return f" (events {finding.first}..{finding.end - 1})"


def _finding_json(finding: "Finding") -> dict[str, Any]:
    return {
        "kind": finding.kind.value,
        "violation": finding.kind.is_violation,
        "where": finding.where,
        "what": finding.what,
        "first": finding.first,
        "end": finding.end,
    }


def _log_json(log: "LogVerdict") -> dict[str, Any]:
    verdict = log.verdict
    head = verdict.head
    return {
        "cluster": log.cluster,
        "origin": log.origin,
        "sound": verdict.is_sound,
        "head": {"size": head.size, "root": head.root.hex()} if head else None,
        "heads": verdict.heads,
        "events": verdict.events,
        "unsigned": verdict.unsigned,
        "removed": dict(verdict.lacking),
        "remembered": log.before,
        "keys": [str(key) for key in log.keys],
        "findings": [_finding_json(finding) for finding in verdict.findings],
    }


@contextmanager
def _progress(label: str) -> Iterator[Any]:
    """Show how far it is; gives what is to be told."""
    from kubewitness.cli.progress import Progress

    state = [0, 0]

    def tell(done: int, total: int) -> None:
        state[:] = done, total

    with Progress(label, lambda: state[0] / state[1] if state[1] else None):
        yield tell


def _memory(args: argparse.Namespace) -> "dict[str, Remembered]":
    from kubewitness.keep.store.errors import DamagedError
    from kubewitness.keep.store.memory import Memory

    if not args.state:
        return {}
    if not Path(args.state).absolute().parent.is_dir():
        raise UserError(f"--state {args.state}: there is no such directory")
    try:
        return Memory(Path(args.state).absolute()).load()
    except DamagedError as exc:
        raise UserError(f"{exc}; a state file that cannot be read is not one that can be forgotten") from exc


def _heads(names: list[str]) -> "list[tuple[bytes, Checkpoint]]":
    """Read heads that were kept elsewhere. Raises UserError for a file that holds none."""
    from kubewitness.keep.seal.checkpoint import parse_checkpoint
    from kubewitness.keep.seal.errors import NoteError
    from kubewitness.keep.seal.note import parse_note

    found = []
    for name in names:
        try:
            note = Path(name).read_bytes()
            found.append((note, parse_checkpoint(parse_note(note).text)))
        except (NoteError, OSError) as exc:
            raise UserError(f"--head {name}: {getattr(exc, 'strerror', None) or exc}") from exc
    return found


def _remember(args: argparse.Namespace, report: Report) -> None:
    """Write down the heads that were found good. Raises OSError."""
    from kubewitness.keep.store.memory import Memory, Remembered

    if not args.state:
        return
    good = {log.origin: Remembered(log.note, log.keys) for log in report.logs if log.may_be_remembered}
    now = report.memory | good
    if now != report.memory:
        Memory(Path(args.state).absolute()).save(now)


def _verify_data(args: argparse.Namespace) -> Report:
    from kubewitness.keep.store.verify_data import strangers, vanished, verify_data

    memory = _memory(args)
    pins = given_keys(args.key)
    data = data_of(args)
    clusters = clusters_of(args, data)
    report = Report(str(data.path))
    report.memory = memory
    heads = _heads(args.head)
    strays = {head.origin for _, head in heads} - {meta.origin for meta in clusters}
    if strays:
        raise UserError(f"--head: no log here is {', '.join(sorted(strays))}")

    def keys_of(meta: "ClusterMeta") -> "tuple[VerifierKey, ...]":
        if pins or meta.origin in memory:
            report.pinned = True
            return pins or memory[meta.origin].keys
        return published_keys(args, data, meta.cluster)

    report.others += strangers(data)
    if not args.cluster:
        report.others += vanished(memory, clusters)
    with _progress("verifying") as tell:
        for log in verify_data(data, clusters, keys_of, memory, heads, tell):
            _tell_late(log, args.max_unsigned)
            report.logs.append(log)
    return report


def _tell_late(log: "LogVerdict", allowed_s: float) -> None:
    """Find it wrong that Events wait for a signature for longer than a server that runs lets them."""
    from kubewitness.keep.store.verify import Finding, Kind

    verdict = log.verdict
    if verdict.head is None or verdict.unsigned_ns is None:
        return
    age_s = (time.time_ns() - verdict.unsigned_ns) / 1e9
    if age_s > allowed_s:
        what = f"{counted(verdict.unsigned, 'event')} stored up to {age_s:,.0f} s ago, and no head of them was signed"
        verdict.findings.append(Finding("heads", what, Kind.UNSIGNED, verdict.head.size, verdict.events))


def _verify_url(args: argparse.Namespace, url: str) -> Report:
    import ssl

    from kubewitness.keep.seal.ed25519 import Ed25519Verifier
    from kubewitness.keep.store.remote import RemoteTiles, verify_remote
    from kubewitness.keep.store.verify_data import LogVerdict

    memory = _memory(args)
    pins = given_keys(args.key)
    keys = pins or tuple(key for remembered in memory.values() for key in remembered.keys)
    try:
        context = ssl.create_default_context(cafile=args.ca) if url.startswith("https") else None
        remote = RemoteTiles(url, context)
    except (ValueError, OSError) as exc:
        raise UserError(f"{url}: {exc}" if args.ca is None else f"--ca {args.ca}: {exc}") from exc
    report = Report(url)
    report.memory = memory
    report.pinned = True
    known = [remembered for origin, remembered in memory.items() if origin in {key.name for key in keys}]
    if len(known) > 1 and not pins:
        raise UserError(f"--state {args.state} remembers several logs: choose one with --key")
    before = known[0].head if known else None
    with remote, _progress("verifying") as tell:
        try:
            verdict, note = verify_remote(remote, [Ed25519Verifier.of(key) for key in keys], before, tell)
        except OSError as exc:
            raise UserError(f"{url}: {exc}", ExitCode.RUNTIME) from exc
    origin = verdict.head.origin if verdict.head else (keys[0].name if keys else url)
    report.logs.append(LogVerdict("", origin, verdict, keys, before.size if before else None, note))
    return report


def _verify_bundle(args: argparse.Namespace, path: Path) -> int:
    """Check a bundle with the program that bundles carry, but with our copy of it."""
    from kubewitness.cli.render.printable import printable
    from kubewitness.keep.store.bundle_verify import check

    keys = given_keys(args.key) or tuple(key for known in _memory(args).values() for key in known.keys)
    good, wrong, proved, lacking = check(_bundle_files(path), "".join(f"{key}\n" for key in keys))
    code = ExitCode.INTEGRITY if wrong else ExitCode.OK if proved and not lacking else ExitCode.INCOMPLETE
    if args.output == "json":
        report = {"place": str(path), "result": _RESULTS[code], "exitCode": int(code), "keysPinned": bool(keys)}
        print(json.dumps(report | {"good": good, "lacking": lacking, "wrong": wrong}, indent=2))  # noqa: T201
        return code
    sys.stdout.write(f"{printable(str(path))}: {'VIOLATED' if wrong else _RESULTS[code]}\n")
    for label, lines in (("ok", good), ("LACKS", lacking), ("WRONG", wrong)):
        sys.stdout.writelines(f"  {label:<5} {printable(line)}\n" for line in lines)
    if not keys:
        say("the keys are those of the bundle itself; --key pins one that you had from elsewhere")
    return code


def _bundle_files(path: Path) -> dict[str, bytes]:
    """Read the files of a bundle. Raises UserError for what is none."""
    import lzma
    import zipfile

    from kubewitness.keep.store.bundle_verify import SUMS, read_directory

    damage = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, ValueError)

    if path.is_dir():
        return read_directory(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > _MAX_BUNDLE_BYTES:
                raise UserError(f"{path}: more than {_MAX_BUNDLE_BYTES >> 30} GiB; unpack it and name the directory")
            top = next((entry.filename[: -len(SUMS)] for entry in entries if entry.filename.endswith(SUMS)), None)
            if top is None:
                raise UserError(f"{path}: neither a data directory nor a bundle of evidence")
            names = [entry.filename for entry in entries if not entry.is_dir()]
            if len(set(names)) != len(names) or not all(name.startswith(top) for name in names):
                raise UserError(f"{path}: holds more than one bundle", ExitCode.INTEGRITY)
            return {name.removeprefix(top): archive.read(name) for name in names}
    except (*damage, OSError) as exc:
        # places that cannot be, and what bz2 cannot unpack; other errors of this kind are the disk's
        if isinstance(exc, OSError) and exc.errno not in (errno.EINVAL, None):
            raise
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                raise UserError(f"{path}: the archive is damaged: {exc}", ExitCode.INTEGRITY) from exc
        raise UserError(f"{path}: neither a data directory nor a bundle of evidence") from exc
