"""Hypothesis strategies that several tests draw from: policies, and requests likely to be told apart by them."""

from hypothesis import strategies as st

from kubewitness.event.types import Level, Stage
from kubewitness.policy.types import Attributes, GroupResources, Policy, PolicyRule

USERS = ("alice", "system:kube-scheduler", "system:serviceaccount:prod:web", "*", "", "o'hara")
GROUPS = ("system:authenticated", "system:masters", "system:nodes", "", "dev's")
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "", "proxy", "*")
NAMESPACES = ("", "prod", "kube-system", "*", "namespaces")
API_GROUPS = ("", "apps", "rbac.authorization.k8s.io", "batch")
RESOURCES = ("pods", "secrets", "nodes", "namespaces", "deployments", "")
SUBRESOURCES = ("", "exec", "log", "status", "proxy", "finalize")
NAMES = ("", "web", "db", "o'hara", "status")
PATTERNS = (
    "*", "pods", "secrets", "nodes", "namespaces", "deployments", "pods/exec", "pods/log", "pods/*", "nodes/proxy",
    "*/status", "*/exec", "*/*", "pod*", "pods/", "/exec", "namespaces/status", "", "a/b/c",
)  # fmt: skip
PATHS = ("/", "/healthz", "/healthz/etcd", "/healthzz", "/api", "/api/v1", "/apis/apps/v1", "/metrics", "/openapi/v2")
URLS = ("*", "/healthz", "/healthz*", "/api/*", "/api*", "/", "/*", "/openapi/v2", "/apis/apps/v1")


def _some(values: tuple[str, ...], most: int = 3) -> st.SearchStrategy[tuple[str, ...]]:
    listed = st.lists(st.sampled_from(values), max_size=most).map(tuple)
    # half of all fields stay unstated: a rule of many fields matches nothing
    return st.one_of(st.just(()), listed)


def group_resources() -> st.SearchStrategy[GroupResources]:
    """Draw an entry of `resources` that the server accepts."""
    return st.builds(
        lambda group, resources, names: GroupResources(group, resources, names if resources else ()),
        st.sampled_from((*API_GROUPS, "*")),
        _some(PATTERNS),
        _some(NAMES, 2),
    )


@st.composite
def policy_rules(draw: st.DrawFn) -> PolicyRule:
    """Draw a rule that the server accepts."""
    urls = draw(_some(URLS))
    is_for_urls = bool(urls)
    return PolicyRule(
        level=draw(st.sampled_from(Level)),
        users=draw(_some(USERS)),
        user_groups=draw(_some(GROUPS)),
        verbs=draw(_some(VERBS)),
        resources=() if is_for_urls else tuple(draw(st.lists(group_resources(), max_size=3))),
        namespaces=() if is_for_urls else draw(_some(NAMESPACES)),
        non_resource_urls=urls,
        omit_stages=tuple(draw(st.lists(st.sampled_from(Stage), max_size=2))),
        omit_managed_fields=draw(st.sampled_from((None, True, False))),
    )


def policies() -> st.SearchStrategy[Policy]:
    """Draw a policy that the server accepts."""
    return st.builds(
        Policy,
        rules=st.lists(policy_rules(), min_size=1, max_size=6).map(tuple),
        omit_stages=st.lists(st.sampled_from(Stage), max_size=2).map(tuple),
        omit_managed_fields=st.booleans(),
    )


@st.composite
def attributes(draw: st.DrawFn) -> Attributes:
    """Draw a request as a policy sees it, odd combinations included."""
    user = draw(st.sampled_from((None, *USERS)))
    groups = None if user is None else tuple(draw(st.lists(st.sampled_from(GROUPS), max_size=3)))
    verb = draw(st.sampled_from(VERBS))
    if draw(st.booleans()):
        return Attributes(verb, user, groups, path=draw(st.sampled_from(PATHS)))
    return Attributes(
        verb,
        user,
        groups,
        namespace=draw(st.sampled_from(NAMESPACES)),
        api_group=draw(st.sampled_from(API_GROUPS)),
        api_version="v1",
        resource=draw(st.sampled_from(RESOURCES)),
        subresource=draw(st.sampled_from(SUBRESOURCES)),
        name=draw(st.sampled_from(NAMES)),
        resource_request=True,
        path="/api/v1/ignored",
    )


@st.composite
def request_lines(draw: st.DrawFn) -> tuple[str, str]:
    """Draw method and URL, mostly of resource requests, some odd."""
    method = draw(st.sampled_from(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO")))
    if draw(st.integers(0, 3)) == 0:
        return method, draw(st.sampled_from(PATHS)) + draw(st.sampled_from(("", "?verbose", "?watch=1")))
    group = draw(st.sampled_from(API_GROUPS))
    segments = ["apis", group, "v1"] if group else ["api", "v1"]
    segments += draw(st.sampled_from(([], [], [], ["watch"], ["proxy"])))
    namespace = draw(st.sampled_from(NAMESPACES))
    if namespace or draw(st.integers(0, 9)) == 0:
        segments += ["namespaces", namespace]
    segments.append(draw(st.sampled_from(RESOURCES)))
    if draw(st.booleans()):
        segments.append(draw(st.sampled_from(NAMES)))
        if draw(st.booleans()):
            segments.append(draw(st.sampled_from(SUBRESOURCES)))
    url = "/" + "/".join(segments)
    if draw(st.integers(0, 9)) == 0:
        url = url.replace("p", "%70", 1)
    if draw(st.integers(0, 9)) == 0:
        url = "/" + url
    query = draw(
        st.sampled_from(("", "", "?watch=true", "?watch=0", "?fieldSelector=metadata.name%3Dweb", "?limit=x&watch"))
    )
    return method, url + query
