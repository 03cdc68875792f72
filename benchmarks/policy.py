"""
Print how long questions about policies take: `python -m benchmarks.policy [--rounds N]`.

Each is a whole process, from exec to exit, as a person would start it: a policy of 20 rules (benchmarks/policy.yaml),
one of 1,000 ordinary rules, and 100 rules that each ask for 90 % of 40 values, which is near the stated bound.
Exit code: 0 all limits kept, 1 a limit missed.
"""

import argparse
import random
import sys
from pathlib import Path

from benchmarks import data, report
from benchmarks.measure import Command, interleave
from benchmarks.report import Limit

TWENTY = Path(__file__).with_name("policy.yaml")
HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n"
# seconds of processor time; the search of prove and diff ends at its own bound, some minute of it
CHECK_20_S = 0.3
PROVE_20_S = 2.0
CHECK_1000_S = 20.0
BOUND_S = 60.0
_KINDS = ("pods", "services", "configmaps", "secrets", "deployments", "jobs", "roles", "widgets")
_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")


def ordinary(count: int) -> str:
    """Give a policy of so many rules: a person, a team or a namespace each, and some of their resources."""
    dice = random.Random(count)
    lines = []
    for number in range(count - 1):
        level = dice.choice(("None", "Metadata", "Request"))
        who = dice.choice((f"users: [person-{number % 300}]", f"userGroups: [team-{number % 90}]", "users: [robot]"))
        verbs = ", ".join(sorted(dice.sample(_VERBS, dice.randint(1, 4))))
        kinds = ", ".join(sorted(dice.sample(_KINDS, dice.randint(1, 3))))
        namespaces = f"namespaces: [ns-{number % 200}], " if dice.random() < 0.5 else ""
        group = dice.choice(("", "apps", "batch", "example.com"))
        lines.append(
            f"- {{level: {level}, {who}, verbs: [{verbs}], {namespaces}"
            f'resources: [{{group: "{group}", resources: [{kinds}]}}]}}\n'
        )
    return HEAD + "".join(lines) + "- level: Metadata\n"


def hard(count: int) -> str:
    """Give a policy of so many rules that overlap in as many ways as can be."""
    dice = random.Random(count)

    def most(what: str) -> str:
        return ", ".join(f"{what}{n}" for n in range(40) if dice.random() < 0.9)

    rules = "".join(
        f"- {{level: {dice.choice(('None', 'Metadata', 'Request'))}, users: [{most('u')}], namespaces: [{most('n')}], "
        f"resources: [{{resources: [{most('r')}]}}]}}\n"
        for _ in range(count)
    )
    return HEAD + rules


def edited(text: str) -> str:
    """Give a policy with a few rules of another level."""
    parts = text.split("level: Metadata")
    return "level: Request".join(parts[:2]) + "".join(f"level: Metadata{part}" for part in parts[2:])


def policies() -> dict[str, Path]:
    """Write the policies and their edited forms, and say where each is."""
    data.OUT.mkdir(exist_ok=True)
    texts = {"20": TWENTY.read_text("utf-8"), "1000": ordinary(1000), "hard": hard(100)}
    found = {}
    for name, text in texts.items():
        for kind, content in (("", text), ("-edited", edited(text))):
            path = data.OUT / f"policy-{name}{kind}.yaml"
            path.write_text(content, "utf-8")
            found[name + kind] = path
    return found


def commands() -> list[tuple[Command, float]]:
    """Give every question with its limit in seconds."""
    ours = Path(sys.executable).with_name("kubewitness")
    at = policies()
    any_end = (0, 1, 4)

    def ask(name: str, words: str, limit_s: float) -> tuple[Command, float]:
        return Command(name, f"{ours} policy {words}", exit_codes=any_end), limit_s

    claims = "no-secret-bodies exec-visible cis-3.2.2 rbac-changes-with-bodies"
    return [
        ask("check, 20 rules", f"check --show note {at['20']}", CHECK_20_S),
        ask("prove 4 names, 20 rules", f"prove {at['20']} {claims}", PROVE_20_S),
        ask("diff, 20 rules", f"diff {at['20']} {at['20-edited']}", PROVE_20_S),
        ask("check --diff, 20 rules", f"check --diff {at['20']}", PROVE_20_S),
        ask("check, 1,000 rules", f"check --show note {at['1000']}", CHECK_1000_S),
        ask("prove 4 names, 1,000 rules", f"prove {at['1000']} {claims}", BOUND_S),
        ask("diff, 1,000 rules", f"diff {at['1000']} {at['1000-edited']}", BOUND_S),
        ask("check, 100 hard rules", f"check --show note {at['hard']}", BOUND_S),
        ask("diff, 100 hard rules", f"diff {at['hard']} {at['hard-edited']}", BOUND_S * 2),
    ]


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    asked = commands()
    measured = interleave(
        [command for command, _ in asked], args.rounds, data.OUT, lambda text: print(text, file=sys.stderr, flush=True)
    )
    print(report.table(measured), flush=True)
    limits = [
        Limit(f"{entry.command.name}, processor", entry.cpu_s, limit_s, "s")
        for entry, (_, limit_s) in zip(measured, asked, strict=True)
    ]
    print(report.limits_table(limits), flush=True)
    return 0 if all(limit.is_met for limit in limits) else 1


if __name__ == "__main__":
    sys.exit(main())
