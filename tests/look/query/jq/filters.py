"""Filters as people write them: the recipes of the course, and others over every construct that is understood."""

RECIPES = [
    ".",
    'select(.objectRef.resource == "secrets")',
    'select(.user.username == "admin")',
    "select(.responseStatus.code >= 400)",
    'select(.objectRef.subresource == "exec")',
    'select(.sourceIPs[] == "192.168.1.100")',
    'select(.objectRef.resource | test("role"))',
    """select(.objectRef.name == "suspicious-pod" and .verb == "create")
    | {user: .user.username, time: .requestReceivedTimestamp}""",
    'select(.user.username == "attacker") | {verb: .verb, resource: .objectRef.resource, name: .objectRef.name}',
    'select(.objectRef.subresource == "exec" and .requestReceivedTimestamp > "2024-01-15T09:30:00Z")',
    """select(.objectRef.resource == "secrets" and .verb == "get")
    | {user: .user.username, secret: .objectRef.name, ns: .objectRef.namespace}""",
    """
    select(
      .objectRef.resource == "secrets" and
      .objectRef.name == "important" and
      .objectRef.namespace == "production" and
      .verb == "delete"
    ) | {
      user: .user.username,
      groups: .user.groups,
      sourceIP: .sourceIPs[0],
      time: .requestReceivedTimestamp,
      userAgent: .userAgent
    }""",
    'select(.objectRef.resource == "secrets") | {user: .user.username, secret: .objectRef.name}',
    'select(.objectRef.subresource == "exec") | {user: .user.username, pod: .objectRef.name}',
    'select(.sourceIPs[] | startswith("192.")) | {user: .user.username, action: .verb, resource: .objectRef.resource}',
]

SELECTIVE = [
    'select(.verb == "delete" or .verb == "deletecollection") | .auditID',
    'select(.verb == ("delete", "patch")) | [.verb, .requestURI]',
    'select(.verb | IN("delete", "patch")) | .verb',
    'select(.verb | IN("get", "list", "watch") | not) | .verb',
    "select(.impersonatedUser) | .impersonatedUser.username",
    "select(.impersonatedUser != null) | .user",
    'select(.user.groups | index("system:masters")) | .user.username',
    'select(.user.groups[]? == "system:masters") | .user.username',
    'select(any(.user.groups[]?; . == "system:masters")) | .user.username',
    'select(.user.groups | any(. == "system:masters")) | .user.username',
    'select((.user.groups // []) | contains(["system:masters"])) | .user.username',
    'select(.annotations["authorization.k8s.io/decision"] == "forbid") | .user.username',
    'select(.annotations."authorization.k8s.io/decision" == "forbid")',
    "select(.responseStatus.code == 403) | [.user.username, .verb]",
    "select(.responseStatus.code >= 400 and .responseStatus.code < 500) | .requestURI",
    'select(.stage == "ResponseStarted") | .requestURI',
    'select(.requestURI | contains("/exec")) | .requestURI',
    'select(.requestURI | startswith("/api/v1/secrets")) | .verb',
    'select(.requestURI | test("^/api/v1/namespaces/[a-z]+/secrets")) | .verb',
    'select(.userAgent // "" | test("CURL"; "i")) | .userAgent',
    'select((.userAgent // "") | ascii_downcase | contains("python")) | .userAgent',
    'select(.userAgent? // "" | startswith("kubectl")) | .verb',
    'select(.user.username | startswith("system:") | not) | .user.username',
    'select(.user.username | endswith(":default"))',
    'select(.objectRef.resource != null and (.objectRef.resource | test("role"))) | .objectRef.name',
    'select(.objectRef | has("subresource")) | .objectRef.subresource',
    'select(.objectRef != null) | select(.objectRef.resource == "secrets") | select(.verb == "delete") | .auditID',
    '.objectRef | select(.resource == "secrets") | .name',
    '.objectRef.resource | select(. == "secrets")',
    '.sourceIPs[0] | select(. != null and . > "2")',
    '.user.groups[]? | select(test("master"))',
    'select(.stageTimestamp >= "2026-03-01T00:00:05Z" and .stageTimestamp < "2026-03-01T00:00:07Z")',
    'select(.requestObject.spec.containers[]?.image | contains("nginx"))',
    "select(.requestObject.spec.containers[]?.securityContext.privileged == true) | .objectRef.name",
    "select(.user.username | length > 40) | .user.username",
    "select(.sourceIPs | length > 1) | .sourceIPs",
    'select(.level == "RequestResponse" and (.requestObject | type) == "object") | .auditID',
    'select(.verb == "create" and (.objectRef.subresource // "" | IN("exec", "attach"))) | .user.username',
    "select(.objectRef.name == $name) | .verb",
    'select([.verb] | inside(["delete", "patch"])) | .verb',
    'select(.verb == "delete"), select(.verb == "patch") | .verb',
    'select((.verb == "delete" | not) and (.verb == "get" | not) and .objectRef.resource == "pods") | .verb',
    'select(all(.sourceIPs[]; startswith("1") | not)) | .sourceIPs',
    'select(.objectRef.apiGroup == "rbac.authorization.k8s.io" and (.verb | test("^(create|update|patch|delete)$")))',
    '.verb | strings | select(. == "delete")',
    'select(.verb == "delete") | .objectRef.name | ascii_upcase',
    'select(.verb == "delete") | error("stop")',
    'select(.verb == "delete") | .verb, (.objectRef | keys), .x.y.z',
    "select(.objectRef.resource == .verb) | .verb",
    'select(.responseStatus.code == 403 | not) | select(.verb == "delete") | .verb | test("d")',
]

NEVER_SIFTED = [
    ".verb",
    "{verb, user: .user.username}",
    "select(.verb == input.verb)",
    'select(.verb == "delete") | input.verb',
    'select(.verb == "delete") | input_line_number',
    'def select(f): .; select(.verb == "delete") | .verb',
    'select(.verb == "delete").user.username + "x"',
    '[.verb] | select(.[0] == "get") // "none"',
    'first(select(.verb == "delete"))',
    'select(.verb | debug == "delete")',
    'if .verb == "delete" then .auditID else empty end',
    'select(.verb == "delete" # comment\n) | .verb',
    "limit(1; .verb)",
    '. as $e | select($e.verb == "delete") | $e.verb',
    'select(.verb == "de\\("lete")") | .verb',
]

BROKEN = ["select(.verb == ", 'select(.verb == "x") | )', "nosuch(1)", 'select(.verb == "delete") | nosuch']
