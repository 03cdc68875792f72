"""Files of cases: what they mean, and that whatever is wrong with one is told with its place."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.event.types import Level, Stage
from kubewitness.policy.load import load
from kubewitness.policy.workshop.cases import CaseError, Wanted, check_cases, read_cases

POLICY = load("""
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, nonResourceURLs: ["/healthz*"]}
- {level: Metadata, resources: [{resources: [secrets]}], omitStages: [RequestReceived]}
- {level: RequestResponse, resources: [{resources: ["pods/exec"]}], omitManagedFields: true}
- {level: Request}
""")


AT_1 = "level Metadata by rules[1], wanted"


def results(text: str) -> list[tuple[str, ...]]:
    """Give the failures of each case."""
    return [verdict.failures for verdict in check_cases(POLICY, read_cases(text.encode()).cases).verdicts]


@pytest.mark.parametrize(
    ("case", "failures"),
    [
        ("{user: a, verb: get, resource: secrets, level: Metadata, stages: [ResponseComplete], rule: 1}", ()),
        ("{user: a, verb: get, resource: secrets, level: Request}", (f"{AT_1} Request",)),
        ("{user: a, verb: get, resource: secrets, atLeast: Request}", (f"{AT_1} at least Request",)),
        ("{user: a, url: /x, atMost: Metadata}", ("level Request by rules[3], wanted at most Metadata",)),
        ("{user: a, verb: get, resource: pods, atMost: Request, atLeast: Request}", ()),
        ("{user: a, url: /healthz/x, level: None, stages: []}", ()),
        ("{user: a, method: post, url: /api/v1/namespaces/b/secrets, level: Metadata}", ()),
        ("{user: a, kubectl: exec web -- sh, level: RequestResponse, omitManagedFields: true}", ()),
        ("{user: a, kubectl: kubectl exec web -- sh, rule: 3}", ("decided by rules[2], wanted rules[3]",)),
        ("{unauthenticated: true, verb: list, resource: pods, stages: [ResponseStarted]}", ()),
        (
            "{user: a, verb: get, resource: secrets, stages: [RequestReceived, ResponseComplete]}",
            ("stages ResponseComplete by rules[1], wanted RequestReceived, ResponseComplete",),
        ),
    ],
)  # fmt: skip
def test_what_is_wanted(case, failures):
    """Each wish passes or says what there is instead, and which rule decided it."""
    assert results(f"cases: [{case}]") == [failures]


def test_table_and_defaults():
    """Rows stand at their lines; defaults fill what a row leaves out; - stands for nothing."""
    text = """defaults: {user: ann, groups: [dev]}
table: |
  verb  resource   name  level     stages
  get   secrets    a     Metadata  ResponseComplete

  # a remark
  get   pods/exec  -     Metadata  -
cases: [{case: mine, url: /x, level: Request}]
"""
    found = read_cases(text.encode())
    assert [(case.name, case.mark.line) for case in found.cases] == [
        ("mine", 8), ("get secrets by ann", 4), ("get pods/exec by ann", 7),
    ]  # fmt: skip
    assert found.cases[1].request.groups == ("dev", "system:authenticated")
    assert found.cases[1].wanted == Wanted(Level.METADATA, stages=frozenset({Stage.RESPONSE_COMPLETE}))
    piped = "table: |\n  | user | verb | resource | level |\n  |---|---|---|---|\n  | a b | get | pods | Request |\n"
    assert read_cases(piped.encode()).cases[0].request.user == "a b"


def test_rules_that_no_case_reaches():
    """By index; a rule that a failing case reaches is reached."""
    result = check_cases(POLICY, read_cases(b"cases: [{user: a, verb: get, resource: secrets, level: None}]").cases)
    assert (result.unreached, result.rules, result.failed) == ((0, 2, 3), 4, 1)


@pytest.mark.parametrize(
    ("text", "line", "there", "words"),
    [
        ("", 1, "", "a file of cases has"),
        ("cases: {}", 1, "{}", "`cases` is a list"),
        ("cases: []", 1, "cases", "there are no cases"),
        ("cases: [\n", 2, "", "this is no YAML"),
        ("casse: []", 1, "casse", "did you mean cases?"),
        ("cases: [5]", 1, "5", "a case is a mapping"),
        ("cases:\n- {user: a, verb: get, resource: pods}", 2, "{user", "a case wants something"),
        ("cases:\n- {verb: get, resource: pods, level: None}", 2, "{verb", "who asks?"),
        ("cases:\n- {user: a, unauthenticated: true, url: /x, level: None}", 2, "{user", "goes without user"),
        ("cases:\n- {user: a, level: None}", 2, "{user", "a case asks one thing"),
        ("cases:\n- {user: a, url: /x, kubectl: get pods, level: None}", 2, "{user", "a case asks one thing"),
        ("cases:\n- {user: a, verb: get, resource: pods, levl: None}", 2, "levl", "did you mean level?"),
        ("cases:\n- {user: a, url: /x, level: metadata}", 2, "metadata", "'metadata' is not a level"),
        ("cases:\n- {user: a, url: /x, stages: [Done]}", 2, "Done", "'Done' is not a stage"),
        ("cases:\n- {user: a, url: /x, rule: x}", 2, "x}", "`rule` is the number of a rule"),
        ("cases:\n- {user: a, resource: pods, level: None}", 2, "pods", "`verb` is missing"),
        ("cases:\n- {user: a, verb: exec, resource: pods/exec, level: None}", 2, "pods/exec", "is a get or create of"),
        ("cases:\n- {user: a, verb: get, resource: podz, level: None}", 2, "podz", "podz is no built-in resource"),
        ("cases:\n- {user: a, kubectl: frobnicate, level: None}", 2, "frob", "is not understood"),
        ("cases:\n- {user: 5, url: /x, level: None}", 2, "5", "`user` is a text"),
        ("cases:\n- {user: a, url: /%zz, level: None}", 2, "/%zz", "invalid URL escape"),
        ("table: |\n  user  verb\n  a\n", 3, "", "1 columns under 2 headings"),
        ("table: |\n  user  user\n  a  b\n", 2, "", "a heading stands there twice"),
        ("table: |\n  user  url  levl\n  a  /x  None\n", 3, "", "did you mean level?"),
        ("table: [a]", 1, "[a]", "`table` is a text"),
        ("policy: 5\ncases: [{user: a, url: /x, level: None}]", 1, "5", "`policy` is a text"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy", 1, "apiVersion", "an audit policy, not cases for one"),
        ("cases: []\ncases: []", 2, "cases", "twice"),
    ],
)
def test_wrong_files(text, line, there, words):
    """A sentence, and the place: the line, and what stands at the column."""
    with pytest.raises(CaseError) as caught:
        read_cases(text.encode())
    assert words in str(caught.value)
    mark = caught.value.mark
    assert mark.line == line
    assert [*text.split("\n"), ""][line - 1][mark.column - 1 :].startswith(there)


GOOD = """policy: p.yaml
defaults: {namespace: prod}
cases:
- {user: a, verb: get, resource: pods, level: None, stages: [Panic]}
table: |
  user  url  level
  a  /x  None
"""


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD)), st.integers(0, 12), st.text(alphabet="{}[]:-|&*!%#\"' \n\ta5\x00é", max_size=6))
def test_any_file_is_read_or_refused(at, length, put):
    """Whatever is put into a good file: cases, or a CaseError, never anything else."""
    text = GOOD[:at] + put + GOOD[at + length :]
    with contextlib.suppress(CaseError):
        assert check_cases(POLICY, read_cases(text.encode()).cases).rules == 4
