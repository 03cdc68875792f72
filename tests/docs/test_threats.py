"""The page of threats: every threat has a test that is there, or says who will own it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "reference" / "threats.md").read_text("utf-8")
ROWS = re.findall(r"^\| (T\d+) \| (.+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)


def test_every_threat_has_a_row() -> None:
    """T1 to T36, in order."""
    assert [row[0] for row in ROWS] == [f"T{number}" for number in range(1, 37)]


def test_every_named_test_is_there() -> None:
    """Each test that the page names is a function of that file, and each row names one or says `later`."""
    for number, _, _, shown in ROWS:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", shown)
        assert named or "later: " in shown, number
        assert len(named) == shown.count("`") // 2, number
        for path, name in named:
            assert f"\ndef {name}(" in (ROOT / path).read_text("utf-8"), f"{number}: {path}::{name}"


def test_tests_that_name_a_threat_are_on_the_page() -> None:
    """A test of the server whose docstring begins with the number of a threat stands in the row of that threat."""
    shown = {number: text for number, _, _, text in ROWS}
    for path in sorted((ROOT / "tests" / "assembly").glob("test_*.py")):
        for name, numbers in re.findall(
            r'^def (test_\w+)\([^"]*?"""((?:T\d+(?:, )?)+):', path.read_text("utf-8"), re.MULTILINE
        ):
            place = f"tests/assembly/{path.name}::{name}"
            assert any(place in shown[number] for number in numbers.split(", ")), place
