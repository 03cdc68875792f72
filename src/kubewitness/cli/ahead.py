"""
Begin the engine while the rest of the program loads, where the words of a command leave no doubt that it is asked.

`begin_engine(words)` looks at what was typed before any flag is understood. The engine must not be begun where lines
are looked for by their text: that search forks. So `is_begun()` makes `open_log` ask the engine whatever the flags say.
"""

from collections.abc import Sequence

_COUNTING = frozenset({"top", "stats", "timeline"})
_ASKING = _COUNTING | {"search"}
_WITHOUT_TEXT = frozenset(
    ["--by", "--code", "--limit", "--no-headers", "--outcome", "--output", "--since", "--until", "-o"]
)
"""Flags whose values cannot be looked for as texts in a line."""

_begun: list[bool] = []


def needs_engine(words: Sequence[str]) -> bool:
    """Say whether a command is certain to ask the engine."""
    name, *rest = words or [""]
    flags = {word.partition("=")[0] for word in rest if word[:1] == "-" and word != "-"}
    return (name in _ASKING and "--account" in flags) or (name in _COUNTING and flags <= _WITHOUT_TEXT)


def begin_engine(words: Sequence[str]) -> None:
    """Begin the engine in the background if the command is certain to ask it."""
    if needs_engine(words):
        from kubewitness.look.query import lockdown

        lockdown.begin()
        _begun.append(True)


def is_begun() -> bool:
    """Say whether this program has begun the engine for its command."""
    return bool(_begun)
