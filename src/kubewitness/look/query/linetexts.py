r"""
Which texts to look for in a log: those that are rarest in its first lines, and escapes behind which they may hide.

Lines with an escape that Go does not write (`\u0073ecrets`, `\/`) are looked for too, so that what is found is exact.
Loaded before anything else is (`cli/ahead.py`), so it imports little.
"""

from kubewitness.look.query.linesearch import Finder, Texts

Needles = frozenset[bytes]
"""Alternatives: at least one of them is in the line."""
Plan = dict[str, Texts]
"""By path of a file: what is looked for in it."""

_SAMPLE_BYTES = 1 << 17
_SELECTIVE = 0.04  # of the lines of the sample; with more candidates parsing everything is as fast

_ESCAPE, _SLASH = b"\\u00", b"\\/"
_FEW = 4  # escapes of the sample
_SAMPLED = 16  # files; those after them are as the last of these


def plan(paths: list[str], groups: list[Needles]) -> Plan:
    """Choose for each file what is looked for in it; files in which nothing is rare are left out."""
    chosen: Plan = {}
    group, texts = None, ((), ())  # type: tuple[Needles | None, Texts]
    for number, path in enumerate(dict.fromkeys(paths)):
        if number < _SAMPLED:  # many files are of one log
            sample = _sample_of(path)
            group = choose(sample, groups)
            texts = texts_of(group, sample) if group else texts
        if group:
            chosen[path] = texts
    return chosen


def choose(sample: bytes, groups: list[Needles]) -> Needles | None:
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


def texts_of(group: Needles, sample: bytes = b"") -> Texts:
    r"""Give what has to be looked for in a log like this sample.

    Go escapes `&`, which stands in many a URL: where that is so, only escapes of the needles' own signs are sought.
    """
    plain = sorted(group)
    if any(b"/" in needle for needle in group):
        plain.append(_SLASH)
    signs = set(b"".join(needle[1:-1] for needle in group) + b"".join(needle.strip(b'"') for needle in group))
    if sample.count(_ESCAPE) <= _FEW or signs & set(b'\\"'):
        return tuple(plain), (_ESCAPE,)
    escapes = {_ESCAPE + (b"%x" % sign)[:1] for sign in signs if sign >= 0x30}
    for sign in signs:
        if sign < 0x30:
            escapes |= {_ESCAPE + b"%02x" % sign, _ESCAPE + b"%02X" % sign}
    return tuple(plain), tuple(sorted(escapes))


def _sample_of(path: str) -> bytes:
    """Give the first lines of a file."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib costs start-up
        sample = file.read(_SAMPLE_BYTES)
    return sample[: sample.rfind(b"\n") + 1 or len(sample)]
