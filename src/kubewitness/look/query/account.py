"""
The account of a question: what was read, what was mended, what was lost and where, and what was not looked at.

Every line of every input is in exactly one of `events` and `damaged`, unless a prefilter was used: then
`damage_checked` is False and lines without the sought text were not parsed.
"""

from collections import Counter

import msgspec

from kubewitness.event.items import Damage

DAMAGE_KEPT = 100  # places kept per input; the total is always exact


class FileAccount(msgspec.Struct):
    """The account of one input."""

    name: str
    lines: int = 0
    """Lines that are not blank; for other shapes than one Event a line, the values found."""
    events: int = 0
    mended: int = 0
    """Events that needed help: a byte order mark, text that is not UTF-8, an envelope, `"200"` for 200."""
    damaged: int = 0
    odd: int = 0
    """Lines the engine did not answer and the tolerant path looked at."""
    notes: Counter[str] = msgspec.field(default_factory=Counter)
    damage: list[Damage] = msgspec.field(default_factory=list)
    dialects: Counter[str] = msgspec.field(default_factory=Counter)
    damage_checked: bool = True

    def add_damage(self, damage: Damage) -> None:
        """Count bytes that gave no Event; keep the first places."""
        self.damaged += 1
        if len(self.damage) < DAMAGE_KEPT:
            self.damage.append(damage)


class Account(msgspec.Struct):
    """The account of one question over all its inputs."""

    files: list[FileAccount] = msgspec.field(default_factory=list)
    unknown: int = 0
    """Events or requests for which the question cannot be answered from what was recorded."""

    @property
    def lines(self) -> int:
        """Lines or values looked at."""
        return sum(file.lines for file in self.files)

    @property
    def events(self) -> int:
        """Events read, whether or not they matched."""
        return sum(file.events for file in self.files)

    @property
    def mended(self) -> int:
        """Events that needed help to be read."""
        return sum(file.mended for file in self.files)

    @property
    def damaged(self) -> int:
        """Places that gave no Event."""
        return sum(file.damaged for file in self.files)

    @property
    def damage(self) -> list[Damage]:
        """The first places of damage of every input."""
        return [damage for file in self.files for damage in file.damage]

    @property
    def damage_checked(self) -> bool:
        """Whether every line was parsed."""
        return all(file.damage_checked for file in self.files)

    @property
    def is_complete(self) -> bool:
        """Whether nothing was lost and nothing is unknown: exit code 0, else 4."""
        return self.damaged == 0 and self.unknown == 0
