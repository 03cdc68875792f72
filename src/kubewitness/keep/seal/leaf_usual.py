"""
The hashes of the usual Event's groups, in half the time: members as kube-apiserver writes them, in its order.

What `leaf_cut` says for any bytes, and `leaf` of what it cut, is done here in one go for what nearly all Events are;
every other one is left to them. That both give the same leaf is tested against the vectors and the model.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from kubewitness.keep.seal.leaf_cut import Group

SALT_BYTES = 16
_ABSENT = msgspec.Raw()


class _Usual(msgspec.Struct, rename="camel", gc=False):
    """The members in their order. Impersonation is rare enough to be left out."""

    kind: msgspec.Raw = _ABSENT
    api_version: msgspec.Raw = _ABSENT
    level: msgspec.Raw = _ABSENT
    audit_id: msgspec.Raw = msgspec.field(default=_ABSENT, name="auditID")
    stage: msgspec.Raw = _ABSENT
    request_uri: msgspec.Raw = msgspec.field(default=_ABSENT, name="requestURI")
    verb: msgspec.Raw = _ABSENT
    user: msgspec.Raw = _ABSENT
    source_ips: msgspec.Raw = msgspec.field(default=_ABSENT, name="sourceIPs")
    user_agent: msgspec.Raw = _ABSENT
    object_ref: msgspec.Raw = _ABSENT
    response_status: msgspec.Raw = _ABSENT
    request_object: msgspec.Raw = _ABSENT
    response_object: msgspec.Raw = _ABSENT
    received: msgspec.Raw = msgspec.field(default=_ABSENT, name="requestReceivedTimestamp")
    stamped: msgspec.Raw = msgspec.field(default=_ABSENT, name="stageTimestamp")
    annotations: msgspec.Raw = _ABSENT


_decode = msgspec.json.Decoder(_Usual).decode
_values = msgspec.structs.astuple
_OUTLINE, _QUERY, _USER, _CLIENT, _REQUEST, _RESPONSE, _STATUS, _NOTES = range(1, len(Group))
_ALWAYS = 1 << _OUTLINE | 1 << _USER | 1 << _CLIENT

# what is left in the outline of members that are cut out, by the bits of the groups that are there
_CLIENT_CUT = b',"user":,"sourceIPs":,"userAgent":'
_BODIES_CUT = [
    b"".join(
        head
        for group, head in (
            (_STATUS, b',"responseStatus":'),
            (_REQUEST, b',"requestObject":'),
            (_RESPONSE, b',"responseObject":'),
        )
        if bits >> group & 1
    )
    for bits in range(1 << len(Group))
]
_END = [b',"annotations":}' if bits >> _NOTES & 1 else b"}" for bits in range(1 << len(Group))]


def usual_hashes(
    raw: bytes, prefixes: Sequence[bytes], streams: Sequence[bytes], number: int
) -> tuple[int, list[bytes]] | None:
    """Give which groups an Event has, as bits, and the hash of each, ascending; None for what is not usual.

    `prefixes` and `streams` are, by group, what a hash begins with and the salts end to end; `number` says which salt.
    """
    try:
        event = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    kind, api, level, audit_id, stage, uri, verb, user, ips, agent, ref, status, asked, answered, came, at, notes = (
        _values(event)
    )
    salt = slice(number * SALT_BYTES, (number + 1) * SALT_BYTES)
    sha256, join = hashlib.sha256, b"".join
    begin = b"{" if kind is _ABSENT else join((b'{"kind":', kind, b',"apiVersion":', api, b","))
    begin = join((begin, b'"level":', level, b',"auditID":', audit_id, b',"stage":', stage, b',"requestURI":'))
    if ref is not _ABSENT:
        ref = b',"objectRef":' + ref
    bits = _ALWAYS
    hashes = [
        b"",
        sha256(join((prefixes[_USER], streams[_USER][salt], b'"user":', user))).digest(),
        sha256(
            join((prefixes[_CLIENT], streams[_CLIENT][salt], b'"sourceIPs":', ips, b',"userAgent":', agent))
        ).digest(),
    ]
    if asked is not _ABSENT:
        bits |= 1 << _REQUEST
        hashes.append(sha256(join((prefixes[_REQUEST], streams[_REQUEST][salt], b'"requestObject":', asked))).digest())
        asked = b',"requestObject":' + asked
    if answered is not _ABSENT:
        bits |= 1 << _RESPONSE
        hashes.append(
            sha256(join((prefixes[_RESPONSE], streams[_RESPONSE][salt], b'"responseObject":', answered))).digest()
        )
        answered = b',"responseObject":' + answered
    if status is not _ABSENT:
        bits |= 1 << _STATUS
        hashes.append(sha256(join((prefixes[_STATUS], streams[_STATUS][salt], b'"responseStatus":', status))).digest())
        status = b',"responseStatus":' + status
    end = join((b',"requestReceivedTimestamp":', came, b',"stageTimestamp":', at))
    if notes is not _ABSENT:
        bits |= 1 << _NOTES
        hashes.append(sha256(join((prefixes[_NOTES], streams[_NOTES][salt], b'"annotations":', notes))).digest())
        notes = b',"annotations":' + notes
    # what was not asked for, stands twice or elsewhere, white space, an escape in a name: all show here
    whole = begin, uri, b',"verb":', verb, b',"user":', user, b',"sourceIPs":', ips, b',"userAgent":', agent, ref
    if join((*whole, status, asked, answered, end, notes, b"}")) != raw:
        return None
    path, mark, query = bytes(uri).partition(b"?")
    if mark and path[:1] == b'"':
        hashes.insert(1, sha256(join((prefixes[_QUERY], streams[_QUERY][salt], b"?", query[:-1]))).digest())
        bits |= 1 << _QUERY
        path += b'"'
    else:
        path = uri
    outline = prefixes[_OUTLINE], streams[_OUTLINE][salt], begin, path, b',"verb":', verb, _CLIENT_CUT, ref
    hashes[0] = sha256(join((*outline, _BODIES_CUT[bits], end, _END[bits]))).digest()
    return bits, hashes
