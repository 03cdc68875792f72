r"""
The lines of logs that hold one of some texts: which of the texts is rarest, and who looks for it.

Looked for by `linesearch`, or by `rg` where there is one and the C library is slow. Lines that may hide a text behind
an escape that Go does not write (`\u0073ecrets`, `\/`) are found too, so that what is found is exact.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from kubewitness._kit.opening import Compression
from kubewitness.look.query.linesearch import Finder, LineSearch, Span, Texts, speed, workers
from kubewitness.look.query.ripgrep import Rg, RgError, which
from kubewitness.look.query.source import Input

Needles: TypeAlias = frozenset[bytes]
"""Alternatives: at least one of them is in the line."""

_SAMPLE_BYTES = 1 << 17
_SELECTIVE = 0.04  # of the lines of the sample; with more candidates parsing everything is as fast
_RG_BYTES_S = 10e9  # what `rg` looks through in a second, roughly, with the one processor it takes

_ESCAPE, _SLASH = b"\\u00", b"\\/"
_FEW = 4  # escapes of the sample
_SAMPLED = 16  # files; those after them are as the last of these


def choose(sample: bytearray, groups: Sequence[Needles]) -> Needles | None:
    """Give the alternatives that are rarest in the first bytes of a file; None when none is rare."""
    if not sample or not groups:
        return None
    lines = sample.count(b"\n") or 1
    counts = []
    for group in groups:
        found = Finder(sample, texts_of(group, sample)).lines(0, len(sample))
        counts.append((len(found), -min(map(len, group))))
    best = min(range(len(groups)), key=counts.__getitem__)
    return groups[best] if counts[best][0] <= _SELECTIVE * lines else None


def texts_of(group: Needles, sample: bytes | bytearray = b"") -> Texts:
    r"""Give what has to be looked for in a log like this sample.

    Go escapes `&`, which stands in many a URL: where that is so, only escapes of the needles' own signs are sought.
    """
    plain = sorted(group)
    if any(b"/" in needle for needle in group):
        plain.append(_SLASH)
    signs = set(b"".join(needle[1:-1] for needle in group) + b"".join(needle.strip(b'"') for needle in group))
    if sample.count(_ESCAPE) <= _FEW or signs & set(b'\\"'):
        return Texts(tuple(plain), (_ESCAPE,))
    escapes = {_ESCAPE + (b"%x" % sign)[:1] for sign in signs if sign >= 0x30}
    for sign in signs:
        if sign < 0x30:
            escapes |= {_ESCAPE + b"%02x" % sign, _ESCAPE + b"%02X" % sign}
    return Texts(tuple(plain), tuple(sorted(escapes)))


def candidates(path: str, group: Needles) -> list[tuple[int, bytes]] | None:
    """Give offset and bytes of every line that may hold one of the needles, in order; None for too many."""
    picks = _Search({path: (group, texts_of(group, _sample(path)))})
    try:
        return picks.lines(path)
    finally:
        picks.close()


class Picks:
    """The candidate lines of inputs, searched for from now on."""

    def __init__(self, inputs: Iterable[Input], groups: Sequence[Needles]) -> None:
        paths = [one.path for one in inputs if one.is_lines and one.compression is Compression.NONE]
        files: dict[str, tuple[Needles, Texts]] = {}
        group, texts = None, Texts((), ())
        for number, path in enumerate(dict.fromkeys(paths)):
            if number < _SAMPLED:  # many files are of one log
                sample = _sample(path)
                group = choose(sample, groups)
                texts = texts_of(group, sample) if group else texts
            if group:
                files[path] = (group, texts)
        self._search = _Search(files)

    def take(self, one: Input) -> list[tuple[int, bytes]] | None:
        """Give offset and bytes of the lines to be parsed; None when every line is to be."""
        return self._search.lines(one.path)

    @property
    def fraction(self) -> float | None:
        """How far the search is, 0 to 1; None where nobody knows. May be asked from another thread."""
        return self._search.fraction

    def close(self) -> None:
        """Stop what still runs."""
        self._search.close()


class _Search:
    """A search of some files, by whichever is quicker here: `rg`, one file after the other, or processes of ours."""

    def __init__(self, files: Mapping[str, tuple[Needles, Texts]]) -> None:
        self._files = files
        self._found: dict[str, list[Span] | None] | None = None
        self._ours: LineSearch | None = None
        self._rg: Rg | None = None
        self._program = which("rg")
        if files and self._program is not None:
            path, (group, texts) = next(iter(files.items()))
            sample = _sample(path)
            if sample and speed(sample, texts) * workers() < _RG_BYTES_S:
                self._rg = Rg(self._program, path, group)
        if self._rg is None:
            self._search_ourselves()

    def _search_ourselves(self) -> None:
        files = [(path, texts) for path, (_, texts) in self._files.items()]
        self._ours = LineSearch(files) if files else None

    def lines(self, path: str) -> list[tuple[int, bytes]] | None:
        """Give offset and bytes of the candidates in a file; None for too many, or where no search was."""
        if path not in self._files:
            return None
        if self._ours is None and self._program is not None:
            if self._rg is None or self._rg.path != path:
                self._stop_rg()
                self._rg = Rg(self._program, path, self._files[path][0])
            try:
                return self._rg.lines()
            except RgError:
                self._search_ourselves()
        if self._ours is None:
            return None
        if self._found is None:
            self._found = dict(zip(self._files, self._ours.result(), strict=True))
        spans = self._found[path]
        if spans is None:
            return None
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return [(first, os.pread(file.fileno(), last - first, first)) for first, last in spans]

    @property
    def fraction(self) -> float | None:
        """How far it is, 0 to 1; None while `rg` searches."""
        return None if self._ours is None else self._ours.fraction

    def _stop_rg(self) -> None:
        if self._rg is not None:
            self._rg.close()
            self._rg = None

    def close(self) -> None:
        """Stop what still runs."""
        self._stop_rg()
        if self._ours is not None:
            self._ours.close()


def _sample(path: str) -> bytearray:
    """Give the first lines of a file."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib costs start-up
        sample = bytearray(file.read(_SAMPLE_BYTES))
    del sample[sample.rfind(b"\n") + 1 or len(sample) :]
    return sample
