"""The flags by which a command finds a store: `--data`, `--cluster`, `--key`; and what they lead to."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError

if TYPE_CHECKING:
    from kubewitness.keep.seal.note import VerifierKey
    from kubewitness.keep.store.layout import ClusterMeta, DataDir


def add_store_arguments(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """Add the flags that name a data directory and a cluster."""
    return _add_arguments(
        parser,
        data="the data directory of `serve` (default: KUBEWITNESS_DATA)",
        cluster="the cluster (default: KUBEWITNESS_CLUSTER, or the only one there)",
        keys="where the keys of the data directory are (default: DIR.keys beside it)",
    )


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --data, --cluster and --keys of a store that is written to."""
    _add_arguments(
        parser,
        data="the data directory, made if it is not there (default: KUBEWITNESS_DATA)",
        cluster="the cluster the events are of (default: KUBEWITNESS_CLUSTER)",
        keys="where the keys are (default: DIR.keys beside the data)",
    )


def _add_arguments(parser: argparse.ArgumentParser, *, data: str, cluster: str, keys: str) -> "argparse._ArgumentGroup":
    """Add the three flags, each explained so."""
    group = parser.add_argument_group("store")
    group.add_argument("--data", metavar="DIR", default=os.environ.get("KUBEWITNESS_DATA"), help=data)
    group.add_argument("--cluster", metavar="NAME", default=os.environ.get("KUBEWITNESS_CLUSTER"), help=cluster)
    group.add_argument("--keys", metavar="DIR", help=keys)
    return group


def target_of(args: argparse.Namespace) -> tuple[Path, Path, str]:
    """Give data directory, key directory and cluster. Raises UserError for what is not named."""
    from kubewitness.keep.store.layout import default_keys

    if not args.data:
        raise UserError("no data directory: name one with --data DIR, or set KUBEWITNESS_DATA")
    if not args.cluster:
        raise UserError("no cluster: say with --cluster NAME whose events these are")
    if args.cluster.startswith("_"):
        raise UserError(f"--cluster {args.cluster}: names that begin with _ are our own")
    data = Path(args.data).absolute()
    keys = Path(args.keys) if args.keys else default_keys(data)
    for path in (data, keys):
        if path.exists() and not path.is_dir():
            raise UserError(f"{path}: is not a directory")
    _check_key(data, keys, args.cluster)
    return data, keys, args.cluster


def _check_key(data: Path, keys: Path, cluster: str) -> None:
    """Refuse the wrong place of keys before anything is stored, and signed by a key that nobody knows."""
    from kubewitness.keep.store.layout import DataDir, KeyDir

    heads = DataDir(data).log_path(cluster) / "heads"
    if heads.is_dir() and any(heads.iterdir()) and KeyDir(keys).lacks(cluster):
        raise UserError(
            f"{keys}: no key of {cluster} is there, and heads of its log were signed; --keys DIR names another place\n"
            "  help: where the key is lost, `kubewitness keys rotate --no-overlap` makes a new one"
        )


def second_writer(data: Path, cluster: str) -> UserError:
    """Give the error of who would write to a log that another process has, with the ways there are."""
    return UserError(
        f"{data}: another process writes to the log of {cluster}: `serve`, `tail` or an import. "
        "A running `serve` reads log files itself: name them in its configuration, under clusters[].logs; "
        "or stop it for as long as this takes",
        ExitCode.RUNTIME,
    )


def data_of(args: argparse.Namespace) -> "DataDir":
    """Give the data directory. Raises UserError when none is named or none is there."""
    from kubewitness.keep.store.layout import DataDir

    if not args.data:
        raise UserError("no data directory: name one with --data DIR, or set KUBEWITNESS_DATA")
    path = Path(args.data)
    if not path.is_dir():
        raise UserError(
            f"{path}: there is no such file or directory" if not path.exists() else f"{path}: is not a directory"
        )
    return DataDir(path.resolve())


def clusters_of(args: argparse.Namespace, data: "DataDir") -> "list[ClusterMeta]":
    """Give the logs that are asked for: the one that --cluster names, or all. Raises UserError."""
    from kubewitness.keep.store.errors import DamagedError

    try:
        found = data.clusters()
    except DamagedError as exc:
        raise UserError(str(exc), ExitCode.INTEGRITY) from exc
    if not args.cluster:
        return list(found.values())
    if args.cluster not in found:
        known = ", ".join(sorted(found)) or "none"
        raise UserError(f"{data.path} has no log of cluster {args.cluster!r}; there is: {known}")
    return [found[args.cluster]]


def cluster_of(args: argparse.Namespace, data: "DataDir") -> "ClusterMeta":
    """Give the one log that is asked for. Raises UserError when there are several and none is named."""
    from kubewitness.keep.store.layout import OWN_PREFIX

    clusters = clusters_of(args, data)
    if not args.cluster:  # the server's own log is meant only where it is named
        clusters = [meta for meta in clusters if not meta.cluster.startswith(OWN_PREFIX)]
    if not clusters:
        raise UserError(f"{data.path} holds no log of a cluster")
    if len(clusters) > 1:
        names = ", ".join(sorted(meta.cluster for meta in clusters))
        raise UserError(f"{data.path} holds the logs of several clusters: choose one with --cluster: {names}")
    return clusters[0]


def keys_path(args: argparse.Namespace, data: "DataDir") -> Path:
    """Give the directory of the keys."""
    from kubewitness.keep.store.layout import default_keys

    return Path(args.keys) if args.keys else default_keys(data.path)


def published_keys(args: argparse.Namespace, data: "DataDir", cluster: str) -> "tuple[VerifierKey, ...]":
    """Give the verifier keys that lie beside the data; none when there are none. Raises UserError."""
    from kubewitness.keep.seal.errors import NoteError
    from kubewitness.keep.store.layout import KeyDir

    path = keys_path(args, data)
    try:
        return tuple(KeyDir(path).verifiers(cluster))
    except FileNotFoundError:
        return ()
    except NoteError as exc:
        raise UserError(f"{path}: {exc}") from exc


def given_keys(texts: list[str]) -> "tuple[VerifierKey, ...]":
    """Read `--key` values: verifier keys themselves, or files of them, a line each. Raises UserError."""
    from kubewitness.keep.seal.ed25519 import Ed25519Verifier
    from kubewitness.keep.seal.errors import NoteError
    from kubewitness.keep.seal.note import parse_verifier_key

    keys: dict[str, VerifierKey] = {}
    for text in texts:
        path = Path(text)
        is_file = len(text) < 1000 and path.is_file()
        lines = path.read_text("utf-8", "replace").splitlines() if is_file else [text]
        for line in lines:
            if not line.strip() or line.startswith("#"):
                continue
            try:
                key = parse_verifier_key(line)
                Ed25519Verifier.of(key)
            except NoteError as exc:
                said = f"--key {text}: {exc}" if is_file else f"--key: {exc}, and there is no file of that name"
                raise UserError(said) from exc
            keys[str(key)] = key
    if texts and not keys:
        raise UserError(f"--key {texts[0]}: no verifier key is in it")
    return tuple(keys.values())
