"""The lines of inputs that hold one of some texts, searched for while the rest of the program is loaded."""

from collections.abc import Iterable, Sequence

from kubewitness._kit.opening import Compression
from kubewitness.look.query.linetexts import Needles, plan
from kubewitness.look.query.source import Input
from kubewitness.look.query.textsearch import search


class Picks:
    """The candidate lines of inputs, searched for from now on."""

    def __init__(self, inputs: Iterable[Input], groups: Sequence[Needles]) -> None:
        paths = [one.path for one in inputs if one.is_lines and one.compression is Compression.NONE]
        self._search = search(plan(paths, list(groups)))

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
