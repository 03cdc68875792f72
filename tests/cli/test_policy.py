"""`policy check`, `eval` and `explain` from the command line: text, JSON, SARIF, exit codes, errors, hostile text."""

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from kubewitness.cli.main import main
from tests.policy.vectors import DATA, vectors

SECURITY = str(DATA / "policies" / "security.yaml")
METADATA = str(DATA / "policies" / "metadata.yaml")
HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"


@pytest.fixture
def policy(capsys, monkeypatch):
    """Run `kubewitness policy ...`; give exit code, output and errors."""

    def run(*words: str, stdin: bytes = b"") -> SimpleNamespace:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(["policy", *words])
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return run


def test_check_shows_what_is_wrong(policy):
    """Each finding has file:line:column, severity, code, path, message, help; the verdict comes last."""
    found = policy("check", SECURITY)
    lines = found.out.splitlines()
    assert found.code == 1
    assert lines[2].startswith(
        f'{SECURITY}:7:70: wrong KW203: rules[1].users[2]: "system:serviceaccount:kube-system:*"'
    )
    assert lines[3].startswith("    help: write userGroups")
    assert (
        lines[-1]
        == f"{SECURITY}: kube-apiserver 1.36 accepts this policy; 1 wrong, 3 risky, 6 notes (shown with --show note)"
    )


def test_check_json(policy):
    """One object per file, with the loader's own text."""
    refused = vectors("invalid_policies")[30]
    found = policy("check", "--show", "note", "-o", "json", "-", METADATA, stdin=refused["policy"].encode())
    first, second = json.loads(found.out)
    assert found.code == 1
    assert (first["file"], first["accepted"], first["server_error"]) == ("-", False, refused["error"])
    assert set(first["findings"][0]) == {"code", "severity", "line", "column", "path", "message", "help", "fix"}
    assert [finding["code"] for finding in second.pop("findings")] == ["KW409"]
    assert second == {"file": METADATA, "accepted": True, "server_error": ""}


def test_check_sarif(policy):
    """SARIF names every rule, and each result its place."""
    found = json.loads(policy("check", "--show", "wrong", "-o", "sarif", SECURITY).out)
    (run,) = found["runs"]
    assert found["version"] == "2.1.0"
    assert {result["ruleId"] for result in run["results"]} <= {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    region = run["results"][0]["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 7, "startColumn": 70}


@pytest.mark.parametrize(
    ("text", "fail_on", "code"),
    [
        ("- level: Metadata", "risky", 0),
        ("- level: Request", "wrong", 0),
        ("- level: Request", "risky", 1),
        ("- {level: Metadata, users: ['*']}\n- level: Metadata", "refused", 0),
        ("- {level: Metadata, users: ['*']}\n- level: Metadata", "wrong", 1),
        ("- level: metadata", "refused", 1),
    ],
)
def test_fail_on(policy, text, fail_on, code):
    """The severity that ends with 1 is chosen; a refused policy always does."""
    assert policy("check", "--fail-on", fail_on, "-", stdin=(HEAD + text).encode()).code == code


def test_server_version(policy):
    """The older server refuses what the newer reads."""
    text = (HEAD + "- {level: Metadata, resources: [{group: '*'}]}\n- level: Metadata\n").encode()
    assert policy("check", "-", stdin=text).code == 0
    for version in ("1.35", "v1.35.3+k3s1"):
        older = policy("check", "--server-version", version, "-", stdin=text)
        assert (older.code, "kube-apiserver 1.35 refuses" in older.out) == (1, True)
    unknown = policy("check", "--server-version", "1.29", "-", stdin=text)
    assert (unknown.code, "invalid choice: '1.29'" in unknown.err) == (2, True)


def test_a_missing_file_is_unreadable_input(policy):
    """Exit code 2 and one line."""
    found = policy("check", "/nope.yaml")
    assert (found.code, found.err) == (2, "kubewitness: error: /nope.yaml: cannot be read: No such file or directory\n")


def test_hostile_text_is_made_harmless(policy):
    """Escape sequences and line ends in a policy do not reach the terminal."""
    text = HEAD + '- {level: Metadata, users: ["\\e[31m*\\n\\u202e"], "\\e]0;x\\a": 1}\n'
    found = policy("check", "-", stdin=text.encode())
    assert "KW203" in found.out
    assert not set(found.out) & {"\x1b", "\u202e", "\a"}
    assert json.loads(policy("check", "-o", "json", "-", stdin=text.encode()).out)[0]["accepted"]


def test_eval_of_the_vectors(policy, tmp_path):
    """Requests in JSON lines give decisions in JSON lines, in the words of the vectors."""
    vector = vectors("policy_vectors")[100]
    (tmp_path / "policy.yaml").write_text(vector["policy"])
    requests = "\n".join(json.dumps(case["attrs"]) for case in vector["cases"])
    found = policy("eval", str(tmp_path / "policy.yaml"), "--requests", "-", stdin=requests.encode())
    answers = [json.loads(line) for line in found.out.splitlines()]
    assert found.code == 0
    assert [{k: v for k, v in answer.items() if k != "rule"} for answer in answers] == [
        case["expect"] for case in vector["cases"]
    ]


def test_eval_fills_in_what_is_left_out(policy, tmp_path):
    """Missing members are empty; blank lines are skipped; no rule is null."""
    (tmp_path / "p.yaml").write_text(
        HEAD + "- {level: Request, users: [alice], omitStages: [Panic, RequestReceived]}\n"
    )
    (tmp_path / "r.jsonl").write_text('{"user":"alice"}\n\n{"user":null}\n')
    found = policy("eval", str(tmp_path / "p.yaml"), "--requests", str(tmp_path / "r.jsonl"))
    assert found.out.splitlines() == [
        '{"level":"Request","omitStages":["Panic","RequestReceived"],"omitManagedFields":false,"rule":0}',
        '{"level":"None","omitStages":[],"omitManagedFields":false,"rule":null}',
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"verb": }', "-:2: this is no JSON: Expecting value at column 10"),
        ("[]", '-:2: a request is a JSON object, such as {"user": "alice"'),
        ("[" * 100_000, "-:2: this is no JSON: nested too deeply"),
        ('{"verb": 1}', "-:2: verb must be a string, not 1"),
        ('{"user": ["a"]}', '-:2: user must be a string, not ["a"]'),
        ('{"groups": "a"}', '-:2: groups must be a list of strings or null, not "a"'),
        ('{"resourceRequest": "yes"}', '-:2: resourceRequest must be true or false, not "yes"'),
        ('{"apigroup": ""}', '-:2: a request has no member "apigroup"; did you mean apiGroup?'),
    ],
)
def test_eval_names_the_bad_line(policy, line, message):
    """A request line that cannot be read ends with 2, its number and what is wrong."""
    found = policy("eval", METADATA, "--requests", "-", stdin=f'{{"verb":"get"}}\n{line}\n'.encode())
    assert found.code == 2
    assert message in found.err


@pytest.mark.parametrize("command", [["check"], ["explain", "--user", "a", "--url", "/x"], ["simulate"], ["coverage"]])
def test_a_log_is_no_policy(policy, command, tmp_path):
    """A log where the policy belongs is wrong usage, not a policy that the server refuses."""
    log = tmp_path / "audit.log"
    log.write_text('{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1"}\n' * 2)
    found = policy(*command, str(log))
    assert found.code == 2
    assert "this is an audit log, not an audit policy" in found.err


def test_eval_as_sql_says_what_a_log_would_be(run, tmp_path):
    """--sql prints one SELECT for `kubewitness sql`: the rule, level and stages that eval gives for the same events."""
    text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n"
    text += "- level: Metadata\n  users: [\"o'hara\"]\n  resources: [{group: '', resources: [secrets]}]\n"
    text += "- level: None\n  nonResourceURLs: [/healthz*]\n"
    (tmp_path / "p.yaml").write_text(text)
    event = '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"%s","stage":"%s",'
    event += '"requestURI":"%s","verb":"get","user":{"username":"%s"}%s,"requestReceivedTimestamp":'
    event += '"2026-01-01T00:00:00.000000Z","stageTimestamp":"2026-01-01T00:00:00.000000Z"}\n'
    secret = ',"objectRef":{"resource":"secrets","namespace":"a","name":"s","apiVersion":"v1"}'
    url = "/api/v1/namespaces/a/secrets/s"
    (tmp_path / "audit.log").write_text(
        event % ("1", "RequestReceived", url, "o'hara", secret)
        + event % ("2", "ResponseComplete", url, "o'hara", secret)
        + event % ("3", "ResponseComplete", url, "mallory", secret)
        + event % ("4", "ResponseComplete", "/healthz/ping", "mallory", "")
    )
    found = run("policy", "eval", str(tmp_path / "p.yaml"), "--sql")
    assert (found.code, found.err, found.out.count("\n")) == (0, "", 1)
    sql = f"SELECT auditID, rule, policy_level, written FROM ({found.out}) ORDER BY 1"
    answer = run("sql", sql, "-o", "csv", "--no-headers", str(tmp_path / "audit.log"))
    assert answer.out.splitlines() == ["1,0,Metadata,false", "2,0,Metadata,true", "3,-1,None,false", "4,1,None,false"]


def test_eval_of_a_refused_policy(policy):
    """A policy that the server refuses decides nothing: exit code 1 and the server's sentence."""
    found = policy("eval", "-", "--requests", "/dev/null", stdin=b"kind: Policy")
    assert found.code == 1
    assert "kube-apiserver 1.36 refuses this policy: unknown group version field" in found.err
    assert policy("eval", "-", "--requests", "-").code == 2


def test_explain_of_a_kubectl_line(policy):
    """exec is explained as the get it is, with the SPDY create beside it."""
    found = policy("explain", SECURITY, "--user", "alice", "--kubectl", "exec -n prod -it web -- sh")
    assert found.code == 0
    for part in (
        "GET /api/v1/namespaces/prod/pods/web/exec?command=sh",
        "the policy sees: get pods/exec web in namespace prod by alice (system:authenticated)",
        "POST /api/v1/namespaces/prod/pods/web/exec?command=sh",
        "rules[5] (line 22, RequestResponse) decides",
        "no body at any level",
        "ResponseStarted: written",
    ):
        assert part in found.out


def test_explain_json(policy):
    """The same as data, for a verb and a resource."""
    words = ("--user", "system:serviceaccount:kube-system:x", "--verb", "list", "--resource", "pods", "-n", "prod")
    (found,) = json.loads(policy("explain", SECURITY, *words, "-o", "json").out)
    assert (found["level"], found["rule"], found["omitStages"]) == ("Metadata", 7, ["RequestReceived"])
    assert found["request"]["groups"][0] == "system:serviceaccounts"
    assert [rule["rule"] for rule in found["rules"]] == list(range(8))
    assert "no glob" in found["rules"][1]["reasons"][0]["hint"]
    assert [(stage["stage"], stage["written"]) for stage in found["stages"]] == [
        ("RequestReceived", False),
        ("ResponseComplete", True),
    ]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (
            ("--user", "a", "--verb", "create", "--resource", "deploy/scale", "--name", "w"),
            "deploy is taken for deployments",
        ),
        (("--user", "a", "--verb", "get", "--resource", "deployments"), "deployments are of group apps"),
        (("--user", "a", "--verb", "exec", "--resource", "pods/exec"), "kubectl exec is a get or create of pods/exec"),
        (("--user", "a", "--verb", "delte", "--resource", "pods"), "has the verb 'delte'; did you mean 'delete'?"),
        (
            ("--unauthenticated", "--url", "/api/v1/pods?watch=1"),
            "watch pods (no name) by nobody (authentication failed)",
        ),
        (("--user", "a", "--method", "post", "--url", "/healthz"), "the policy sees: post /healthz by a"),
        (("--user", "a", "--group", "g", "--kubectl", "get ns --as eve"), "--as does not matter"),
        (("--user", "a", "--group", "g", "--kubectl", "version"), "by a (g, system:authenticated)"),
    ],
)
def test_explain_says_what_it_took_the_question_for(policy, words, part):
    """Short names, groups, methods and impersonation are named."""
    found = policy("explain", METADATA, *words)
    assert found.code == 0, found.err
    assert part in found.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--user", "a"), "ask for one thing"),
        (("--user", "a", "--url", "/x", "--kubectl", "version"), "ask for one thing"),
        (("--verb", "get", "--resource", "pods"), "who asks?"),
        (("--unauthenticated", "--user", "a", "--url", "/x"), "it goes without --user"),
        (("--user", "a", "--resource", "pods"), "--verb is missing"),
        (("--user", "a", "--verb", "get", "--resource", "foo"), "foo is no built-in resource"),
        (("--user", "a", "--verb", "get", "--url", "/x"), "--url says it all"),
        (("--user", "a", "--url", "/a%zz"), "invalid URL escape"),
        (("--user", "a", "--kubectl", "frob"), "kubectl frob is not understood"),
    ],
)
def test_explain_says_what_is_missing(policy, words, message):
    """A question that cannot be answered ends with 2 and what would be right."""
    found = policy("explain", METADATA, *words)
    assert found.code == 2
    assert message in found.err


def test_a_command_is_needed(policy):
    """`policy` alone is wrong usage."""
    found = policy()
    assert (found.code, "COMMAND; known are check, eval, explain" in found.err) == (2, True)


def test_policy_loads_no_engine():
    """Checking a policy does not import duckdb, which costs start-up."""
    code = f"import sys; from kubewitness.cli.main import main; main(['policy', 'check', {METADATA!r}]); "
    code += "sys.exit('duckdb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
