"""The habits of the house, as tests: nothing of this machine is committed, everything says what it is for."""

import ast
import re
import subprocess
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from kubewitness.cli.errors import ExitCode

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "kubewitness"
NOT_MIRRORS = {"data", "docs", "model", "golden", "crash", "browser", "benchmarks", "hostile", "tools", "toyapi"}
"""Folders of tests/ that belong to no room of src/."""


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that git knows or would add, in the working tree; empty outside a clone."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return tuple(sorted(ROOT / name for name in set(done.stdout.split("\0")) if name and (ROOT / name).is_file()))


def _texts() -> list[tuple[Path, str]]:
    out = []
    for path in tracked():
        try:
            out.append((path, path.read_text("utf-8")))
        except UnicodeDecodeError:
            continue
    return out


FORBIDDEN = {
    "a path of a machine": re.compile(
        r"(?<![\w.])/" + r"(?:work/|tmp/kw\b|root/\w|home/(?!user\b|\{)\w+/)", re.IGNORECASE
    ),
    "a host of a package registry": re.compile(
        r"(?:pypi"
        r"\.org|pythonhosted"
        r"\.org|npmjs"
        r"\.(?:org|com)|proxy\.golang"
        r"\.org|crates"
        r"\.io)"
    ),
    "a merge conflict": re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE),
    "something left to do": re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_of_this_kind_is_committed(what: str) -> None:
    """No tracked text holds it."""
    found = []
    for path, text in _texts():
        if path.suffix == ".txt" and path.parent.name == "requirements" and what == "something left to do":
            continue
        for match in FORBIDDEN[what].finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match.group()}")
    assert not found, "\n".join(found)


def test_the_patterns_find_what_they_are_for() -> None:
    """Each pattern finds an example of its kind and leaves an innocent one alone."""
    assert FORBIDDEN["a path of a machine"].search('open("/' + 'work/main/x")')
    assert not FORBIDDEN["a path of a machine"].search("docs/" + "work/x, /var/log/kubernetes/audit")
    assert FORBIDDEN["a host of a package registry"].search("https://pypi" + ".org/simple")
    assert FORBIDDEN["something left to do"].search("# TO" + "DO: this")


def _python() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


def test_every_module_says_what_it_is_for() -> None:
    """Each module that holds anything has a docstring; ruff sees to classes and functions."""
    texts = [(path, path.read_text("utf-8")) for path in _python()]
    silent = [
        str(path.relative_to(ROOT)) for path, text in texts if text.strip() and not ast.get_docstring(ast.parse(text))
    ]
    assert not silent, "\n".join(silent)


def test_every_test_states_its_fact() -> None:
    """Each test function has a docstring."""
    silent = []
    for path in _python():
        if not path.name.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}")
    assert not silent, "\n".join(silent)


def test_the_tests_mirror_the_source() -> None:
    """Each folder of tests is a folder of the source or belongs to no room, and is a package."""
    wrong = []
    for folder in sorted({path.parent for path in _python() if ROOT / "tests" in path.parents}):
        place = folder.relative_to(ROOT / "tests")
        if not (folder / "__init__.py").exists():
            wrong.append(f"tests/{place} has no __init__.py")
        if place.parts and place.parts[0] not in NOT_MIRRORS and not (SOURCE / place).is_dir():
            wrong.append(f"tests/{place} mirrors nothing")
    assert not wrong, "\n".join(wrong)


MAY_BE_LONG: dict[str, str] = {}
"""Modules over 500 lines, with the reason; a module that has become shorter must leave."""


def test_no_module_is_too_long_to_be_one_idea() -> None:
    """A module of the source has at most 500 lines, or a reason."""
    lengths = {
        str(path.relative_to(SOURCE)): path.read_text("utf-8").count("\n")
        for path in _python()
        if SOURCE in path.parents
    }
    assert {name for name, lines in lengths.items() if lines > 500} == set(MAY_BE_LONG)


def _fragments() -> list[Path]:
    return [path for path in tracked() if path.parent == ROOT / "changes" and path.name != "README.md"]


def test_changelog_fragments_are_well_formed() -> None:
    """A fragment is named for its issue or subject and its kind, and is one sentence."""
    wrong = []
    for path in _fragments():
        text = path.read_text("utf-8")
        if not re.fullmatch(r"(?:\d+|\+[a-z0-9-]+)\.(?:added|changed|fixed)\.md", path.name):
            wrong.append(f"{path.name}: not <issue>.<kind>.md or +<name>.<kind>.md with kind added, changed or fixed")
        if not re.fullmatch(r"[A-Z`][^\n]*\.\n", text):
            wrong.append(f"{path.name}: not one line that begins with a capital and ends with a full stop")
    assert not wrong, "\n".join(wrong)


def _pages() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md" and (ROOT / "docs") in path.parents]


def test_documentation_has_one_sentence_a_line() -> None:
    """Prose of docs/ breaks its lines after each sentence, so that a change is one line of a difference."""
    wrong = []
    for path in _pages():
        if path.parent.name == "commands":
            continue  # generated from --help, which is folded to the width of a terminal
        fenced = False
        for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
            if line.lstrip().startswith("```"):
                fenced = not fenced
            prose = re.sub(r"`[^`]*`", "code", line)
            skipped = fenced or prose.lstrip().startswith(("|", "<", "#"))
            if not skipped and re.search(r"[a-z)\"]{2}[.!?] [A-Z]", prose):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line}")
    assert not wrong, "\n".join(wrong)


def _requirements(section: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[; ]", text)[0] for text in section}


def test_every_dependency_has_a_reason_and_a_size() -> None:
    """docs/reference/dependencies.md names what pyproject.toml names, with sizes near to what is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = _requirements(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted |= _requirements(extra)
    page = (ROOT / "docs" / "reference" / "dependencies.md").read_text("utf-8")
    rows = re.findall(r"^\|(?: `[^`]*` \|)? ([A-Za-z][\w.-]*) \| ([\d.]+) \| (.+) \|$", page, re.MULTILINE)
    assert {name for name, _, _ in rows} == wanted
    for name, size, reason in rows:
        files = metadata.distribution(name).files or []
        installed = sum(
            file.locate().stat().st_size for file in files if file.suffix != ".pyc" and file.locate().exists()
        )
        assert float(size) == pytest.approx(installed / 1e6, rel=0.5), name
        assert len(reason.split()) > 5, f"{name} has no reason"


def test_locks_name_no_registry_and_hash_everything() -> None:
    """Each requirement of each lock file is pinned and hashed."""
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text("utf-8")
        assert "index-url" not in text
        for block in re.split(r"^(?=[A-Za-z])", text, flags=re.MULTILINE):
            if block and block[0] != "#" and block.strip():
                assert "==" in block.split("\n")[0], f"{path.name}: {block.split()[0]} is not pinned"
                assert "--hash=sha256:" in block, f"{path.name}: {block.split()[0]} has no hash"


def test_the_run_time_lock_holds_what_pyproject_asks_for() -> None:
    """requirements/run.txt pins every run-time dependency, and nothing else at the top."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = (ROOT / "requirements" / "run.in").read_text("utf-8").split("\n")
    named = {line.strip().lower() for line in lines if line.strip() and not line.startswith("#")}
    assert named == {name.lower() for name in _requirements(project["dependencies"])}


def test_pages_that_are_pointed_at_exist() -> None:
    """A path of docs/ named in the source, the tests or the build is there."""
    dead = []
    for path, text in _texts():
        if path.suffix in {".py", ".toml", ".sh", ".yml"} or path.name == "Makefile":
            for name in re.findall(r"\bdocs/[\w/.-]+\.md\b", text):
                if not (ROOT / name).exists():
                    dead.append(f"{path.relative_to(ROOT)}: {name}")
    assert not dead, "\n".join(dead)


def test_links_between_documents_lead_somewhere() -> None:
    """A relative link of README, docs/ or the map names a file of the clone."""
    dead = []
    for path, text in _texts():
        if path.suffix == ".md":
            for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
                if not (path.parent / target).exists():
                    dead.append(f"{path.relative_to(ROOT)}: {target}")
    assert not dead, "\n".join(dead)


def test_every_page_is_reached_from_the_first() -> None:
    """A reader who starts at docs/index.md and follows links comes to every page of docs/."""
    seen: set[Path] = set()
    ahead = [ROOT / "docs" / "index.md"]
    while ahead:
        page = ahead.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
            ahead += [(page.parent / target).resolve() for target in targets]
    assert sorted(str(page.relative_to(ROOT)) for page in set(_pages()) - seen) == []


def test_every_exit_code_is_documented() -> None:
    """The table of docs/reference/exit-codes.md is the enumeration."""
    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| ([A-Z]+) \|", page, re.MULTILINE)
    assert rows == [(str(code.value), code.name) for code in ExitCode]
