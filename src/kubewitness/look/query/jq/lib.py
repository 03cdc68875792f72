"""
Run a jq filter where there is no jq: through libjq, as the PyPI package `jq` brings it.

In: the words of the command line. Out: what jq prints, as far as libjq lets it be known. It gives one input after the
other to the filter, so `input` and what else sees beyond one input is refused, with the options that libjq has not;
`UnsupportedError` names what. The same inputs are spared as with a jq on PATH.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from typing import Any

from kubewitness._kit.opening import TornError
from kubewitness.look.query.jq import arguments, sources
from kubewitness.look.query.jq.arguments import Invocation
from kubewitness.look.query.jq.program import parse
from kubewitness.look.query.jq.sift import Sifter, is_whole, shallow
from kubewitness.look.query.jq.silence import silence

OK, NULL_OUTPUT, UNREADABLE_INPUT, NO_PROGRAM, NO_OUTPUT, FAILED = range(6)
_SUPPORTED = {
    *("--compact-output", "--raw-output", "--join-output", "--ascii-output", "--exit-status", "--sort-keys", "--tab"),
    *("--monochrome-output", "--unbuffered", "--slurp", "--null-input"),
}
_BEYOND_ONE_INPUT = re.compile(
    r"\b(?:inputs?|input_filename|input_line_number|import|include|halt|halt_error|debug|stderr|\$__prog_args)\b"
)
# libjq orders the keys of what this gives as they were put in
_SORTED = """def _sorted: if type == "object" then . as $o | reduce keys[] as $k ({}; .[$k] = ($o[$k] | _sorted))
 elif type == "array" then map(_sorted) else . end; _sorted | """
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]|[,:]|[^\[\]{},:"]+')


class UnsupportedError(Exception):
    """This needs a jq on PATH."""


def is_installed() -> bool:
    """Whether libjq is there."""
    try:
        import jq  # noqa: F401
    except ImportError:
        return False
    return True


def run(words: Sequence[str], *, prefilter: bool = True) -> int:
    """Run the filter over the inputs; give jq's exit code."""
    call = arguments.read(words)
    if call is None or call.program is None:
        raise UnsupportedError("an option that only jq itself knows")
    odd = sorted(call.flags - _SUPPORTED) or _BEYOND_ONE_INPUT.findall(call.program)
    if odd or ... in call.variables.values():
        raise UnsupportedError(odd[0] if odd else "--slurpfile, --rawfile or --argfile")
    try:
        answer = _compiled(call)
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return NO_PROGRAM
    printer = _Printer(call, answer)
    if "--null-input" in call.flags:
        printer.answer("null", "<unknown>")
        return printer.exit_code()
    usable = prefilter and call.takes_values
    proof = silence(call.program, parse(call.program, call.variables)) if usable else None
    with shallow(256) as is_guarded:
        sifter = Sifter(proof, nesting=None if is_guarded else 256)
        texts: list[str] = []
        for name in [one for at in call.files for one in sources.expand(words[at])] or ["-"]:
            for text, line in _texts(name, sifter, printer):
                if "--slurp" in call.flags:
                    texts.append(text)
                else:
                    printer.answer(text, f"{'<stdin>' if name == '-' else name}:{line}")
        if "--slurp" in call.flags:
            printer.answer("\n".join(texts), "<unknown>")
    return printer.exit_code()


def _compiled(call: Invocation) -> Callable[[str], Iterator[str]]:
    """Compile the filter into a function from JSON text to compact JSON texts."""
    import jq

    ending = (_SORTED if "--sort-keys" in call.flags else "") + "tojson"
    known = dict(call.variables)
    program: Any = jq.compile(
        f"({call.program}\n) | {ending}",
        args={**known, "ARGS": {"named": known, "positional": call.positional}},
    )
    slurp = "--slurp" in call.flags
    return lambda text: iter(program.input_text(text, slurp=slurp))


def _texts(name: str, sifter: Sifter, printer: "_Printer") -> Iterator[tuple[str, int]]:
    """Give JSON texts and the lines where they end: one a line, while lines are whole; then each value of the rest."""
    import jq

    line, rest, by_line = 0, b"", True
    at_end = False
    pieces = _pieces(name, sifter, printer)
    while not at_end:
        piece = next(pieces, None)
        at_end = piece is None
        rest += sifter.end() if piece is None else piece
        while by_line and (cut := rest.find(b"\n") + 1 or (len(rest) if at_end else 0)):
            if not rest[:cut].strip():
                line += 1
            elif is_whole(rest[:cut]):
                line += 1
                yield rest[:cut].decode(errors="replace"), line
            else:
                by_line = False
                break
            rest = rest[cut:]
    line += rest.count(b"\n")
    try:
        # one by one, because an error in one must not end the rest
        for value in iter(jq.compile("tojson").input_text(rest.decode("utf-8-sig", errors="replace"))):
            yield value, line
    except ValueError as error:
        printer.complain(f"jq: {error}")


def _pieces(name: str, sifter: Sifter, printer: "_Printer") -> Iterator[bytes]:
    """Give what is left of an input by the sifter, as it comes."""
    try:
        if sources.is_compressed(name):
            for chunk in sources.unpacked(name):
                yield from sifter.push(chunk)
            return
        with FileIO(0, closefd=False) if name == "-" else FileIO(name) as file:
            while size := file.readinto(sifter.room()):
                yield sifter.take(size)
    except OSError as error:
        printer.complain(f"jq: error: Could not open file {name}: {error.strerror}")
    except TornError as error:
        printer.complain(f"kubewitness jq: {name}: the compressed data breaks off or is damaged: {error}")


class _Printer:
    """Prints answers as jq prints them, and keeps what the exit code will be."""

    def __init__(self, call: Invocation, answers: Callable[[str], Iterator[str]]) -> None:
        self.flags = call.flags
        self.answers = answers
        self.last: str | None = None
        self.code = OK
        self.unreadable = False
        compact = "--compact-output" in call.flags or call.indent == 0
        self.indent = None if compact else "\t" if "--tab" in call.flags else " " * (call.indent or 2)

    def answer(self, text: str, place: str) -> None:
        """Print what the filter makes of one text."""
        self.code = OK
        try:
            for output in self.answers(text):
                self.last = output
                sys.stdout.buffer.write(self.shown(output).encode(errors="replace"))
        except ValueError as error:
            self.code = FAILED
            sys.stdout.flush()
            print(f"jq: error (at {place}): {error}", file=sys.stderr)  # noqa: T201
        sys.stdout.flush()

    def complain(self, message: str) -> None:
        """Tell of an input that cannot be read."""
        self.unreadable = True
        print(message, file=sys.stderr)  # noqa: T201

    def exit_code(self) -> int:
        """Give jq's exit code."""
        if self.unreadable or self.code:
            return UNREADABLE_INPUT if self.unreadable else self.code
        if "--exit-status" not in self.flags:
            return OK
        return NO_OUTPUT if self.last is None else NULL_OUTPUT if self.last in ("null", "false") else OK

    def shown(self, output: str) -> str:
        """Lay out one output."""
        end = "" if "--join-output" in self.flags else "\n"
        is_raw = bool(self.flags & {"--raw-output", "--join-output"})
        if "--ascii-output" in self.flags:
            output = re.sub(r"[^\0-\x7f]", lambda found: json.dumps(found[0])[1:-1], output)
        elif is_raw and output.startswith('"'):
            return str(json.loads(output)) + end
        return (output if self.indent is None else _pretty(output, self.indent)) + end


def _pretty(text: str, indent: str) -> str:
    """Indent compact JSON piece by piece, so that each number and string stays as it is."""
    found: list[str] = []
    depth = 0
    pieces = _TOKEN.findall(text)
    for number, piece in enumerate(pieces):
        if piece in "]}":
            depth -= 1
            if pieces[number - 1] not in "[{":
                found.append("\n" + indent * depth)
        found.append(piece)
        if piece in "[{":
            depth += 1
        if piece == ":":
            found.append(" ")
        elif piece == "," or (piece in "[{" and pieces[number + 1] not in "]}"):
            found.append("\n" + indent * depth)
    return "".join(found)
