"""
Notice that an auditID was used before, for something else.

A client may choose the Audit-ID of its request (kube-apiserver takes the header as it is), to pass for an Event that
is stored already or to confuse whoever counts by it. Nothing is dropped for that; it is counted and said. Aggregated
API servers use the ID of the request that they serve, and a truncated copy
has the ID of the whole: neither is an attack.
"""

WINDOW = 250_000


class Ids:
    """The latest auditIDs with stages, as numbers: `capacity` at least, twice as many at most."""

    def __init__(self, capacity: int = WINDOW) -> None:
        """Begin with none known."""
        self._capacity = capacity
        self._young: set[int] = set()
        self._old: set[int] = set()

    def see(self, number: int) -> bool:
        """Tell whether it was seen before; from now on it was."""
        if number in self._young or number in self._old:
            return True
        if len(self._young) >= self._capacity:
            self._old, self._young = self._young, set()
        self._young.add(number)
        return False
