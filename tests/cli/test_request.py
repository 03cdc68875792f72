"""One request as people read it."""

import msgspec
import pytest

from kubewitness.cli.request import Request, did, from_where, kind_of, peer, request_of, what, who

DELETE = Request(
    username="attacker",
    verb="delete",
    action="delete",
    outcome="allowed",
    code=200,
    resource="secrets",
    namespace="production",
    name="important",
)


def but(**changes: object) -> Request:
    """The delete, changed."""
    return msgspec.structs.replace(DELETE, **changes)  # type: ignore[arg-type]


IMPORTANT = "secrets production/important"
EXEC: dict[str, object] = {"verb": "get", "action": "exec", "resource": "pods", "subresource": "exec"}
BIND: dict[str, object] = {"verb": "create", "action": "bind", "resource": "clusterrolebindings", "namespace": None}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, f"attacker deleted {IMPORTANT}"),
        (
            {"outcome": "denied", "code": 403, "reason": "Forbidden"},
            f"attacker was not allowed to delete {IMPORTANT}: 403 Forbidden",
        ),
        (
            {"outcome": "failed", "code": 404, "reason": "NotFound"},
            f"attacker tried to delete {IMPORTANT}: 404 NotFound",
        ),
        ({"outcome": None, "code": None}, f"attacker asked to delete {IMPORTANT}; no answer is recorded"),
        (
            {"username": None, "outcome": "denied", "code": 401},
            f"someone without valid credentials tried to delete {IMPORTANT}: 401",
        ),
        ({"impersonated_username": "admin"}, f"attacker (as admin) deleted {IMPORTANT}"),
        ({"verb": "list", "action": "list", "name": None}, "attacker listed secrets production/*"),
        (
            {"verb": "deletecollection", "action": "deletecollection", "name": None},
            "attacker deleted all secrets production/*",
        ),
        ({"verb": "create", "action": "create", "name": None}, "attacker created secrets production/?"),
        (
            {**EXEC, "exec_command": ["sh", "-c", "id; ls"]},
            "attacker ran `sh -c 'id; ls'` in pods production/important",
        ),
        (EXEC, "attacker ran a command in pods production/important"),
        ({**BIND, "name": "pwn"}, "attacker granted roles: created clusterrolebindings pwn"),
        (
            {"verb": "get", "action": "get", "resource": None, "request_uri": "/healthz?verbose"},
            "attacker read /healthz",
        ),
        ({"verb": "brew", "action": "brew"}, f"attacker sent brew to {IMPORTANT}"),
    ],
)
def test_a_plain_sentence(changes, sentence):
    """Who did what to what, and how it ended."""
    assert did(but(**changes)) == sentence


def test_several_are_told_as_one():
    """Requests of the same kind in a row are one sentence with their number."""
    assert did(but(name="x"), count=52) == "attacker deleted 52 x secrets production/x"


def test_a_foreign_kind_shows_its_group():
    """A custom resource called secrets does not pass for the real one."""
    assert kind_of("secrets", None, "evil.example") == "secrets.evil.example"
    assert kind_of("deployments", "scale", "apps") == "deployments/scale"
    assert kind_of("roles", None, "rbac.authorization.k8s.io") == "roles"


def test_a_namespace_is_not_inside_itself():
    """A request for a namespace names it once."""
    assert what(but(resource="namespaces", namespace="demo", name="demo")) == "namespaces demo"
    assert what(but(resource="nodes", namespace=None, name=None, verb="list")) == "nodes"


def test_the_peer_stands_first():
    """The last hop is the one that is known; what it claims is told apart."""
    assert (
        from_where(but(source_ips=["203.0.113.7", "10.0.0.1", "192.0.2.1"])) == "192.0.2.1 (for 203.0.113.7, 10.0.0.1)"
    )
    assert peer(but(source_ips=["203.0.113.7", "10.0.0.1", "192.0.2.1"])) == "192.0.2.1 +2"
    assert peer(but(source_ips=["192.0.2.1"])) == from_where(but(source_ips=["192.0.2.1"])) == "192.0.2.1"
    assert peer(but(source_ips=None)) is None
    assert from_where(but(source_ips=[])) is None


def test_a_row_becomes_a_request():
    """Values are taken by column name, whatever else the row holds."""
    assert who(request_of(["audit_id", "username"], ["x", "alice"])) == "alice"
