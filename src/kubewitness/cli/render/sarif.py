"""Write findings as SARIF 2.1.0, which code hosts show beside the lines."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kubewitness import __version__

_LEVELS = {"refused": "error", "wrong": "error", "unmet": "error", "risky": "warning", "note": "note"}


@dataclass(frozen=True, slots=True)
class Result:
    """One finding and where it stands."""

    code: str
    severity: str
    message: str
    uri: str
    line: int
    column: int


def sarif(rules: Mapping[str, tuple[str, str]], results: Iterable[Result]) -> dict[str, object]:
    """Give the document. `rules`: code to severity and summary."""
    driver = {
        "name": "kubewitness",
        "version": __version__,
        "rules": [
            {
                "id": code,
                "shortDescription": {"text": summary},
                "defaultConfiguration": {"level": _LEVELS[severity]},
            }
            for code, (severity, summary) in sorted(rules.items())
        ],
    }
    shown = [
        {
            "ruleId": result.code,
            "level": _LEVELS[result.severity],
            "message": {"text": result.message},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": result.uri},
                        "region": {"startLine": result.line, "startColumn": result.column},
                    }
                }
            ],
        }
        for result in results
    ]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": shown}],
    }
