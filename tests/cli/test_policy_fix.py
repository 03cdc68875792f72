"""`policy check --fix` and `--diff`: what is written, where, and what is left as it is."""

import json
import stat
from types import SimpleNamespace

import pytest
import yaml

from kubewitness.cli.errors import UserError
from kubewitness.cli.main import main
from kubewitness.cli.policy_fix import replace_file
from tests.policy.vectors import DATA
from tests.test_house import ROOT

SECURITY = DATA / "policies" / "security.yaml"
BAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: metadata  # all\n"
GOOD = BAD.replace("metadata", "Metadata")


@pytest.fixture
def run(capsysbinary, monkeypatch):
    def run(*words, stdin=b""):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=SimpleNamespace(read=lambda: stdin)))
        code = main(["policy", "check", *map(str, words)])
        captured = capsysbinary.readouterr()
        return SimpleNamespace(code=code, out=captured.out.decode(), err=captured.err.decode())

    return run


def test_fix_replaces_the_file_and_keeps_its_mode(run, tmp_path):
    """The file holds the mended text, with the mode it had, and nothing is left beside it."""
    path = tmp_path / "audit-policy.yaml"
    path.write_text(BAD)
    path.chmod(0o640)
    found = run("--fix", path)
    assert (found.code, path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (0, GOOD, 0o640)
    assert f'{path}: KW105: wrote "Metadata" for "metadata"' in found.err
    assert found.out.startswith(f"{path}: kube-apiserver 1.36 accepts this policy")
    assert [file.name for file in tmp_path.iterdir()] == ["audit-policy.yaml"]


def test_fix_is_idempotent_and_leaves_a_sound_file_alone(run, tmp_path):
    """A second run writes nothing: the file is the same one."""
    path = tmp_path / "policy.yaml"
    path.write_bytes(SECURITY.read_bytes())
    run("--fix", path)
    inode, text = path.stat().st_ino, path.read_bytes()
    assert b"system:serviceaccount:kube-system" not in text
    again = run("--fix", path)
    assert (again.code, again.err, path.read_bytes(), path.stat().st_ino) == (0, "", text, inode)


@pytest.mark.parametrize("flags", [("--diff",), ("--fix", "--diff")])
def test_a_difference_changes_no_file(run, tmp_path, flags):
    """Whoever asks for a difference gets to read it before anything is changed, with --fix too."""
    path = tmp_path / "policy.yaml"
    path.write_text(BAD)
    found = run(*flags, path)
    assert (found.code, path.read_text()) == (1, BAD)
    assert "-- level: metadata  # all" in found.out
    assert "+- level: Metadata  # all" in found.out


def test_a_link_is_followed(run, tmp_path):
    """What the link points to is written; the link stays one."""
    target, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    target.write_text(BAD)
    link.symlink_to(target.name)
    assert run("--fix", link).code == 0
    assert (link.is_symlink(), target.read_text()) == (True, GOOD)


def test_diff_writes_nothing(run, tmp_path):
    """The difference goes to standard output; there is one, so the code is 1."""
    path = tmp_path / "policy.yaml"
    path.write_text(BAD)
    found = run("--diff", path)
    assert (found.code, path.read_text()) == (1, BAD)
    assert found.out.splitlines()[-2:] == ["-- level: metadata  # all", "+- level: Metadata  # all"]
    path.write_text(GOOD)
    assert (run("--diff", path).code, run("--diff", path).out) == (0, "")


def test_standard_input_is_mended_to_standard_output(run):
    """With `-` the text alone is on standard output."""
    found = run("--fix", "-", stdin=BAD.encode())
    assert (found.code, found.out) == (0, GOOD)
    assert "KW105" in found.err


def test_only_what_is_shown_is_mended(run, tmp_path):
    """Notes are mended with --show note, not without."""
    path = tmp_path / "policy.yaml"
    path.write_bytes((DATA / "policies" / "scenario3.yaml").read_bytes())
    assert "KW405" not in run("--fix", path).err
    before = path.read_bytes()
    assert "KW405" in run("--fix", "--show", "note", path).err
    assert path.read_bytes() != before


def test_what_could_not_be_mended_is_told(run):
    """A fix that the text does not allow is named with its reason."""
    text = BAD.replace("- level: metadata", "- &a {level: metadata}\n- *a\n- level: Request")
    found = run("--fix", "-", stdin=text.encode())
    assert found.code == 1
    assert "KW105 is left as it is: rules[0] has an anchor or a tag" in found.err
    assert found.out == text


def test_formats_for_machines_are_for_checks(run):
    """--fix with JSON is a mistake of the user."""
    found = run("--fix", "-o", "json", "-", stdin=BAD.encode())
    assert (found.code, "run the check again" in found.err) == (2, True)


def test_a_folder_that_cannot_be_written(tmp_path):
    """One line, and no half-written file."""
    with pytest.raises(UserError, match="cannot be written: No such file"):
        replace_file(tmp_path / "none" / "policy.yaml", b"")
    with pytest.raises(UserError, match="cannot be written"):
        replace_file(tmp_path, b"")
    assert not list(tmp_path.iterdir())


def test_json_names_the_fix(run):
    """Each finding says whether there is a fix, and which."""
    report = json.loads(run("-o", "json", SECURITY).out)
    fixes = {finding["code"]: finding["fix"] for finding in report[0]["findings"]}
    assert fixes["KW302"] == "lowered rules[2] to level Metadata"


def test_hooks_for_pre_commit():
    """The hooks that pre-commit reads run commands that exist, on files of the usual names."""
    import re

    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["id"] for hook in hooks] == ["kubewitness-policy-check", "kubewitness-policy-fix"]
    for hook in hooks:
        assert set(hook) == {"id", "name", "description", "entry", "language", "files"}
        assert hook["entry"].startswith("kubewitness policy check")
        for name in ("audit-policy.yaml", "etc/kubernetes/audit/policy.yml", "k8s/audit_policy.json"):
            assert re.search(hook["files"], name) or "/audit/" in name
        assert not re.search(hook["files"], "network-policy.yaml")


def test_custom_resource_definitions_are_read(run, tmp_path):
    """Files and folders with --crds; a path without any, or that is no YAML, is a mistake of the user."""
    crd = tmp_path / "crds" / "widget.yaml"
    crd.parent.mkdir()
    crd.write_text(
        "---\nkind: Service\n---\nkind: CustomResourceDefinition\nspec:\n  group: x.io\n"
        "  names: {plural: widgets, kind: Widget}\n"
    )
    text = GOOD + "- {level: Request, resources: [{group: x.io, resources: [Wigdets]}]}\n"
    for path in (crd, crd.parent):
        assert "write widgets" in run("--crds", path, "-", stdin=text.encode()).out
    (tmp_path / "no.yaml").write_text("a: 'x")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff")
    (tmp_path / "tag.yaml").write_text("a: !!bool x")
    for path, message in (
        (tmp_path / "no.yaml", "no.yaml:1:6: this is no YAML: found unexpected end of stream"),
        (tmp_path / "bytes.yaml", "bytes.yaml: this is no YAML: invalid leading UTF-8 octet"),
        (tmp_path / "tag.yaml", "tag.yaml: this is no YAML that can be read"),
        (SECURITY, "no CustomResourceDefinition is in there"),
        (tmp_path / "none", "cannot be read"),
    ):
        found = run("--crds", path, "-", stdin=text.encode())
        assert (found.code, message in found.err) == (2, True)


SARIF = {
    "type": "object",
    "required": ["version", "runs", "$schema"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {"type": "object", "required": ["id", "shortDescription"]},
                                    }
                                },
                            }
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message", "ruleId", "locations"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"pattern": r"^KW\d{3}$"},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": {"type": "object", "required": ["text"]},
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "required": ["physicalLocation"],
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "required": ["artifactLocation", "region"],
                                                "properties": {
                                                    "region": {
                                                        "type": "object",
                                                        "properties": {
                                                            "startLine": {"type": "integer", "minimum": 1},
                                                            "startColumn": {"type": "integer", "minimum": 1},
                                                        },
                                                    }
                                                },
                                            }
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
REPORT = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["file", "accepted", "server_error", "findings"],
        "properties": {
            "file": {"type": "string"},
            "accepted": {"type": "boolean"},
            "server_error": {"type": "string"},
            "findings": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["code", "severity", "line", "column", "path", "message", "help", "fix"],
                    "properties": {
                        "code": {"pattern": r"^KW\d{3}$"},
                        "path": {"type": "string"},
                        "message": {"type": "string"},
                        "help": {"type": "string"},
                        "severity": {"enum": ["refused", "wrong", "unmet", "risky", "note"]},
                        "line": {"type": "integer", "minimum": 1},
                        "column": {"type": "integer", "minimum": 1},
                        "fix": {"type": ["string", "null"]},
                    },
                },
            },
        },
    },
}


@pytest.mark.parametrize(("output", "schema"), [("sarif", SARIF), ("json", REPORT)])
def test_outputs_for_machines_have_their_form(run, output, schema):
    """What SARIF 2.1.0 asks of the members we write, and our own report, for every policy at hand."""
    import jsonschema

    paths = sorted((DATA / "policies").glob("*.yaml"))
    found = run("--show", "note", "--profile", "cis", "-o", output, *paths)
    jsonschema.validate(json.loads(found.out), schema)
