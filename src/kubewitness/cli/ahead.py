"""
Begin what a command waits for longest while the rest of the program loads, by its words alone.

`begin(words)` looks at what was typed before any flag is understood. Where the words leave no doubt that the engine is
asked, it is begun. Where they name a text that a line must hold, the lines with it are searched for: if the flags
turn out to mean something else, that search is dropped. Searches fork, and the engine has threads, so there is never
both: `is_begun()` makes `open_log` ask the engine whatever the flags say.

Loaded before anything else is, so it imports little.
"""

import os

_COUNTING = frozenset({"top", "stats", "timeline"})
_ASKING = _COUNTING | {"search"}
_WITHOUT_TEXT = frozenset(
    ["--by", "--code", "--limit", "--no-headers", "--outcome", "--output", "--since", "--until", "-o"]
)
"""Flags whose values cannot be looked for as texts in a line."""
_OF_WHO = frozenset({"-n", "--namespace", "--policy"})
"""Flags of `who` that say what object is meant: it is judged by more than texts."""
_TEXTS = frozenset(
    ["--user", "--group", "--sa", "--verb", "--resource", "--subresource", "-n", "--namespace", "--name", "--audit-id"]
)
"""Flags whose values stand in a line, if they are plain."""
_NAMELESS = frozenset({"create", "deletecollection"})
"""Verbs of requests that may be about an object whose name does not stand in the line."""
_WITHOUT_SEARCH = frozenset(["--account", "--where", "--show-sql", "--data", "-w", "--follow", "-h", "--help"])
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@-")
SMALL_BYTES = 32 << 20
"""Parsing so much takes no longer than a person notices, so nothing is searched for, and damage is always found."""

_begun: set[str] = set()
_ENGINE, _SEARCH = "engine", "search"


def begin(words: list[str]) -> None:
    """Begin what the command is certain, or likely, to need."""
    if needs_engine(words):
        from kubewitness.look.query import lockdown

        lockdown.begin()
        _begun.add(_ENGINE)
    elif texts := texts_named(words):
        options, operands = _parted(words[1:])
        paths = [word for word in options if word[:1] != "-"] + operands
        paths = list(filter(os.path.isfile, paths))
        if sum(os.stat(path).st_size for path in paths) >= SMALL_BYTES:  # noqa: PTH116
            _search(paths, texts)


def is_begun() -> bool:
    """Say whether this program has begun the engine for its command."""
    return _ENGINE in _begun


def drop_search() -> None:
    """Stop the search that was begun, if there is one: nobody will ask for it."""
    if _SEARCH in _begun:
        from kubewitness.look.query import textsearch

        textsearch.drop()


def needs_engine(words: list[str]) -> bool:
    """Say whether a command is certain to ask the engine."""
    name, *rest = words or [""]
    flags = _flags(rest)
    if name == "who":
        return flags <= _WITHOUT_TEXT | _OF_WHO
    return (name in _ASKING and "--account" in flags) or (name in _COUNTING and flags <= _WITHOUT_TEXT)


def texts_named(words: list[str]) -> list[frozenset[bytes]]:
    """Give the texts that the flags of a command name, of which a line must hold each; as a guess."""
    name, *rest = words or [""]
    if name not in _ASKING or _flags(rest) & _WITHOUT_SEARCH:
        return []
    given: dict[str, list[str]] = {}
    words, _ = _parted(rest)
    for number, word in enumerate(words):
        flag, sign, value = word.partition("=")
        if flag in _TEXTS and (sign or number + 1 < len(words)):
            given.setdefault(flag, []).append(value if sign else words[number + 1])
    if _NAMELESS.intersection(given.get("--verb", _NAMELESS)):
        given.pop("--name", None)
    once = [(flag, values[0]) for flag, values in given.items() if len(values) == 1]  # given twice, either is meant
    texts = dict.fromkeys(text for flag, value in once for text in _values(flag, value))
    return [frozenset({b'"%s"' % text.encode()}) for text in texts]


def _values(flag: str, value: str) -> list[str]:
    """Give the texts that the value of a flag stands for; none where it is not plain."""
    parts = [value]
    if flag == "--resource":
        parts = value.replace("/", ".").split(".")
    elif flag == "--sa":
        parts = [f"system:serviceaccount:{value.replace('/', ':')}"]
    return [part for part in parts if part and _PLAIN.issuperset(part)]


def _flags(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in _parted(words)[0] if word[:1] == "-" and word != "-"}


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """Part the words before `--`, where flags are, from those after it, where none is."""
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


def _search(paths: list[str], texts: list[frozenset[bytes]]) -> None:
    from kubewitness.look.query import textsearch
    from kubewitness.look.query.linetexts import plan

    try:
        chosen = plan([path for path in paths if _begins_an_object(path)], texts)
        if chosen:
            textsearch.begin(chosen)
            _begun.add(_SEARCH)
    except OSError:
        return  # who opens the file in earnest says what is wrong with it


def _begins_an_object(path: str) -> bool:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib costs start-up
        return file.read(1) == b"{"
