"""
Bundles of evidence: Events, proofs, the signed head, and a program that checks them with nothing but Python.

A bundle is a handful of files; whether they go to a directory or an archive is left to the caller.
The files are described in docs/reference/formats.md, "Bundle".
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files as resources
from typing import Any

from kubewitness.keep.seal.note import VerifierKey
from kubewitness.keep.seal.proof import Evidence
from kubewitness.keep.store.bundle_verify import ABOUT, CHECKPOINT, KEYS, SUMS, canonical
from kubewitness.keep.store.evidence import Archive

PROGRAM = "verify.py"
README = "README.txt"

_README = """\
Evidence from the Kubernetes audit log of cluster {cluster}

What this is

  {count} of {size} audit events that a kubewitness log server had recorded when its
  operator signed the checkpoint in this folder. The server's log is a Merkle tree:
  the checkpoint is one number that changes if any event is changed, removed,
  added or moved, and it is signed with the key in keys.txt.

How to check it

  python3 -I verify.py

  needs Python 3.8 or later and nothing else, and no network. Better still, give it
  the key that the operator published before the case arose:

  python3 -I verify.py --key 'NAME+HASH+KEY'

  It prints a line for everything that is right, LACKS for what was removed from
  events, and WRONG for what is not right, and ends with 0 only if all is there
  and right. You may read it first, or write your own:
  the format is described in docs/reference/formats.md of kubewitness.
  `sha256sum -c SHA256SUMS` checks that no file was damaged on the way.

The files

  events/N.json         event number N of the log, in exactly the bytes that were
                        received; where something was removed later, a last
                        member "kubewitness.io/removed" says what and why
                        (that it was there is proved, the reason is not)
  events/N.tlog-proof   proof that this event is number N of the log (a C2SP
                        tlog-proof); its `extra` line (base64) has the time of
                        receipt in nanoseconds, the source, and random numbers
                        (salts) that keep the tree from telling anything of events
                        that you were not given
  checkpoint            the head of the log: its name, how many events, the root
                        of the tree, and signatures
  keys.txt              the keys that may sign it
  about.json            which events these are, and how they were chosen
  SHA256SUMS            checksums of all files

What it proves, and what not

  It proves that the server had recorded these bytes, from that source and at that
  time by its own clock, when it signed the checkpoint; and that it can show no
  other history to anybody who has seen the same checkpoint.
  It does not prove that the API server reported everything, that an event tells
  the truth, or that there are no other events. about.json and this text are not
  signed. If nobody but the server's operator has ever seen the checkpoint, the
  operator could have written the whole log anew: compare the checkpoint with
  one that was kept elsewhere.
"""


class Bundle:
    """One bundle while it is made: files come out one by one, their sums last."""

    def __init__(self, archive: Archive, keys: Sequence[VerifierKey], cluster: str, told: dict[str, Any]) -> None:
        """Begin a bundle. `told` is what about.json says of who made it and how."""
        self._archive = archive
        self._keys = keys
        self._cluster = cluster
        self._told = told
        self._sums: dict[str, str] = {}
        self.indexes: list[int] = []
        """The Events that it holds so far."""

    def files(self, events: Iterable[Evidence]) -> Iterator[tuple[str, bytes]]:
        """Give the names and bytes of its files. Raises LeafError, ProofError, TileError, DamagedError."""
        for evidence in events:
            name = f"events/{evidence.index:020}"
            yield self._sum(f"{name}.json", evidence.kept.line)
            yield self._sum(f"{name}.tlog-proof", self._archive.proof(evidence))
            self.indexes.append(evidence.index)
        about = {"cluster": self._cluster, "origin": self._archive.head.origin, "events": self.indexes, **self._told}
        yield self._sum(ABOUT, canonical(about))
        yield self._sum(CHECKPOINT, self._archive.note)
        yield self._sum(KEYS, "".join(f"{key}\n" for key in self._keys).encode())
        yield self._sum(PROGRAM, resources("kubewitness.keep.store").joinpath("bundle_verify.py").read_bytes())
        text = _README.format(cluster=ascii(self._cluster)[1:-1], count=len(self.indexes), size=self._archive.head.size)
        yield self._sum(README, text.encode())
        body = "".join(f"{digest}  {name}\n" for name, digest in sorted(self._sums.items()))
        yield SUMS, f"{body}# {hashlib.sha256(body.encode()).hexdigest()}\n".encode()

    def _sum(self, name: str, data: bytes) -> tuple[str, bytes]:
        self._sums[name] = hashlib.sha256(data).hexdigest()
        return name, data
