"""`--where`: free SQL joins the flags, and is unknown where what it asks for could not be recorded."""

import pytest

from kubewitness.cli.filters import fields_named


@pytest.mark.parametrize(
    ("free", "paths"),
    [
        ("cluster = 'east' AND source LIKE '%.gz'", ()),
        ("requestObject.spec.x = 1", ("requestObject",)),
        ("request_object->>'$.spec' IS NOT NULL AND CODE >= 400", ("responseStatus.code", "requestObject")),
        ("name LIKE '%x'", ("objectRef.name",)),
    ],
)
def test_the_fields_that_free_sql_names(free, paths):
    """By column or wire path, in any case; only those that can be kept out of an Event."""
    assert fields_named(free) == paths


def test_a_body_that_is_not_recorded_is_unknown(run, security_log):
    """A create at Metadata had a body; an empty answer would be a lie."""
    free = "request_object->>'$.spec.hostNetwork' = 'true' AND verb = 'create' AND resource = 'pods'"
    result = run("search", "--where", free, "--count", security_log)
    assert (result.code, result.out) == (4, "0\n")
    assert "95 requests could match" in result.err
    assert "95  requestObject: recorded at Metadata" in result.err


def test_what_the_rest_of_the_condition_rules_out_is_not_unknown(run, security_log):
    """NULL AND false is false: lists have no such body to miss."""
    free = "request_object->>'$.spec.hostNetwork' = 'true' AND verb = 'list'"
    assert run("search", "--where", free, security_log).code == 0


def test_flags_rule_out_what_free_sql_leaves_unknown(run, security_log):
    """A flag that is false decides, whatever the body."""
    free = "request_object->>'$.spec.hostNetwork' = 'true' AND resource = 'pods'"
    assert run("search", "--where", free, "--verb", "create", security_log).code == 4
    assert run("search", "--where", free, "--verb", "list", security_log).code == 0


def test_what_free_sql_rules_out_a_flag_does_not_leave_unknown(run, security_log):
    """Nameless creates may have any name; not those of a verb that the condition excludes."""
    assert run("search", "--name", "nosuch", "--resource", "pods", security_log).code == 4
    assert run("search", "--name", "nosuch", "--resource", "pods", "--where", "verb = 'get'", security_log).code == 0
