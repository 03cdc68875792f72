"""What is read of a server is what the server reads: the same flags, whatever form they stand in."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.apiserver.readers import read_setup
from kubewitness.apiserver.setup import Form, Mount, behind, directory_of, is_within, normal, uid_of
from kubewitness.emit.backends import options
from kubewitness.emit.backends.flagvalues import FlagError

_VALUES = {"string": ["/var/log/a.log", "-", "batch"], "int": ["0", "7", "100"], "float32": ["1.5"], "bool": ["true"]}
_VALUES["duration"] = ["5s", "1m30s"]


@st.composite
def _words(draw):
    """Words of a command line: audit flags in every spelling pflag takes, and other flags between them."""
    words = []
    for flag in draw(st.lists(st.sampled_from(options.FLAGS), max_size=6)):
        name = draw(st.sampled_from([flag.name, flag.alias or flag.name, flag.name.replace("-", "_")]))
        value = draw(st.sampled_from(_VALUES[flag.kind]))
        if flag.kind == "bool":
            words += draw(st.sampled_from([[f"--{name}"], [f"--{name}={value}"]]))
        else:
            words += draw(st.sampled_from([[f"--{name}={value}"], [f"--{name}", value]]))
        words += draw(st.sampled_from([[], ["--v=2"], ["--allow-privileged"], ["--feature-gates", "A=true"]]))
    return words


def _pod(words):
    containers = [{"name": "kube-apiserver", "command": ["kube-apiserver", *words]}]
    return yaml.safe_dump({"kind": "Pod", "spec": {"containers": containers}}).encode()


_FORMS = {
    "pod": _pod,
    "json": lambda words: json.dumps(yaml.safe_load(_pod(words))).encode(),
    "cmdline": lambda words: "\0".join(["/usr/local/bin/kube-apiserver", *words, ""]).encode(),
    "ps": lambda words: ("root 1 0 kube-apiserver " + " ".join(words) + "\n").encode(),
    "unit": lambda words: (
        "[Service]\nExecStart=/usr/bin/kube-apiserver \\\n  " + " \\\n  ".join(words) + "\n"
    ).encode(),
}


@pytest.mark.parametrize("form", _FORMS)
@given(words=_words())
@settings(max_examples=25, deadline=None)
def test_the_flags_are_those_the_server_reads(form, words):
    """For every command line, whatever it stands in, the values are those that kube-apiserver's parser finds."""
    data = _FORMS[form](["--v=1", *words])
    try:
        wanted = options.parse(words)
    except FlagError:
        return
    found = options.parse(read_setup(data, "x").arguments())
    assert (found.by_name, found.given) == (wanted.by_name, wanted.given)


def test_each_flag_knows_its_line():
    """Line and column lead back to the word, also where its value is the next word."""
    text = _pod(["--audit-log-maxage", "7", "--audit-log-path=/x"]).decode()
    setup = read_setup(text.encode(), "x")
    for name in ("audit-log-maxage", "audit-log-path"):
        line, column = setup.place(name)
        assert text.splitlines()[line - 1][column - 1 :].startswith(f"--{name}")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (
            "kind: ClusterConfiguration\napiVersion: kubeadm.k8s.io/v1beta3\napiServer: {}\n",
            Form.KUBEADM,
        ),
        ("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n", Form.KIND),
        ("kind: ClusterConfig\napiVersion: k0s.k0sproject.io/v1beta1\nspec: {api: {extraArgs: {v: '2'}}}\n", Form.K0S),
        ("version: v1alpha1\nmachine: {type: controlplane}\ncluster: {apiServer: {}}\n", Form.TALOS),
        ("tls-san: [a]\n", Form.RANCHER),
        ("# comment\n--v=2\n", Form.ARGS),
        ("minikube start --extra-config=apiserver.v=2\n", Form.MINIKUBE),
        ("USER PID COMMAND\nroot 1 /usr/local/bin/kube-apiserver --v=2\n", Form.PS),
    ],
)
def test_forms_are_told_by_their_content(text, form):
    """No name of a file is needed."""
    assert read_setup(text.encode(), "x").form is form


def test_minikube_flags():
    """Both spellings of --extra-config, over several lines."""
    setup = read_setup(
        b"minikube start --extra-config=apiserver.audit-policy-file=/p \\\n"
        b"  --extra-config 'apiserver.audit-log-path=-'\n",
        "x",
    )
    assert {flag.name: flag.value for flag in setup.flags} == {"audit-policy-file": "/p", "audit-log-path": "-"}


def test_paths():
    """Paths are compared as paths, without following links: no prefix of letters counts."""
    assert is_within("/var/log/audit/a.log", "/var/log/audit/")
    assert is_within("/a/../var//log", "/var/log")
    assert not is_within("/var/logs/a", "/var/log")
    assert is_within("/x", "/")
    assert (normal("/a/./b/../c/"), normal("a/"), normal("/..")) == ("/a/c", "a", "/")
    assert (directory_of("/a/b"), directory_of("/a"), directory_of("/")) == ("/a", "/", "/")
    mount = Mount("/audit", "/srv/x/", "v", sub_path="sub")
    assert behind(mount, "/audit/log/a.log") == "/srv/x/sub/log/a.log"
    assert behind(Mount("/", "/host", "v"), "/etc/x") == "/host/etc/x"
    assert behind(Mount("/etc/x", "/", "v"), "/etc/x") == "/"


def test_users():
    """The number of a user of another system's passwd; odd lines are passed over."""
    passwd = b"root:x:0:0\nbroken\nkube-apiserver:x:987:1::/:\nodd:x:y:1\n"
    assert uid_of(passwd, "kube-apiserver") == 987
    assert [uid_of(passwd, name) for name in ("odd", "nobody")] == [None, None]
    assert uid_of(None, "root") is None
