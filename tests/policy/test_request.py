"""Request lines and recorded Events to attributes, odd requests included."""

import contextlib

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.event.types import Event, ObjectReference, Stage, UserInfo
from kubewitness.policy.evaluate import compile_policy
from kubewitness.policy.load import load
from kubewitness.policy.request import (
    RequestError,
    attributes_from_event,
    info_from_uri,
    is_long_running,
    request_info,
    split_url,
)
from tests.policy.vectors import DATA
from tests.strategies import request_lines


def seen(method: str, url: str) -> tuple[str, str, str, str, str, str]:
    """Give verb, group, namespace, resource, subresource and name."""
    info = request_info(method, url)
    assert info.is_resource_request
    return info.verb, info.api_group, info.namespace, info.resource, info.subresource, info.name


@pytest.mark.parametrize(
    ("method", "url", "expected"),
    [
        ("GET", "/api/v1/pods", ("list", "", "", "pods", "", "")),
        ("HEAD", "/api/v1/pods", ("list", "", "", "pods", "", "")),
        ("GET", "/api/v1/namespaces/prod/pods/web", ("get", "", "prod", "pods", "", "web")),
        ("HEAD", "/api/v1/namespaces/prod/pods/web", ("get", "", "prod", "pods", "", "web")),
        ("GET", "/api/v1/namespaces/prod/pods/web/exec?command=sh", ("get", "", "prod", "pods", "exec", "web")),
        ("GET", "/api/v1/nodes/n1/proxy/logs/x", ("get", "", "", "nodes", "proxy", "n1")),
        ("POST", "/apis/apps/v1/namespaces/p/deployments", ("create", "apps", "p", "deployments", "", "")),
        ("PUT", "/apis/apps/v1/namespaces/p/deployments/d", ("update", "apps", "p", "deployments", "", "d")),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/p/deployments/d/scale",
            ("patch", "apps", "p", "deployments", "scale", "d"),
        ),
        ("DELETE", "/api/v1/namespaces/x/pods", ("deletecollection", "", "x", "pods", "", "")),
        ("DELETE", "/api/v1/namespaces/x/pods/a", ("delete", "", "x", "pods", "", "a")),
        # a namespace is an object and a place
        ("GET", "/api/v1/namespaces", ("list", "", "", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces/foo", ("get", "", "foo", "namespaces", "", "foo")),
        ("PUT", "/api/v1/namespaces/foo/finalize", ("update", "", "foo", "namespaces", "finalize", "foo")),
        ("PATCH", "/api/v1/namespaces/foo/status", ("patch", "", "foo", "namespaces", "status", "foo")),
        # whether a list watches
        ("GET", "/api/v1/pods?watch", ("watch", "", "", "pods", "", "")),
        ("GET", "/api/v1/pods?watch=true", ("watch", "", "", "pods", "", "")),
        ("GET", "/api/v1/pods?watch=yes&watch=0", ("watch", "", "", "pods", "", "")),
        ("GET", "/api/v1/pods?watch=0", ("list", "", "", "pods", "", "")),
        ("GET", "/api/v1/pods?watch=FALSE", ("list", "", "", "pods", "", "")),
        ("GET", "/api/v1/pods/web?watch=true", ("get", "", "", "pods", "", "web")),
        ("GET", "/api/v1/pods?%77atch=1", ("watch", "", "", "pods", "", "")),
        ("GET", "/api/v1/pods?watch=1;x", ("list", "", "", "pods", "", "")),
        # a field selector that pins the name
        ("GET", "/api/v1/pods?fieldSelector=metadata.name=app", ("list", "", "", "pods", "", "app")),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3D%3Dapp&watch=1", ("watch", "", "", "pods", "", "app")),
        ("GET", "/api/v1/pods?fieldSelector=status.phase=x,metadata.name=a", ("list", "", "", "pods", "", "a")),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name!=app", ("list", "", "", "pods", "", "")),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name=a%252Fb", ("list", "", "", "pods", "", "")),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name=..", ("list", "", "", "pods", "", "")),
        ("GET", "/api/v1/pods?fieldSelector=broken", ("list", "", "", "pods", "", "")),
        # options that cannot be read are all forgotten, but for watch
        ("GET", "/api/v1/pods?limit=x&fieldSelector=metadata.name=a&watch=1", ("watch", "", "", "pods", "", "")),
        ("GET", "/api/v1/pods?labelSelector=a==&fieldSelector=metadata.name=a", ("list", "", "", "pods", "", "a")),
        ("GET", "/api/v1/pods?labelSelector=,,&fieldSelector=metadata.name=a", ("list", "", "", "pods", "", "")),
        # verbs in the path
        ("GET", "/api/v1/watch/pods", ("watch", "", "", "pods", "", "")),
        ("GET", "/api/v1/watch/namespaces/p/pods/a", ("watch", "", "p", "pods", "", "a")),
        ("GET", "/api/v1/proxy/nodes/x", ("proxy", "", "", "nodes", "", "x")),
        ("POST", "/api/v1/proxy/namespaces/p/pods/a/run", ("proxy", "", "p", "pods", "", "a")),
        ("DELETE", "/api/v1/watch/pods", ("watch", "", "", "pods", "", "")),
        # odd ones, as measured
        ("GET", "//api/v1/pods", ("list", "", "", "pods", "", "")),
        ("GET", "/%61pi/v1/pods", ("list", "", "", "pods", "", "")),
        ("GET", "/api/v1/namespaces/default/secrets/a%2Fb", ("get", "", "default", "secrets", "b", "a")),
        ("GET", "/api/v1/namespaces//pods", ("list", "", "", "pods", "", "")),
        ("GET", "/api/v1/../v1/pods", ("get", "", "", "..", "pods", "v1")),
        ("FOO", "/api/v1/pods", ("", "", "", "pods", "", "")),
        ("OPTIONS", "/api/v1/pods/a", ("", "", "", "pods", "", "a")),
        ("get", "/api/v1/pods", ("", "", "", "pods", "", "")),
        ("GET", "/apis/nope.io/v9/things", ("list", "nope.io", "", "things", "", "")),
        ("GET", "https://server:6443/api/v1/pods/x?a=b", ("get", "", "", "pods", "", "x")),
    ],
)
def test_resource_requests(method, url, expected):
    """Method and URL give what kube-apiserver makes of them."""
    assert seen(method, url) == expected


@pytest.mark.parametrize(
    ("method", "url", "verb", "path"),
    [
        ("GET", "/", "get", "/"),
        ("GET", "/healthz?verbose", "get", "/healthz"),
        ("HEAD", "/healthz", "head", "/healthz"),
        ("FOO", "/version", "foo", "/version"),
        ("TRACE", "/x", "trace", "/x"),
        ("GET", "/api", "get", "/api"),
        ("GET", "/api/v1", "get", "/api/v1"),
        ("GET", "/api/v1/", "get", "/api/v1/"),
        ("GET", "/apis/apps/v1", "get", "/apis/apps/v1"),
        ("GET", "/apis/apps/v1/", "get", "/apis/apps/v1/"),
        ("GET", "/apiss/a/b/c/d", "get", "/apiss/a/b/c/d"),
        ("GET", "/heal%74hz", "get", "/healthz"),
        ("OPTIONS", "*", "options", "*"),
    ],
)
def test_requests_for_urls(method, url, verb, path):
    """Everything else is a request for a URL: its verb is the method in small letters."""
    info = request_info(method, url)
    assert (info.is_resource_request, info.verb, info.path) == (False, verb, path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/api/v1/watch", "unable to determine kind and namespace from url, /api/v1/watch"),
        ("/a%zz", "invalid URL escape"),
    ],
)
def test_requests_that_are_never_audited(url, message):
    """What the server turns away before auditing is an error, not a guess."""
    with pytest.raises(RequestError, match=message):
        request_info("GET", url)


@given(request_lines())
def test_verb_and_uri_give_back_the_request(line):
    """From the verb and URI that an Event records, the same request is rebuilt."""
    method, url = line
    try:
        info = request_info(method, url)
    except RequestError:
        return
    assert info_from_uri(info.verb, url) == info


@given(st.text(), st.text())
def test_any_text_is_read(method, url):
    """No method and no URL raises anything but RequestError, and a known verb not even that."""
    info_from_uri(method, url)
    with contextlib.suppress(RequestError):
        request_info(method, url)


def test_events_without_request_uri_fall_back_on_object_ref():
    """Training material and some clouds leave requestURI out; then objectRef is all there is."""
    event = Event(
        stage=Stage.RESPONSE_COMPLETE,
        verb="get",
        user=UserInfo(username="alice"),
        object_ref=ObjectReference(resource="pods", namespace="prod", name="web", api_group=None, subresource="log"),
    )
    found = attributes_from_event(event)
    assert (found.resource, found.subresource, found.namespace, found.name) == ("pods", "log", "prod", "web")
    assert (found.user, found.groups, found.resource_request) == ("alice", (), True)


def test_the_name_comes_from_the_url_not_from_the_body():
    """objectRef.name of a create stems from the body, and the policy did not see it."""
    event = Event(
        stage=Stage.RESPONSE_COMPLETE,
        verb="create",
        request_uri="/api/v1/namespaces/prod/pods",
        user=UserInfo(username="alice", groups=("dev",)),
        object_ref=ObjectReference(resource="pods", namespace="prod", name="web"),
    )
    assert attributes_from_event(event).name == ""


def test_an_event_without_user_is_a_request_without_user():
    """A 401 has an empty user, which is not the empty name."""
    found = attributes_from_event(Event(stage=Stage.RESPONSE_STARTED, verb="list", user=UserInfo(), request_uri="/api"))
    assert (found.user, found.groups) == (None, None)


@pytest.mark.parametrize(
    ("method", "url", "long"),
    [
        ("GET", "/api/v1/pods?watch=1", True),
        ("GET", "/api/v1/namespaces/p/pods/a/log", True),
        ("POST", "/api/v1/namespaces/p/pods/a/exec", True),
        ("GET", "/api/v1/proxy/nodes/x", True),
        ("GET", "/debug/pprof/profile", True),
        ("GET", "/api/v1/namespaces/p/pods/a/status", False),
        ("GET", "/healthz", False),
    ],
)
def test_long_running(method, url, long):
    """Watches, streams, logs, proxies and profiles have a ResponseStarted stage."""
    assert is_long_running(request_info(method, url).attributes("u", ())) is long


def test_split_url_keeps_bytes_that_are_no_utf8():
    """A path may hold any byte; it is kept, so that prefixes still match."""
    assert split_url("/healthz/%ff?x=1") == ("/healthz/\udcff", "x=1")


@pytest.mark.parametrize("name", ["full", "security", "metadata"])
def test_every_recorded_event_agrees_with_its_policy(name):
    """Attributes rebuilt from each of 9,383 Events give its recorded level and keep its stage."""
    policy = compile_policy(load((DATA / "policies" / f"{name}.yaml").read_bytes()))
    packed = (DATA / f"audit-{name}.log.zst").read_bytes()
    decoder = msgspec.json.Decoder(Event)
    for line in zstandard.ZstdDecompressor().decompressobj().decompress(packed).split(b"\n"):
        if not line:
            continue
        event = decoder.decode(line)
        found = attributes_from_event(event)
        decision = policy.decide(found)
        assert decision.level is event.level, event.request_uri
        assert event.stage not in decision.omit_stages
        reference = event.object_ref
        assert (reference is not None) is found.resource_request
        if reference is not None:
            of_reference = (reference.resource, reference.subresource, reference.namespace, reference.api_group)
            of_url = (found.resource, found.subresource, found.namespace, found.api_group)
            assert tuple(part or "" for part in of_reference) == of_url
