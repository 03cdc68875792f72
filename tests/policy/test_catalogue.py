"""The catalogue: what each version serves, and what the user's definitions add."""

import pytest
import yaml

from kubewitness.policy import builtin
from kubewitness.policy.catalogue import Catalogue, custom_resources
from kubewitness.policy.check import check

HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"
WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec:
  group: example.com
  scope: Cluster
  names: {plural: widgets, kind: Widget, shortNames: [wd]}
  versions:
  - {name: v1, subresources: {status: {}}}
  - {name: v2, subresources: {scale: {}}}
"""


def test_names_are_unique_and_well_formed():
    """No resource is entered twice, and each has a singular and a known scope."""
    keys = [(resource.group, resource.name) for resource in builtin.RESOURCES]
    assert len(keys) == len(set(keys)) > 70
    assert all(resource.name.islower() and resource.singular for resource in builtin.RESOURCES)


@pytest.mark.parametrize(
    ("group", "name", "subresource", "version", "is_served"),
    [
        ("", "pods", "resize", "1.31", False),
        ("", "pods", "resize", "1.32", True),
        ("", "pods", "exec", "1.30", True),
        ("resource.k8s.io", "resourceclasses", "", "1.30", True),
        ("resource.k8s.io", "resourceclasses", "", "1.31", False),
        ("certificates.k8s.io", "podcertificaterequests", "", "1.33", False),
        ("certificates.k8s.io", "podcertificaterequests", "", "1.34", True),
        ("policy", "podsecuritypolicies", "", "1.30", False),
    ],
)
def test_versions(group, name, subresource, version, is_served):
    """What came late or went early is known with its versions."""
    resource = builtin.find(group, name)
    assert resource is not None
    assert resource.versions_of(subresource).has(version) is is_served


@pytest.mark.parametrize(
    ("name", "subresource", "verbs"),
    [
        ("pods", "exec", {"get", "create"}),
        ("pods", "log", {"get"}),
        ("pods", "eviction", {"create"}),
        ("serviceaccounts", "token", {"create"}),
        ("namespaces", "finalize", {"update"}),
        ("namespaces", "", set(builtin.OBJECT_VERBS) - {"deletecollection"}),
        ("secrets", "", set(builtin.OBJECT_VERBS)),
        ("componentstatuses", "", {"get", "list"}),
        ("pods", "unheard", set()),
    ],
)
def test_verbs(name, subresource, verbs):
    """Each resource and subresource has its verbs; of an unknown one nothing is said."""
    resource = builtin.find("", name)
    assert resource is not None
    assert set(resource.verbs_of(subresource)) == verbs


def test_custom_resources_are_read():
    """Scope, names and the subresources of all versions; other documents are passed over."""
    documents = [None, 3, {"kind": "Service"}, {"kind": "List", "items": [yaml.safe_load(WIDGETS)]}]
    (found,) = custom_resources(documents)
    assert (found.group, found.name, found.singular, found.is_namespaced) == ("example.com", "widgets", "widget", False)
    assert (found.subresources, found.short_names) == (("scale", "status"), ("wd",))
    catalogue = Catalogue("1.36", (found,))
    assert catalogue.find("example.com", "widgets") is found
    assert (catalogue.is_known("example.com"), catalogue.is_complete("example.com")) == (True, False)
    assert catalogue.by_any_name("WD") == (found,)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"spec": 3},
        {"spec": {"names": []}},
        {"spec": {"names": {}, "group": 3}},
        {"spec": {"names": {"plural": "a"}}},
    ],
)
def test_broken_definitions_are_passed_over(document):
    """A definition without what names a resource defines none."""
    assert not list(custom_resources([{"kind": "CustomResourceDefinition", **document}]))


@pytest.mark.parametrize(
    ("word", "code", "help_"),
    [
        ("Widget", "KW209", "write widgets"),
        ("wigdets", "KW209", "write widgets"),
        ("widget/status", "KW209", "write widgets/status"),
        ("widgets/sacle", "KW209", "did you mean widgets/scale?"),
        ("widgets", None, ""),
        ("gadgets", None, ""),
    ],
)
def test_the_users_resources_are_judged(word, code, help_):
    """With definitions a near miss is found in their groups; without them, and for other names, nothing is said."""
    text = (
        HEAD + f"- {{level: Metadata, resources: [{{group: example.com, resources: [{word}]}}]}}\n- level: Metadata\n"
    )
    custom = tuple(custom_resources([yaml.safe_load(WIDGETS)]))
    found = [(f.code, f.help) for f in check(text, custom=custom).findings if f.code.startswith("KW2")]
    assert found == ([(code, help_)] if code else [])
    plain = [f.code for f in check(text).findings if f.code.startswith("KW2")]
    assert plain == (["KW209"] if word == "Widget" else [])


def test_cluster_scope_of_the_users_resources():
    """A rule for namespaces never matches a custom resource without namespace."""
    text = HEAD + "- {level: Metadata, namespaces: [a], resources: [{group: example.com, resources: [widgets]}]}\n"
    custom = tuple(custom_resources([yaml.safe_load(WIDGETS)]))
    assert "KW211" in {finding.code for finding in check(text, custom=custom).findings}
    assert "KW211" not in {finding.code for finding in check(text).findings}


def test_secret_bearing_custom_resources_of_the_cluster():
    """A catch-all with bodies is found to record the user's kinds that hold secrets."""
    definition = yaml.safe_load(WIDGETS.replace("widgets", "apicredentials"))
    custom = tuple(custom_resources([definition]))
    found = [f.message for f in check(HEAD + "- level: Request\n", custom=custom).findings if f.code == "KW309"]
    assert len(found) == 1
    assert "create apicredentials.example.com" in found[0]
