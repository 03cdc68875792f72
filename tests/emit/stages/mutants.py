"""
Change the rules of `emit/stages` one at a time and see whether a test fails: `python -m tests.emit.stages.mutants`.

    python -m tests.emit.stages.mutants [--only record] [--every 7] [--offset 3] [--jobs 2]

A mutant is a module with one comparison, condition, constant, argument, statement or result changed. Each is run in a
process of its own against the tests of this folder; one that no test notices is printed, unless it stands in
EQUIVALENT with the reason why nobody can tell it from the original.
"""

import argparse
import ast
import copy
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
STAGES = ROOT / "src" / "kubewitness" / "emit" / "stages"
MODULES = ("record", "lifecycle", "handler", "managedfields", "request")
TESTS = "tests/emit/stages"

_SHORTER = "a shorter way to the same result"
_SIZE = "how much is kept in memory; any number will do"
_CODEC = "Python reads the name of the encoding all the same"
_TYPES = "cannot be otherwise there; it tells the type checker so"
EQUIVALENT: dict[str, str] = {
    "handler: SUBJECTS_MAX = 1024 -> 1025": _SIZE,
    "handler: find = self._find[len(request.target) > SUBJECT_MAX_CHARACTERS] -> "
    "len(request.target) >= SUBJECT_MAX_CHARACTERS": _SIZE,
    "handler: self._advance(Happening.STORE_REFUSED) -> without `self._advance(Happening.STORE_REFUSED)`": (
        "nobody gets hold of a request that was refused; the step stands for the table"
    ),
    """handler: digits = str(fraction).zfill(len(str(unit)) - 1).rstrip("0") -> '0~'""": "no digit is a tilde",
    "lifecycle: __hash__ = object.__hash__ -> without `__hash__ = object.__hash__`": _SHORTER,
    "handler: SUBJECT_MAX_CHARACTERS = 1024 -> 1025": _SIZE,
    """record: if is_plain and f"{user.username}{''.join(user.groups or ())}".isascii(): -> """
    """never `is_plain and f"{user.username}{''.join(user.groups or ())}".isascii()`""": _SHORTER,
    """managedfields: if _NAME not in raw and b"\\\\u" not in raw: -> """
    """never `_NAME not in raw and b'\\\\u' not in raw`""": _SHORTER,
    """request: _UNESCAPED = "-_.~$&+,/:;=@" -> '-_.~$&+,/:;=@~'""": "the tilde is in it already",
    "request: if _PLAIN_TARGET.fullmatch(target): -> never `_PLAIN_TARGET.fullmatch(target)`": _SHORTER,
    r"""request: _PLAIN_TARGET = re.compile(r"/(?:[A-Za-z0-9\-_.~!$&'()*+,;=:@\[\]/]|%[0-9A-Fa-f]{2})*+"""
    r"""(?:\?[!-~]*+)?")"""
    r""" -> "/(?:[A-Za-z0-9\\-_.~!$&'()*+,;=:@\\[\\]/]|%[0-9A-Fa-f]{2})*+(?:\\?[!-~]*+)?~"""
    '"': _SHORTER,
    """request: claimed = request.forwarded_for.split(",") if request.forwarded_for else () -> """
    """always request.forwarded_for.split(',')""": _SHORTER,
    "request: if len(agent) <= USER_AGENT_MAX_BYTES and agent.isascii(): -> "
    "len(agent) < USER_AGENT_MAX_BYTES": _SHORTER,
    """request: raw = target.encode("utf-8", "surrogateescape") -> 'utf-8~'""": _CODEC,
    """request: raw = agent.encode("utf-8", "surrogateescape") -> 'utf-8~'""": _CODEC,
    """request: first.setdefault(name.lower(), value.decode("utf-8", "surrogateescape")) -> 'utf-8~'""": _CODEC,
    "request: real = parse_ip(request.real_ip) if request.real_ip else None -> "
    "always parse_ip(request.real_ip)": _SHORTER,
    "request: if len(agent) <= USER_AGENT_MAX_BYTES and agent.isascii(): -> "
    "never `len(agent) <= USER_AGENT_MAX_BYTES and agent.isascii()`": _SHORTER,
    "request: if not request.forwarded_for and not request.real_ip: -> "
    "never `not request.forwarded_for and (not request.real_ip)`": _SHORTER,
    """record: return b"" -> return None""": "an empty body and none are both no body",
    "record: stage_timestamp=self.received if stage is Stage.REQUEST_RECEIVED else time_text(at_us), -> "
    "always time_text(at_us)": _SHORTER,
    "record: if reference is None: -> never `reference is None`": _TYPES,
    """record: if not keeps_body and b'"Status"' not in body: -> """
    """never `not keeps_body and b'"Status"' not in body`""": _SHORTER,
}
"""Mutants that are no different, by `module: line of source -> change`."""

_COMPARISONS = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


@dataclass(frozen=True)
class Mutant:
    """One change: where, what, and how to make it. Without a new node the module is only written anew."""

    module: str
    line: str
    change: str
    tree: ast.Module
    number: int = -1
    new: ast.AST | None = None

    def source(self) -> str:
        """Write the whole module with the change."""
        changed = copy.deepcopy(self.tree)
        if self.new is not None:
            changed = _Replace(self.number, self.new).visit(changed)
        return ast.unparse(ast.fix_missing_locations(changed))

    @property
    def key(self) -> str:
        return f"{self.module}: {self.line} -> {self.change}"


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST | None]]:
    """Give what may stand in the place of a node; None: nothing."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _COMPARISONS:
            other = copy.deepcopy(node)
            other.ops = [_COMPARISONS[type(operator)]()]
            yield ast.unparse(other), other
        case ast.BoolOp():
            other = copy.deepcopy(node)
            other.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
            yield ast.unparse(other), other
        case ast.UnaryOp(op=ast.Not()):
            yield ast.unparse(node.operand), node.operand
        case ast.Constant(value=bool()):
            yield str(not node.value), ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield str(node.value + 1), ast.Constant(node.value + 1)
        case ast.Constant(value=str()) if node.value:
            yield repr(node.value + "~"), ast.Constant(node.value + "~")
        case ast.IfExp():
            yield f"always {ast.unparse(node.body)}", node.body
            yield f"always {ast.unparse(node.orelse)}", node.orelse
        case ast.Call(keywords=keywords) if keywords:
            for number, keyword in enumerate(keywords):
                other = copy.deepcopy(node)
                del other.keywords[number]
                yield f"without {keyword.arg}", other
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield "return None", ast.Return(ast.Constant(None))
        case ast.Assign() | ast.AugAssign() | ast.Expr() | ast.Raise():
            yield f"without `{ast.unparse(node).splitlines()[0]}`", ast.Pass()
        case ast.If():
            other = copy.deepcopy(node)
            other.test = ast.Constant(False)
            yield f"never `{ast.unparse(node.test)}`", other


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


class _Replace(ast.NodeTransformer):
    def __init__(self, number: int, new: ast.AST) -> None:
        self._left, self._new = number, new

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if getattr(node, "mutable", None) == self._left:
            return self._new
        return super().generic_visit(node)


def mutants(module: str) -> Iterator[Mutant]:
    """Give every mutant of a module."""
    source = (STAGES / f"{module}.py").read_text("utf-8")
    lines, tree = source.split("\n"), ast.parse(source)
    nodes = []
    for node in _rules(tree):
        node.mutable = len(nodes)  # type: ignore[attr-defined]
        nodes.append(node)
    for number, node in enumerate(nodes):
        for change, new in _changes(node):
            yield Mutant(module, lines[node.lineno - 1].strip(), change, tree, number, new)


def _rules(tree: ast.Module) -> Iterator[ast.AST]:
    """Walk what is code: no docstrings, annotations, imports, messages of errors, nor class bodies of declarations."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and _is_text(body[0].value):
            skipped.update(id(part) for part in ast.walk(body[0]))
        for later in body if isinstance(body, list) else ():
            if isinstance(later, ast.Expr) and _is_text(later.value):
                skipped.update(id(part) for part in ast.walk(later))
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if part is not None:
                skipped.update(id(inner) for inner in ast.walk(part))
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise):
            skipped.update(id(part) for part in ast.walk(node) if part is not node)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                skipped.update(id(part) for part in ast.walk(decorator))
        if isinstance(node, ast.ClassDef):
            for keyword in node.keywords:
                skipped.update(id(part) for part in ast.walk(keyword))
    for node in ast.walk(tree):
        if id(node) not in skipped and hasattr(node, "lineno"):
            yield node


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def is_noticed(mutant: Mutant) -> bool:
    """Run the tests on a mutant, in a child of this process; True when one fails."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        code = 1
        try:
            code = _run(mutant)
        except BaseException:  # noqa: BLE001 - whatever happens there has been noticed
            code = 1
        finally:
            os.write(writing, bytes([min(code, 255)]))
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read(1)
    os.waitpid(pid, 0)
    return not answer or answer[0] != 0


def _run(mutant: Mutant) -> int:
    import resource

    import pytest

    # a mutant that never ends is noticed, a machine that is busy is not
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    with Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
    name = f"kubewitness.emit.stages.{mutant.module}"
    spec = importlib.util.spec_from_loader(name, loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(mutant.source(), f"<{mutant.module}>", "exec"), module.__dict__)
    # the module's own tests first, the recorded log last; pytest-xdist has nothing to do here
    own = f"{TESTS}/test_{mutant.module}.py"
    others = [f"{TESTS}/test_{other}.py" for other in MODULES if other != mutant.module]
    options = ["-x", "-q", "-o", "addopts=", "-p", "no:xdist", "-p", "no:randomly", "-p", "no:cacheprovider"]
    for files in ([own], [*others, f"{TESTS}/test_conformance.py"]):
        code = int(pytest.main([*options, *files]))
        if code:
            return code
    return 0


def survivors(
    only: str = "", every: int = 1, offset: int = 0, jobs: int = 1, tell: Callable[[str], None] = lambda _: None
) -> tuple[int, list[Mutant]]:
    """Try every so-manieth mutant; give how many there were, and those that nobody noticed, told as they are found."""
    # loaded once, before the forks; pytest wants to load itself and its plug-ins
    import zstandard  # noqa: F401

    import kubewitness.policy.load  # noqa: F401

    chosen = [m for module in MODULES if only in module for m in mutants(module)][offset::every]
    # a module that was only written anew must pass, or failing would mean nothing
    module = chosen[0].module
    tree = ast.parse((STAGES / f"{module}.py").read_text("utf-8"))
    assert not is_noticed(Mutant(module, "", "", tree)), f"{module} fails as it is"
    tried = [mutant for mutant in chosen if mutant.key not in EQUIVALENT]
    with ThreadPoolExecutor(jobs) as pool:
        verdicts = list(pool.map(lambda mutant: is_noticed(mutant) or tell(mutant.key), tried))
    return len(tried), [mutant for mutant, noticed in zip(tried, verdicts, strict=True) if not noticed]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    count, left = survivors(args.only, args.every, args.offset, args.jobs, lambda key: print(key, flush=True))  # noqa: T201
    print(f"{count} mutants, {len(left)} not noticed")  # noqa: T201
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
