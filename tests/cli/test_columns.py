"""The columns an answer shows."""

import pytest

from kubewitness.cli.columns import DATA, TABLE, WIDE, chosen, field_of, maker, reads_of
from kubewitness.cli.errors import UserError
from kubewitness.event.fields import by_column


def test_the_formats_have_their_columns():
    """table is for 80 cells, wide for all of them, the rest for programs: one field a column, by wire path."""
    assert [shown.column.title for shown in TABLE] == ["TIME", "USER", "ACTION", "RESOURCE", "CODE", "FROM"]
    assert chosen(None, "wide") is WIDE
    assert chosen(None, "csv") is DATA
    assert all(shown.column.name == by_column(shown.reads[0]).path for shown in DATA)


@pytest.mark.parametrize("name", ["objectRef.name", "name"])
def test_a_field_has_two_names(name):
    """--columns takes wire path and column name."""
    [shown] = chosen(name, "table")
    assert shown.reads == ("name",)


def test_a_misspelt_column_gets_a_hint():
    """The nearest name is proposed."""
    with pytest.raises(UserError, match=r"--columns: there is no field 'objectRef.nam'; did you mean objectRef.name\?"):
        chosen("time,objectRef.nam", "table")
    with pytest.raises(UserError, match=r"did you mean objectRef.name\?"):
        chosen("ObjectRef.Name", "table")
    with pytest.raises(UserError, match=r"'qqq'; there are time, user, .* and every column of `kubewitness sql"):
        chosen("qqq", "table")


@pytest.mark.parametrize("names", ["", " , "])
def test_no_column_is_an_error(names):
    """Such as a variable of a script that is empty."""
    with pytest.raises(UserError, match=r"--columns '.*': name at least one"):
        chosen(names, "table")


def test_rows_are_made_of_what_is_read():
    """Each column is read once, and every shown column finds its values."""
    shown = chosen("user,username,object,code", "table")
    reads = reads_of(shown)
    assert len(reads) == len(set(reads))
    values = {"username": "alice", "resource": "pods", "name": "a", "namespace": "b", "code": 200, "verb": "get"}
    assert maker(shown)([values.get(name) for name in reads]) == ("alice", "alice", "pods b/a", 200)


def test_grouping_names_are_fields():
    """`user` is the user's name, not a made column."""
    assert field_of("user").column == "username"
    assert field_of("verb").path == "verb"
    with pytest.raises(UserError, match="there is no field 'usr'"):
        field_of("usr")
