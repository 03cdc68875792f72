"""`kubewitness who` over the recorded logs, as a person would ask."""

import json
from pathlib import Path

import pytest
import zstandard

from kubewitness.cli.main import main
from tests.event.damage import event

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The three recorded logs, unpacked."""
    place = tmp_path_factory.mktemp("logs")
    for name in ("full", "security", "metadata"):
        packed = (DATA / f"audit-{name}.log.zst").read_bytes()
        (place / f"{name}.log").write_bytes(zstandard.ZstdDecompressor().stream_reader(packed).read())
    return place


@pytest.fixture
def who(logs, capsys):
    """Ask; give the exit code, the rows as dicts and what was said on standard error."""

    def ask(words, log="security", *options):
        code = main(["who", *words.split(), str(logs / f"{log}.log"), "-o", "jsonl", *options])
        said = capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    return ask


@pytest.mark.parametrize("log", ["full", "security", "metadata"])
def test_who_deleted_the_secret(who, log):
    """Both deletions in order, the refused one and the one that worked, with user, peer, time and tool."""
    code, rows, _ = who("deleted secrets/important -n production", log)
    assert code == 0
    assert [(r["user.username"], r["responseStatus.code"], r["source.peer"], r["userAgent"]) for r in rows] == [
        ("auditor", 403, "127.0.0.1", "lab-driver/1.0"),
        ("attacker", 200, "127.0.0.1", "kubectl/v1.32.4 (linux/amd64) kubernetes/4cb5f07"),
    ]
    assert [r["did"] for r in rows] == ["deleted: denied", "deleted"]
    assert rows[0]["requestReceivedTimestamp"] < rows[1]["requestReceivedTimestamp"]


def test_who_read_it_counts_lists_as_unknown_where_their_answer_is_not_recorded(who):
    """The same question at Metadata and at RequestResponse: what is unknown there is certain here."""
    code, rows, _ = who("read secrets/important -n production", "metadata")
    assert code == 4
    perhaps = {r["user.username"] for r in rows if r["certainty"] == "unknown"}
    assert {"attacker", "system:anonymous", "system:serviceaccount:kube-system:backdoor"} <= perhaps
    _, rows, _ = who("read secrets/important -n production", "full")
    surely = {r["user.username"] for r in rows if r["certainty"] == "certain"}
    assert {"attacker", "system:anonymous", "system:serviceaccount:kube-system:backdoor"} <= surely


def test_the_command_of_an_exec(who):
    """Percent-decoded out of the URI, whatever the verb."""
    _, rows, _ = who("exec pods/node-shell -n production")
    assert [r["exec.command"] for r in rows] == [["chroot", "/host", "cat", "/etc/shadow"], ["sh"]]


def test_a_collection_takes_its_objects_with_it(who):
    """Named in the recorded answer: certain; and the namespace went later."""
    _, rows, _ = who("deleted cm/bulk-01 -n scratch", "full")
    assert [(r["user.username"], r["did"], r["certainty"]) for r in rows] == [
        ("admin", "deleted in a collection", "certain"),
        ("admin", "deleted its namespace", "inferred"),
    ]


def test_a_pod_with_a_made_up_name(who):
    """The ReplicaSet controller's request had no name; the server's answer had."""
    code, rows, _ = who("created pods/shop-685695d56-w6wnd -n team-a", "full")
    assert code == 0
    assert [r["user.username"] for r in rows] == ["system:serviceaccount:kube-system:replicaset-controller"]


def test_a_policy_tells_what_could_not_have_been_recorded(who, tmp_path):
    """An empty answer under a policy that drops the requests is not "nobody"."""
    policy = tmp_path / "p.yaml"
    policy.write_text(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n  verbs: [delete]\n- level: Metadata\n"
    )
    code, rows, said = who("deleted secrets/nothing -n production", "security", "--policy", str(policy))
    assert (code, rows) == (4, [])
    assert "delete secrets: NOT RECORDABLE (rules[0]: level None)" in said
    assert "deletecollection secrets: recorded at Metadata (rules[1])" in said


@pytest.mark.parametrize("kind", ["deploy", "deployments.apps", "deployments.v1.apps", "Deployment.apps"])
def test_a_policy_is_asked_for_the_group_of_the_kind(who, tmp_path, kind):
    """However the kind is written, and whether or not its group is."""
    policy = tmp_path / "p.yaml"
    rule = "{level: Metadata, resources: [{group: apps, resources: [deployments]}]}"
    policy.write_text(f"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{rule}]\n")
    code, _, said = who(f"deleted {kind}/nothing", "security", "--policy", str(policy))
    assert code == 0
    assert "recorded at Metadata (rules[0])" in said


@pytest.mark.parametrize("kind", ["secrets.v1", "secrets.core", "secrets.", "secret.v1.", "SECRETS"])
def test_the_core_has_many_names(who, kind):
    """As in `search --resource`."""
    _, rows, _ = who(f"deleted {kind}/important -n production", "security")
    assert len(rows) == 2


def test_a_dry_run_is_said_to_be_one(tmp_path, capsys):
    """It created nothing."""
    log = tmp_path / "audit.log"
    uri = "/api/v1/namespaces/ns/secrets?dryRun=All"
    log.write_text(f"{event(1, verb='create', requestURI=uri, responseStatus={'code': 201})}\n")
    assert main(["who", "created", "secrets/n1", str(log)]) == 0
    assert "u1 made a dry run to create secrets ns/n1: nothing was changed" in capsys.readouterr().out
    main(["who", "created", "secrets/n1", "-o", "csv", str(log)])
    assert "created (dry run)" in capsys.readouterr().out


def test_the_legacy_format_is_asked_too(tmp_path, capsys):
    """Its lines name the object in the URL alone."""
    log = tmp_path / "audit.log"
    log.write_text(
        '2017-03-01T00:00:00.000000Z AUDIT: id="a" stage="ResponseComplete" ip="10.0.0.1" method="delete" user="bob" '
        'groups="\\"g\\"" as="<self>" asgroups="<lookup>" user-agent="kubectl" namespace="production" '
        'uri="/api/v1/namespaces/production/secrets/important" response="200"\n'
    )
    assert main(["who", "deleted", "secrets/important", "-n", "production", str(log)]) == 0
    assert "bob deleted /api/v1/namespaces/production/secrets/important" in capsys.readouterr().out


def test_without_a_policy_an_empty_answer_says_what_it_does_not_know(who):
    """No policy given: whether it would have been recorded is not known."""
    code, rows, said = who("deleted secrets/nothing -n production")
    assert (code, rows) == (0, [])
    assert "--policy FILE tells" in said


def test_flags_narrow_the_answer(who):
    """The flags of search are understood."""
    _, rows, _ = who("deleted secrets/important -n production", "security", "--outcome", "allowed")
    assert [r["user.username"] for r in rows] == ["attacker"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("deleted pods/exec/web", "is not KIND or KIND/NAME"),
        ("deleted secrets/", "a name must follow the slash"),
        ("deleted secrets/imp*", "who asks about one object, or any of a kind: secrets --name 'imp*' narrows these"),
        ("exec deploy/web -n production", "ask for pods, and for those of deploy/web with --name 'web-*'"),
        ("exec deploy", "commands run in pods: ask for pods"),
        ("deleted secret important", "the name of an object follows a slash: secret/important"),
        ("deleted /x", "is not KIND or KIND/NAME"),
        ("deleted secrets/x -n a -n b", "one namespace"),
        ("deleted crb/pwn -n production", "clusterrolebindings are in no namespace: leave -n production out"),
        ("deleted secrets/x --policy no-such-file", "No such file"),
        ("deleted widgets/x --policy no-such-file", "ask about widgets.GROUP"),
    ],
)
def test_a_question_that_is_none_is_a_usage_error(who, words, text):
    """Each says what would be right, and nothing is read."""
    code, rows, said = who(words)
    assert (code, rows) == (2, [])
    assert text in said


def test_the_text_names_person_place_tool_and_reason(logs, capsys):
    """What a person sees."""
    assert main(["who", "deleted", "cm/bulk-01", "-n", "scratch", str(logs / "security.log")]) == 4
    out = capsys.readouterr().out
    assert "admin deleted namespaces scratch" in out
    assert "evidence inferred: everything in a deleted namespace is deleted" in out
    assert "unknown, it may also have been:\n  admin deleted all configmaps scratch/*\n" in out
    assert "why      recorded at Metadata: which objects it took in is in the response body" in out


def test_a_policy_that_only_spares_some_users_leaves_the_answer_whole(who, tmp_path):
    """Who is left out is said; everybody else's requests would be there."""
    policy = tmp_path / "p.yaml"
    policy.write_text(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n  users: [scheduler]\n- level: Metadata\n"
    )
    code, rows, said = who("deleted secrets/nothing -n production", "security", "--policy", str(policy))
    assert (code, rows) == (0, [])
    assert "NOT RECORDABLE for users scheduler (rules[0]: level None)" in said


@pytest.mark.parametrize(("user", "code"), [("scheduler", 4), ("jane", 0), ("scheduler,jane", 4), ("sched*", 0)])
def test_a_policy_that_spares_the_user_asked_for_leaves_the_answer_open(who, tmp_path, user, code):
    """Nothing found of a user whose requests are not recorded is not "no"; of another user it is."""
    policy = tmp_path / "p.yaml"
    policy.write_text(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n  users: [scheduler]\n- level: Metadata\n"
    )
    found, _, said = who("deleted secrets/nothing", "security", "--user", user, "--policy", str(policy))
    assert found == code
    assert ("NOT RECORDABLE for users scheduler" in said) == (user != "jane")


@pytest.mark.parametrize(("group", "code"), [("system:authenticated", 4), ("system:nodes", 0)])
def test_a_policy_that_spares_everybody_with_a_name_leaves_the_answer_open(who, tmp_path, group, code):
    """Whoever is let in is in system:authenticated; in another group are only some."""
    policy = tmp_path / "p.yaml"
    policy.write_text(
        f"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n  userGroups: ['{group}']\n"
        "- level: Metadata\n"
    )
    found, _, said = who("deleted secrets/nothing", "security", "--policy", str(policy))
    assert found == code
    assert f"NOT RECORDABLE for groups {group}" in said
