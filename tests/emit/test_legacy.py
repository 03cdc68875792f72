"""The legacy line, as measured on a running server and as our own reader takes it back."""

import msgspec

from kubewitness.emit.legacy import text_line
from kubewitness.event.decode import decode
from kubewitness.event.legacy import text_line as read
from kubewitness.event.types import Event, ObjectReference, ResponseStatus, Stage, UserInfo
from tests.emit.stages.recorded import lines


def test_a_line_as_a_server_wrote_it() -> None:
    """Groups are quoted within quotes, an absent impersonation shows as <self> and <lookup>."""
    event = Event(
        audit_id="51",
        stage=Stage.RESPONSE_COMPLETE,
        request_uri="/api/v1/namespaces/default/configmaps",
        verb="create",
        user=UserInfo(username="admin", groups=("system:masters", "system:authenticated")),
        source_ips=("127.0.0.1", "10.0.0.1"),
        user_agent="exp/1.0",
        object_ref=ObjectReference(resource="configmaps", namespace="default"),
        response_status=ResponseStatus(code=201),
        request_received_timestamp="2026-11-23T03:11:27.501500Z",
    )
    assert text_line(event) == (
        '2026-11-23T03:11:27.5015Z AUDIT: id="51" stage="ResponseComplete" ip="127.0.0.1" method="create" user="admin" '
        'groups="\\"system:masters\\",\\"system:authenticated\\"" as="<self>" asgroups="<lookup>" user-agent="exp/1.0" '
        'namespace="default" uri="/api/v1/namespaces/default/configmaps" response="201"'
    )


def test_an_event_without_anything() -> None:
    """What is not known has its word."""
    event = Event(stage=Stage.REQUEST_RECEIVED, request_received_timestamp="2026-11-23T03:11:27.000000Z")
    assert text_line(event) == (
        '2026-11-23T03:11:27Z AUDIT: id="" stage="RequestReceived" ip="<unknown>" method="" user="<none>" '
        'groups="<none>" as="<self>" asgroups="<lookup>" user-agent="" namespace="<none>" uri="" response="<deferred>"'
    )


def test_times_keep_their_own_zeros() -> None:
    """Only zeros at the end of the fraction go."""
    event = Event(stage=Stage.PANIC, request_received_timestamp="2026-11-20T10:00:10.100200Z")
    assert text_line(event).startswith("2026-11-20T10:00:10.1002Z ")


def test_our_reader_takes_every_line_back() -> None:
    """Every recorded Event, written so and read again, has the members the format can hold."""
    for raw in lines("metadata"):
        event = msgspec.json.decode(raw, type=Event)
        opened = read(text_line(event).encode())
        assert not isinstance(opened, str)
        back = decode(opened.raw)
        assert (back.audit_id, back.stage, back.verb) == (event.audit_id, event.stage, event.verb)
        assert (back.request_uri, back.user_agent) == (event.request_uri, event.user_agent)
        assert back.user is not None
        assert event.user is not None
        assert (back.user.username, back.user.groups) == (event.user.username, event.user.groups)
        assert (back.impersonated_user is None) == (event.impersonated_user is None)
