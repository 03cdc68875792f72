"""`keys` from the command line: shown, rotated, and heads verified across rotations."""

import json
from pathlib import Path

import pytest

from kubewitness.keep.store.layout import DataDir, KeyDir, default_keys
from tests.keep.store.build import data_dir, raws


@pytest.fixture
def data(tmp_path) -> Path:
    """A data directory with a few signed Events."""
    return data_dir(tmp_path / "data", raws(0, 40), per_head=20).path


def test_keys_are_shown(run, data):
    """A line each, as verifiers take them; nothing private among them."""
    (key,) = KeyDir(default_keys(data)).verifiers("prod")
    result = run("keys", "show", "--data", str(data))
    assert (result.code, result.out) == (0, f"{key}\n")
    assert json.loads(run("keys", "show", "--data", str(data), "-o", "json").out) == {"prod": [str(key)]}


def test_heads_are_verified_across_rotations(run, data):
    """All keys that ever signed are known; who pinned one goes on for one rotation, and not for two."""
    pins = [str(KeyDir(default_keys(data)).verifiers("prod")[0])]
    for size in (60, 80):
        result = run("keys", "rotate", "--data", str(data))
        assert result.code == 0
        pins.append(result.out.strip())
        assert "PRIVATE" not in result.out + result.err
        data_dir(data, raws(0, size), per_head=20)
    assert run("keys", "show", "--data", str(data)).lines == pins[::-1]
    verified = run("verify", "--data", str(data), "-o", "json")
    assert verified.code == 0
    assert json.loads(verified.out)["logs"][0]["heads"] == 4
    heads = DataDir(data).log_path("prod") / "heads"
    signed = {int(p.name): p.read_text().count("\u2014") for p in heads.iterdir()}
    assert signed == {20: 1, 40: 1, 60: 2, 80: 2}
    for pin, kind, wrong in zip(
        pins, ("unknown-key", "old-key", "old-key"), ({80}, {20, 40}, {20, 40, 60}), strict=True
    ):
        result = run("verify", "--data", str(data), "--key", pin, "-o", "json")
        found = {(f["kind"], f["where"]) for f in json.loads(result.out)["logs"][0]["findings"]}
        assert {where for what, where in found if what == kind} - {"tiles/checkpoint"} == {f"heads/{n}" for n in wrong}
        assert result.code == (3 if kind == "unknown-key" else 4)


def test_a_key_that_others_have_signs_no_more(run, data):
    """With --no-overlap the next head has one signature."""
    run("keys", "rotate", "--data", str(data), "--no-overlap")
    data_dir(data, raws(0, 60), per_head=20)
    head = DataDir(data).log_path("prod") / "heads" / "60"
    assert head.read_text().count("\u2014") == 1
    assert run("verify", "--data", str(data)).code == 0


def test_a_lost_key_is_replaced_only_on_demand(run, data):
    """Looked for in the wrong place, no other is made there; --no-overlap makes one, and says which."""
    default_keys(data).rename(data.parent / "moved")
    default_keys(data).mkdir()
    result = run("keys", "rotate", "--data", str(data))
    assert result.code == 2
    assert "no key of prod is there; --keys DIR names another place" in result.err
    assert list(default_keys(data).iterdir()) == []
    default_keys(data).rmdir()
    result = run("keys", "rotate", "--data", str(data), "--no-overlap")
    assert result.code == 0
    assert run("keys", "show", "--data", str(data)).out == result.out


def test_wrong_usage(run, data, tmp_path):
    """One sentence each."""
    for words in (
        ("show",),
        ("show", "--data", str(data), "--keys", str(tmp_path)),
        ("rotate", "--data", str(data), "--keys", "no"),
    ):
        result = run("keys", *words)
        assert result.code == 2
        assert len(result.err.splitlines()) == 1
