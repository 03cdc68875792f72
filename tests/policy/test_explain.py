"""Explanations: the deciding rule, a reason for every rule before it, hints for near misses, stages."""

import pytest
from hypothesis import given

from kubewitness.event.types import Level, Stage
from kubewitness.policy.evaluate import evaluate
from kubewitness.policy.explain import explain, implied_groups
from kubewitness.policy.load import load
from kubewitness.policy.request import request_info
from kubewitness.policy.types import Attributes
from tests.policy.vectors import DATA
from tests.strategies import attributes, policies

HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"


def asked(rules: str, method: str, url: str, user: str | None = "alice"):
    """Explain one request line."""
    groups = None if user is None else implied_groups(user)
    return explain(load(HEAD + rules), request_info(method, url).attributes(user, groups))


@given(policies(), attributes())
def test_an_explanation_explains_the_decision(policy, request):
    """The decision is that of evaluate; every rule before it has a reason, the deciding one none."""
    found = explain(policy, request)
    assert found.decision == evaluate(policy, request)
    for rule in found.rules:
        assert bool(rule.reasons) is (rule.index != found.decision.rule_index)
    last = found.rules[-1].index
    assert last == (len(policy.rules) - 1 if found.decision.rule_index is None else found.decision.rule_index)


@pytest.mark.parametrize(
    ("rule", "method", "url", "text", "hint"),
    [
        ("{level: None, users: [bob]}", "GET", "/x", '"alice" is not in ["bob"]', ""),
        ("{level: None, users: ['ali*']}", "GET", "/x", '"alice" is not in', '"ali*" is no glob'),
        ("{level: None, userGroups: [g]}", "GET", "/x", 'the user has ["system:authenticated"]', ""),
        ("{level: None, userGroups: ['system:*']}", "GET", "/x", "none of", "no glob"),
        ("{level: None, verbs: [create]}", "GET", "/x", 'the verb "get" is not in ["create"]', ""),
        ("{level: None, verbs: ['*']}", "GET", "/x", "is not in", "leave verbs out"),
        ("{level: None, verbs: [LIST]}", "GET", "/api/v1/pods", "is not in", "in capitals"),
        ("{level: None, namespaces: [a]}", "GET", "/x", "a request for a URL has no namespace", ""),
        ("{level: None, namespaces: [a]}", "GET", "/api/v1/pods", "has no namespace, the rule wants", 'match only ""'),
        ("{level: None, namespaces: [a]}", "GET", "/api/v1/namespaces/b/pods", '"b" is not in ["a"]', ""),
        ("{level: None, nonResourceURLs: [/a]}", "GET", "/api/v1/pods", "for URLs, the request is for a resource", ""),
        ("{level: None, nonResourceURLs: [/healthz]}", "GET", "/healthz/etcd", "is not in", "write /healthz*"),
        ("{level: None, resources: [{}]}", "GET", "/healthz", "for resources, the request is for a URL", ""),
        (
            "{level: None, resources: [{resources: [pods]}]}",
            "GET",
            "/api/v1/namespaces/a/pods/p/exec",
            'pods/exec "p" of the core group is not among pods of the core group',
            "pods does not cover pods/exec; write pods/exec or pods/*",
        ),
        (
            "{level: None, resources: [{resources: [deployments]}]}",
            "GET",
            "/apis/apps/v1/deployments",
            "deployments of apps is not among deployments of the core group",
            'belong to group: "apps"',
        ),
        (
            "{level: None, resources: [{resources: [pods], resourceNames: [p]}]}",
            "POST",
            "/api/v1/namespaces/a/pods",
            'pods named ["p"] of the core group',
            "no name in its URL",
        ),
        ("{level: None, resources: [{resources: ['pod*']}]}", "GET", "/api/v1/pods", "pod*", "only *, resource/*"),
    ],
)
def test_reasons_and_hints(rule, method, url, text, hint):
    """The reason shows both values; a near miss says what was probably meant."""
    (found,) = asked(f"- {rule}\n", method, url).rules
    (reason,) = found.reasons
    assert text in reason.text
    assert hint in reason.hint
    assert bool(hint) is bool(reason.hint)


def test_nobody_is_explained():
    """A request without user has no name and no groups to match."""
    found = asked("- {level: None, users: ['']}\n- {level: None, userGroups: [a]}\n", "GET", "/x", user=None)
    texts = [reason.text for rule in found.rules for reason in rule.reasons]
    assert texts == ["the request has no user: authentication failed", 'none of ["a"]: no user, so no groups']


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        ("alice", ("system:authenticated",)),
        ("system:anonymous", ("system:unauthenticated",)),
        ("system:node:n1", ("system:nodes", "system:authenticated")),
        (
            "system:serviceaccount:prod:web",
            ("system:serviceaccounts", "system:serviceaccounts:prod", "system:authenticated"),
        ),
    ],
)
def test_groups_that_a_name_implies(user, groups):
    """kube-apiserver puts these groups beside the name itself."""
    assert implied_groups(user) == groups


def holds(level: str, method: str, url: str, user: str | None = "alice", more: str = "") -> dict[Stage, str]:
    """Give what each written stage holds."""
    stages = asked(f"- {{level: {level}{more}}}\n", method, url, user).stages
    return {stage.stage: "; ".join(stage.holds) for stage in stages if stage.is_written}


POD = "/api/v1/namespaces/a/pods/p"


def test_which_stages_are_written():
    """Short requests have two stages, long-running ones three, a 401 one; None and omitStages take them away."""
    assert list(holds("Metadata", "GET", POD)) == [Stage.REQUEST_RECEIVED, Stage.RESPONSE_COMPLETE]
    assert list(holds("Metadata", "GET", POD + "/log")) == list(Stage)[:3]
    assert list(holds("Metadata", "GET", POD, user=None)) == [Stage.RESPONSE_STARTED]
    assert holds("None", "GET", POD) == {}
    assert list(holds("Metadata", "GET", POD, more=", omitStages: [RequestReceived]")) == [Stage.RESPONSE_COMPLETE]


@pytest.mark.parametrize(
    ("level", "method", "url", "text"),
    [
        ("Metadata", "GET", POD, "no body: level Metadata"),
        ("Request", "GET", POD, "no body: this request has none at this level"),
        ("RequestResponse", "GET", POD, "responseObject: the whole object"),
        ("RequestResponse", "GET", "/api/v1/pods", "responseObject: the whole list"),
        ("Request", "POST", "/api/v1/namespaces/a/pods", "requestObject: the object sent"),
        ("Request", "PATCH", POD, "requestObject: the patch as sent"),
        ("RequestResponse", "DELETE", POD, "a Status, or the object"),
        ("RequestResponse", "GET", POD + "/exec?command=sh", "no body at any level"),
        ("RequestResponse", "GET", POD + "/exec?command=sh", "the command in requestURI"),
        ("RequestResponse", "GET", "/healthz", "requests for URLs have none"),
        ("RequestResponse", "GET", "/apis/apps/v1", "the list of what the server offers"),
        ("Metadata", "POST", "/api/v1/namespaces/a/pods", "with the name from the body"),
        ("RequestResponse", "GET", "/api/v1/namespaces/a/secrets/s", "these bodies hold the secret"),
        ("Request", "POST", "/apis/authentication.k8s.io/v1/tokenreviews", "both bodies hold the token"),
        ("RequestResponse", "POST", "/api/v1/namespaces/a/serviceaccounts/s/token", "the response holds the new token"),
    ],
)
def test_what_the_last_stage_holds(level, method, url, text):
    """Bodies by level, verb and kind of request, as measured on kube-apiserver."""
    assert text in holds(level, method, url)[Stage.RESPONSE_COMPLETE]


def test_a_get_of_a_secret_at_request_holds_no_secret():
    """A get has no request body, so level Request keeps nothing of it."""
    assert "hold the secret" not in holds("Request", "GET", "/api/v1/namespaces/a/secrets/s")[Stage.RESPONSE_COMPLETE]


def test_the_stages_of_the_recorded_requests():
    """Every recorded stage of a request is one that is said to be written for it."""
    import msgspec
    import zstandard

    from kubewitness.event.types import Event
    from kubewitness.policy.request import attributes_from_event
    from kubewitness.policy.stages import contents

    policy = load((DATA / "policies" / "security.yaml").read_bytes())
    packed = (DATA / "audit-security.log.zst").read_bytes()
    decoder = msgspec.json.Decoder(Event)
    for line in zstandard.ZstdDecompressor().decompressobj().decompress(packed).split(b"\n"):
        if not line:
            continue
        event = decoder.decode(line)
        request = attributes_from_event(event)
        written = {one.stage for one in contents(request, evaluate(policy, request)) if one.is_written}
        assert event.stage in written | {Stage.PANIC}, event.request_uri


def test_level_and_attributes_are_carried():
    """The explanation repeats what was asked."""
    request = Attributes("get", "alice", ())
    found = explain(load(HEAD + "- level: Metadata\n"), request)
    assert (found.attributes, found.rules[0].level) == (request, Level.METADATA)
