"""
Read a command line as jq reads it: which word is the filter, which are files, what do the options change.

In: the words after `kubewitness jq`. Out: an `Invocation`, or None where jq's own reading is not known for certain
(an option of another version, one without its value): then jq gets the words as they are, and answers itself.
Follows jq's src/main.c, versions 1.5 to 1.8.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

# Options without a value. Each of the first takes its inputs otherwise than one value at a time.
_CHANGES_INPUT = {"--null-input", "--slurp", "--raw-input", "--stream", "--stream-errors", "--seq"}
_FLAGS = _CHANGES_INPUT | {
    *("--compact-output", "--raw-output", "--raw-output0", "--join-output", "--ascii-output", "--exit-status"),
    *("--color-output", "--monochrome-output", "--sort-keys", "--tab", "--unbuffered"),
}
_SHORT = {
    "c": "--compact-output",
    "r": "--raw-output",
    "j": "--join-output",
    "a": "--ascii-output",
    "e": "--exit-status",
    "C": "--color-output",
    "M": "--monochrome-output",
    "S": "--sort-keys",
    "n": "--null-input",
    "s": "--slurp",
    "R": "--raw-input",
}
_INDENTS = set("01234567")
_PAIRS = {"--arg", "--argjson", "--slurpfile", "--rawfile", "--argfile"}


@dataclass(slots=True)
class Invocation:
    """One command line of jq."""

    words: list[str]
    program: str | None = None
    files: list[int] = field(default_factory=list)
    """Which of `words` name inputs."""
    variables: dict[str, object] = field(default_factory=dict)
    """The values of `--arg` and `--argjson`."""
    positional: list[object] = field(default_factory=list)
    """What follows `--args` and `--jsonargs`."""
    flags: set[str] = field(default_factory=set)
    indent: int | None = None

    @property
    def takes_values(self) -> bool:
        """Whether the filter is given each input value in turn."""
        return not self.flags & _CHANGES_INPUT


def read(words: Sequence[str]) -> Invocation | None:
    """Read a command line; None when jq must read it alone."""
    found = Invocation(list(words))
    takes, options_over = "files", False
    at = 0
    while at < len(words):
        word = words[at]
        if options_over or word == "-" or not word.startswith("-"):
            if found.program is None:
                found.program = word
            elif takes == "files":
                found.files.append(at)
            elif takes == "--args":
                found.positional.append(word)
            elif not _add_json(found.positional, word):
                return None
        elif word == "--":
            if found.program is None:
                return None  # 1.6 refuses this, 1.7 does not
            options_over = True
        elif word in ("--args", "--jsonargs"):
            takes = word
        elif (used := _option(found, words[at : at + 3])) is not None:
            at += used
        else:
            return None
        at += 1
    return None if found.program is None else found


def _option(found: Invocation, words: Sequence[str]) -> int | None:
    """Note the option that these words begin with; give how many more words it takes, None if it is not known."""
    word = words[0]
    if word in _PAIRS:
        return 2 if len(words) == 3 and _bind(found, word, words[1], words[2]) else None
    if word == "--indent":
        if len(words) == 1 or words[1] not in _INDENTS:
            return None
        found.indent = int(words[1])
        return 1
    if word in _FLAGS:
        found.flags.add(word)
    elif not word.startswith("--") and all(letter in _SHORT for letter in word[1:]):
        found.flags.update(_SHORT[letter] for letter in word[1:])
    else:
        return None
    return 0


def _add_json(values: list[object], text: str) -> bool:
    """Note a JSON text, unless it is none or one that only jq knows."""
    try:
        values.append(json.loads(text))
    except (ValueError, RecursionError):
        return False
    return True


def _bind(found: Invocation, option: str, name: str, value: str) -> bool:
    """Note a `$name`; the first of two wins, as in jq."""
    if option == "--arg":
        found.variables.setdefault(name, value)
    elif option == "--argjson":
        try:
            found.variables.setdefault(name, json.loads(value))
        except (ValueError, RecursionError):
            return False
    else:
        found.variables.setdefault(name, ...)
    return True
