"""
The Go types a policy file is decoded into, and the typed decoding itself with Go's error texts.

A table describes `audit.k8s.io/v1` and the metadata in it. `decode` walks a tree.Value along a type as
sigs.k8s.io/json does: names are case-sensitive, the first type error is kept while the rest is still read, unknown
and repeated members are noted for the strict reading.
"""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kubewitness.policy import gotext
from kubewitness.policy.tree import GoError, Kind, Mark, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_COMPLAINTS = 100
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[-+]\d\d:\d\d)", re.ASCII)
_INT64 = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class GoType:
    """A Go type: `name` as Go prints it, `accepts` the kind of JSON value it takes."""

    name: str
    accepts: Kind
    is_integer: bool = False
    is_time: bool = False
    is_opaque: bool = False
    element: "GoType | None" = None
    fields: "Mapping[str, GoType]" = field(default_factory=dict)


STRING = GoType("string", Kind.STRING)
BOOL = GoType("bool", Kind.BOOL)
INT64 = GoType("int64", Kind.NUMBER, is_integer=True)
_TIME = GoType("v1.Time", Kind.STRING, is_time=True)
_OPAQUE = GoType("v1.FieldsV1", Kind.OBJECT, is_opaque=True)


def _named(name: str) -> GoType:
    return GoType(name, Kind.STRING)


def _list(element: GoType) -> GoType:
    return GoType("[]" + element.name, Kind.ARRAY, element=element)


def _map(element: GoType) -> GoType:
    return GoType(f"map[string]{element.name}", Kind.OBJECT, element=element)


def _struct(name: str, /, **fields: GoType) -> GoType:
    return GoType(name, Kind.OBJECT, fields=fields)


_OBJECT_META = _struct(
    "v1.ObjectMeta",
    name=STRING,
    generateName=STRING,
    namespace=STRING,
    selfLink=STRING,
    uid=_named("types.UID"),
    resourceVersion=STRING,
    generation=INT64,
    creationTimestamp=_TIME,
    deletionTimestamp=_TIME,
    deletionGracePeriodSeconds=INT64,
    labels=_map(STRING),
    annotations=_map(STRING),
    ownerReferences=_list(
        _struct(
            "v1.OwnerReference",
            apiVersion=STRING,
            kind=STRING,
            name=STRING,
            uid=_named("types.UID"),
            controller=BOOL,
            blockOwnerDeletion=BOOL,
        )
    ),
    finalizers=_list(STRING),
    managedFields=_list(
        _struct(
            "v1.ManagedFieldsEntry",
            manager=STRING,
            operation=_named("v1.ManagedFieldsOperationType"),
            apiVersion=STRING,
            time=_TIME,
            fieldsType=STRING,
            fieldsV1=_OPAQUE,
            subresource=STRING,
        )
    ),
)
_LIST_META = _struct(
    "v1.ListMeta", selfLink=STRING, resourceVersion=STRING, remainingItemCount=INT64, **{"continue": STRING}
)
_STAGES = _list(_named("v1.Stage"))
GROUP_RESOURCES = _struct("v1.GroupResources", group=STRING, resources=_list(STRING), resourceNames=_list(STRING))
RULE = _struct(
    "v1.PolicyRule",
    level=_named("v1.Level"),
    users=_list(STRING),
    userGroups=_list(STRING),
    verbs=_list(STRING),
    resources=_list(GROUP_RESOURCES),
    namespaces=_list(STRING),
    nonResourceURLs=_list(STRING),
    omitStages=_STAGES,
    omitManagedFields=BOOL,
)
POLICY = _struct(
    "v1.Policy",
    kind=STRING,
    apiVersion=STRING,
    metadata=_OBJECT_META,
    rules=_list(RULE),
    omitStages=_STAGES,
    omitManagedFields=BOOL,
)
POLICY_LIST = _struct("v1.PolicyList", kind=STRING, apiVersion=STRING, metadata=_LIST_META, items=_list(POLICY))
_USER_INFO = _struct(
    "v1.UserInfo",
    username=STRING,
    uid=STRING,
    groups=_list(STRING),
    extra=_map(GoType("v1.ExtraValue", Kind.ARRAY, element=STRING)),
)
_UNKNOWN_BODY = GoType("runtime.Unknown", Kind.OBJECT, is_opaque=True)
EVENT = _struct(
    "v1.Event",
    kind=STRING,
    apiVersion=STRING,
    level=_named("v1.Level"),
    auditID=_named("types.UID"),
    stage=_named("v1.Stage"),
    requestURI=STRING,
    verb=STRING,
    user=_USER_INFO,
    impersonatedUser=_USER_INFO,
    authenticationMetadata=_struct("v1.AuthenticationMetadata", impersonationConstraint=STRING),
    sourceIPs=_list(STRING),
    userAgent=STRING,
    objectRef=_struct(
        "v1.ObjectReference",
        resource=STRING,
        namespace=STRING,
        name=STRING,
        uid=_named("types.UID"),
        apiGroup=STRING,
        apiVersion=STRING,
        resourceVersion=STRING,
        subresource=STRING,
    ),
    responseStatus=GoType("v1.Status", Kind.OBJECT, is_opaque=True),
    requestObject=_UNKNOWN_BODY,
    responseObject=_UNKNOWN_BODY,
    requestReceivedTimestamp=GoType("v1.MicroTime", Kind.STRING, is_time=True),
    stageTimestamp=GoType("v1.MicroTime", Kind.STRING, is_time=True),
    annotations=_map(STRING),
)
EVENT_LIST = _struct("v1.EventList", kind=STRING, apiVersion=STRING, metadata=_LIST_META, items=_list(EVENT))
# the internal form has no JSON names: Go's own field names, and the metadata's members at the top
INTERNAL_POLICY = _struct(
    "audit.Policy",
    **{
        **_OBJECT_META.fields,
        "kind": STRING,
        "apiVersion": STRING,
        "Rules": GoType("[]audit.PolicyRule", Kind.ARRAY, element=_struct("audit.PolicyRule")),
        "OmitStages": _list(_named("audit.Stage")),
        "OmitManagedFields": BOOL,
    },
)

# a decoded struct or map is a dict, a slice a list, a string a str, a boolean a bool; absent is absent
Decoded = dict[str, "Decoded"] | list["Decoded"] | str | bool | int | None


@dataclass(frozen=True, slots=True)
class Complaint:
    """What only a strict reading refuses: an unknown or a repeated member."""

    kind: str
    path: str
    mark: Mark

    def __str__(self) -> str:
        return f"{self.kind} field {gotext.quote(self.path)}"


class TypedDecoder:
    """Decodes one document; `complaints` holds what a strict reading would refuse, in order, each once."""

    def __init__(self) -> None:
        self.complaints: list[Complaint] = []
        self._seen: set[str] = set()
        self._error: GoError | None = None

    def decode(self, value: Value, go_type: GoType) -> Decoded:
        """Decode a document into a type. Raises GoError with Go's sentence for the first value that does not fit."""
        result = self._decode(value, go_type, None, "", "", "")
        if self._error is not None:
            raise self._error
        return result

    def _decode(self, value: Value, go_type: GoType, before: Decoded, struct: str, path: str, strict: str) -> Decoded:
        if go_type.is_time:
            return self._time(value, struct, path)
        if go_type.is_opaque:
            return None
        if value.kind is Kind.NULL:
            # Go leaves scalars and structs as they are and empties lists and maps
            is_emptied = go_type.accepts is Kind.ARRAY or (go_type.accepts is Kind.OBJECT and not go_type.fields)
            return None if is_emptied else before
        if value.kind is not go_type.accepts:
            self._save(value, value.kind.value, go_type.name, struct, path)
            return before
        if value.kind is Kind.OBJECT:
            return self._object(value, go_type, before, struct, path, strict)
        if value.kind is Kind.ARRAY:
            return self._array(value, go_type, before, struct, path, strict)
        if value.kind is Kind.BOOL:
            return value.text == "true"
        if go_type.is_integer:
            if not re.fullmatch("-?[0-9]+", value.text) or int(value.text[:25]) not in _INT64:
                self._save(value, f"number {value.text}", go_type.name, struct, path)
                return before
            return int(value.text)
        return value.text

    def _array(
        self, value: Value, go_type: GoType, before: Decoded, struct: str, path: str, strict: str
    ) -> list[Decoded]:
        assert go_type.element is not None  # noqa: S101  every list type has one
        # of a member given twice, the second list is decoded over the elements of the first
        earlier = before if isinstance(before, list) else []
        return [
            self._decode(
                item,
                go_type.element,
                earlier[index] if index < len(earlier) else None,
                struct,
                path,
                f"{strict}[{index}]",
            )
            for index, item in enumerate(value.items)
        ]

    def _object(
        self, value: Value, go_type: GoType, before: Decoded, struct: str, path: str, strict: str
    ) -> dict[str, Decoded]:
        result: dict[str, Decoded] = dict(before) if isinstance(before, dict) else {}
        short_name = go_type.name.rpartition(".")[2]
        named: set[str] = set()
        for member in value.members:
            member_strict = f"{strict}.{member.name}" if strict else member.name
            member_type = go_type.element or go_type.fields.get(member.name)
            if member_type is None:
                self._complain("unknown", member_strict, member.mark)
                continue
            if member.name in named:
                self._complain("duplicate", member_strict, member.mark)
            named.add(member.name)
            if go_type.element is not None:
                # maps start every element afresh and add nothing to the path of an error
                result[member.name] = self._decode(member.value, member_type, None, struct, path, member_strict)
                continue
            member_path = f"{path}.{member.name}" if path else member.name
            result[member.name] = self._decode(
                member.value, member_type, result.get(member.name), short_name, member_path, member_strict
            )
        return result

    def _time(self, value: Value, struct: str, path: str) -> Decoded:
        """Decode a time: unlike other type errors, a bad one stops the decoding."""
        if value.kind is Kind.NULL:
            return None
        if value.kind is not Kind.STRING:
            raise GoError(
                f"json: cannot unmarshal {value.kind.value} into Go struct field {struct}.{path} of type string",
                value.mark,
            )
        if not _RFC3339.fullmatch(value.text):
            shown = gotext.quote(value.text)
            raise GoError(
                f'parsing time {shown} as "2006-01-02T15:04:05Z07:00": cannot parse {shown} as "2006"', value.mark
            )
        return value.text

    def _save(self, value: Value, found: str, wanted: str, struct: str, path: str) -> None:
        if self._error is None:
            into = f"struct field {struct}.{path}" if path else "value"
            self._error = GoError(f"json: cannot unmarshal {found} into Go {into} of type {wanted}", value.mark)

    def _complain(self, kind: str, path: str, mark: Mark) -> None:
        complaint = Complaint(kind, path, mark)
        if str(complaint) not in self._seen and len(self.complaints) < MAX_COMPLAINTS:
            self._seen.add(str(complaint))
            self.complaints.append(complaint)
