"""The toy API server itself: an ASGI application that authorizes, stores and answers as far as kubectl looks."""

import asyncio
import base64
import contextlib
import dataclasses
import json

import yaml
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from kubewitness.emit.doors import asgi
from kubewitness.emit.doors.identity import status_body
from kubewitness.event.types import UserInfo
from kubewitness.policy.request import query_values, request_info
from tests.toyapi import kinds, patches, protobuf
from tests.toyapi.access import Access, issue, service_account
from tests.toyapi.kinds import Kind
from tests.toyapi.store import ProblemError, Store
from tests.toyapi.tables import table

BODY_MAX = 3 * 1024 * 1024
VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.2-toy", "platform": "linux/amd64"}
_JSON = "application/json"
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class ToyApi:
    def __init__(self, store: Store, access: Access, metrics) -> None:
        self.store, self.access, self.metrics = store, access, metrics
        self.stopping = asyncio.Event()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ProblemError as problem:
            response = _status(problem)
        await response(scope, receive, send)

    async def _websocket(self, scope, receive, send) -> None:
        """Take an exec: the command is not run, its words come back."""
        await receive()
        connection = HTTPConnection(scope)
        try:
            _, info = self._admit(connection, "GET")
            kind = kinds.find(info.api_group, info.api_version, info.resource)
            if kind is None or (kind.resource, info.subresource) != ("pods", "exec"):
                raise ProblemError(400, "BadRequest", "there is nothing to be upgraded to")
            self.store.get(kind, info.namespace, info.name)
        except ProblemError as problem:
            answer = _status(problem)
            await send({"type": "websocket.http.response.start", "status": problem.code, "headers": answer.raw_headers})
            await send({"type": "websocket.http.response.body", "body": answer.body})
            return
        await send({"type": "websocket.accept", "subprotocol": "v5.channel.k8s.io"})
        words = " ".join(connection.query_params.getlist("command"))
        await send({"type": "websocket.send", "bytes": b"\x01" + f"{info.name} was told: {words}\n".encode()})
        await send({"type": "websocket.send", "bytes": b'\x03{"metadata":{},"status":"Success"}'})
        await send({"type": "websocket.close", "code": 1000})

    def _admit(self, connection: HTTPConnection, method: str):
        """Say who asks for what, if they may. Raises ProblemError."""
        scope = connection.scope
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        user: UserInfo = scope["toy.user"]
        info = request_info(method, target.decode("utf-8", "surrogateescape"))
        user = self._impersonated(connection, user, info)
        attributes = info.attributes(user.username, user.groups)
        allowed, reason = self.access.decide(user, attributes)
        asgi.annotate(scope, "authorization.k8s.io/decision", "allow" if allowed else "forbid")
        asgi.annotate(scope, "authorization.k8s.io/reason", reason)
        if not allowed:
            raise forbidden(user, attributes)
        return user, info

    async def _respond(self, request: Request) -> Response:
        user, info = self._admit(request, request.method)
        if not info.is_resource_request:
            return self._plain(request, info.path)
        kind = kinds.find(info.api_group, info.api_version, info.resource)
        if kind is None:
            raise ProblemError(404, "NotFound", "the server could not find the requested resource")
        if kind.verbs == ("create",) and not info.subresource:
            return await self._review(request, kind, user)
        if kind.namespaced and info.namespace and request.method == "POST":
            self.store.get(kinds.find("", "v1", "namespaces"), "", info.namespace)
        # a namespace stands in its own path as its namespace
        namespace = info.namespace if kind.namespaced else ""
        if info.subresource:
            return await self._subresource(request, kind, namespace, info)
        return await getattr(self, f"_{info.verb or 'nothing'}", self._nothing)(request, kind, namespace, info.name)

    def _impersonated(self, request: HTTPConnection, user: UserInfo, info) -> UserInfo:
        name = request.headers.get("impersonate-user")
        if name is None:
            return user
        asked = info.attributes(user.username, user.groups)
        wish = dataclasses.replace(
            asked,
            verb="impersonate",
            namespace="",
            api_group="",
            api_version="v1",
            resource="users",
            subresource="",
            name=name,
            resource_request=True,
        )
        if not self.access.decide(user, wish)[0]:
            raise ProblemError(
                403,
                "Forbidden",
                f'users "{name}" is forbidden: User "{user.username}" cannot impersonate resource "users" in API group '
                '"" at the cluster scope',
                {"name": name, "kind": "users"},
            )
        groups = tuple(request.headers.getlist("impersonate-group"))
        if name.startswith("system:serviceaccount:") and not groups:
            other = service_account(*name.split(":")[2:4])
        else:
            other = UserInfo(username=name, groups=(*groups, "system:authenticated"))
        asgi.impersonate(request.scope, other)
        return other

    def _plain(self, request: Request, path: str) -> Response:
        accept = request.headers.get("accept", "")
        if path in ("/healthz", "/livez", "/readyz"):
            return PlainTextResponse("ok")
        if path == "/version":
            return _json(VERSION)
        if path == "/metrics":
            return PlainTextResponse(self.metrics.exposition(), media_type="text/plain; version=0.0.4")
        if path in ("/api", "/apis") and "as=APIGroupDiscoveryList" in accept and "v=v2" in accept:
            found = kinds.aggregated(("",) if path == "/api" else kinds.GROUPS)
            return _json(found, media_type=_AGGREGATED)
        if path == "/api":
            return _json({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        if path == "/apis":
            return _json(kinds.group_list())
        if path == "/api/v1":
            return _json(kinds.resource_list("", "v1"))
        if path == "/openapi/v3":
            return _json(kinds.openapi_index())
        if path.startswith("/openapi/v3/"):
            parts = path.split("/")[3:]
            group = "" if parts[0] == "api" else parts[1]
            return _json(kinds.openapi(group))
        parts = path.strip("/").split("/")
        if parts[0] == "apis" and len(parts) == 3 and parts[1] in kinds.GROUPS:
            return _json(kinds.resource_list(parts[1], parts[2]))
        raise ProblemError(404, "NotFound", "the server could not find the requested resource")

    async def _nothing(self, request: Request, kind: Kind, namespace: str, name: str) -> Response:
        raise ProblemError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    async def _get(self, request: Request, kind: Kind, namespace: str, name: str) -> Response:
        return self._object(request, kind, self.store.get(kind, namespace, name))

    async def _list(self, request: Request, kind: Kind, namespace: str, name: str) -> Response:
        query = _query(request)
        found = [body for body in self.store.list(kind, namespace) if _selected(body, query)]
        if "as=Table" in request.headers.get("accept", ""):
            return _json(table(kind, found, self.store.version))
        meta = {"resourceVersion": str(self.store.version)}
        items = [{k: v for k, v in body.items() if k not in ("kind", "apiVersion")} for body in found]
        return _json({"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta, "items": items})

    async def _watch(self, request: Request, kind: Kind, namespace: str, name: str) -> Response:
        query = _query(request)
        since = int(query.get("resourceVersion") or 0) or None
        seconds = int(query.get("timeoutSeconds") or 3600)
        as_table = "as=Table" in request.headers.get("accept", "")

        async def lines():
            events = self.store.watch(kind, since)
            deadline = asyncio.get_running_loop().time() + seconds
            async with contextlib.aclosing(events):
                while (left := deadline - asyncio.get_running_loop().time()) > 0:
                    following = asyncio.ensure_future(anext(events))
                    stopped = asyncio.ensure_future(self.stopping.wait())
                    try:
                        await asyncio.wait({following, stopped}, timeout=left, return_when="FIRST_COMPLETED")
                        if not following.done():
                            return
                        what, body = following.result()
                    finally:
                        following.cancel()
                        stopped.cancel()
                        await asyncio.gather(following, stopped, return_exceptions=True)
                    if (namespace and body["metadata"].get("namespace") != namespace) or not _selected(body, query):
                        continue
                    shown = table(kind, [body], self.store.version) if as_table else body
                    yield json.dumps({"type": what, "object": shown}) + "\n"

        return StreamingResponse(lines(), media_type=_JSON)

    async def _create(self, request: Request, kind: Kind, namespace: str, name: str) -> Response:
        body = await _body(request)
        _look(body, kind, namespace, self._name_problem)
        body = _stored(kind, body)
        _record(request, body)
        made = self.store.create(kind, namespace, body, dry=_is_dry(request))
        if kind.resource == "namespaces" and not _is_dry(request):
            accounts = kinds.find("", "v1", "serviceaccounts")
            self.store.create(accounts, made["metadata"]["name"], {"metadata": {"name": "default"}})
        return self._object(request, kind, made, 201)

    async def _update(self, request: Request, kind: Kind, namespace: str, name: str) -> Response:
        body = await _body(request)
        _look(body, kind, namespace, self._name_problem)
        body = _stored(kind, body)
        _record(request, body)
        return self._object(request, kind, self.store.update(kind, namespace, name, body, dry=_is_dry(request)))

    @staticmethod
    def _name_problem(text: str) -> ProblemError:
        return ProblemError(400, "BadRequest", text)

    async def _patch(self, request: Request, kind: Kind, namespace: str, name: str) -> Response:
        media = request.headers.get("content-type", "").partition(";")[0]
        raw = await _raw(request)
        dry = _is_dry(request)
        if media == "application/apply-patch+yaml":
            patch = yaml.safe_load(raw)
            old = self.store.find(kind, namespace, name)
            made = patches.apply(old, patch, _query(request).get("fieldManager", "unknown"))
            made = _stored(kind, made)
            if old is None:
                return self._object(request, kind, self.store.create(kind, namespace, made, dry=dry), 201)
            return self._object(request, kind, self.store.update(kind, namespace, name, made, dry=dry))
        change = {
            "application/json-patch+json": patches.json_patch,
            "application/merge-patch+json": patches.merge,
            "application/strategic-merge-patch+json": patches.strategic,
        }.get(media)
        if change is None:
            raise ProblemError(
                415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {media}"
            )
        old = self.store.get(kind, namespace, name)
        changed = change(old, _loads(raw))
        if changed == old:
            return self._object(request, kind, old)
        return self._object(request, kind, self.store.update(kind, namespace, name, _stored(kind, changed), dry=dry))

    async def _delete(self, request: Request, kind: Kind, namespace: str, name: str) -> Response:
        await _raw(request)
        gone = self.store.delete(kind, namespace, name, dry=_is_dry(request))
        if kind.resource == "namespaces" and not _is_dry(request):
            for other in kinds.KINDS:
                for body in self.store.list(other, name) if other.namespaced else ():
                    self.store.delete(other, name, body["metadata"]["name"])
        if kind.resource == "pods":
            return self._object(request, kind, gone)
        details = {"name": name, "kind": kind.resource, "uid": gone["metadata"]["uid"]}
        if kind.group:
            details["group"] = kind.group
        return _json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    async def _deletecollection(self, request: Request, kind: Kind, namespace: str, name: str) -> Response:
        await _raw(request)
        query = _query(request)
        gone = [body for body in self.store.list(kind, namespace) if _selected(body, query)]
        for body in gone:
            self.store.delete(kind, body["metadata"].get("namespace", ""), body["metadata"]["name"])
        meta = {"resourceVersion": str(self.store.version)}
        return _json({"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta, "items": gone})

    async def _subresource(self, request: Request, kind: Kind, namespace: str, info) -> Response:
        key = (kind.resource, info.subresource, request.method)
        if info.subresource not in kind.subresources:
            raise ProblemError(404, "NotFound", "the server could not find the requested resource")
        owner = self.store.get(kind, namespace, info.name)
        match key:
            case ("serviceaccounts", "token", "POST"):
                body = await _body(request)
                token, jti = issue(namespace, info.name, body.get("spec", {}).get("expirationSeconds") or 3600)
                asgi.annotate(request.scope, "authentication.kubernetes.io/issued-credential-id", jti)
                body["status"] = {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"}
                body["metadata"] = {"name": info.name, "namespace": namespace}
                return _json(body, 201)
            case ("pods", "log", "GET"):
                return PlainTextResponse(f"{info.name} says hello\n")
            case ("pods", "eviction", "POST"):
                await _body(request)
                self.store.delete(kind, namespace, info.name)
                return _json(
                    {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
                )
            case ("deployments", "scale", "PUT" | "PATCH"):
                sent = await _body(request)
                changed = patches.merge(owner, {"spec": {"replicas": sent["spec"]["replicas"]}})
                made = self.store.update(kind, namespace, info.name, changed)
                return _json(_scale(made))
            case ("deployments", "scale", "GET"):
                return _json(_scale(owner))
            case ("pods", "exec", _):
                raise ProblemError(400, "BadRequest", "Upgrade request required")
        raise ProblemError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    async def _review(self, request: Request, kind: Kind, user: UserInfo) -> Response:
        body = await _body(request)
        _look(body, kind, "", self._name_problem)
        spec = body.get("spec", {})
        body.setdefault("metadata", {})
        match kind.kind:
            case "SelfSubjectReview":
                body["status"] = {"userInfo": {"username": user.username, "groups": list(user.groups or ())}}
            case "SelfSubjectRulesReview":
                rules = self.access.rules_of(user, spec.get("namespace", ""))
                body["status"] = {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}
            case "TokenReview":
                body["status"] = self._token_status(spec.get("token", ""))
            case _:
                who = user
                if kind.kind == "SubjectAccessReview":
                    who = UserInfo(username=spec.get("user"), groups=tuple(spec.get("groups") or ()))
                allowed, reason = self.access.decide(who, _attributes(who, spec))
                body["status"] = {"allowed": allowed, **({"reason": reason} if reason else {})}
        return _json(body, 201)

    def _token_status(self, token: str) -> dict:
        from kubewitness.emit.doors.identity import NotAuthenticatedError

        try:
            user = self.access.of_token(token)
        except NotAuthenticatedError:
            return {"authenticated": False}
        return {"authenticated": True, "user": {"username": user.username, "groups": list(user.groups or ())}}

    def _object(self, request: Request, kind: Kind, body: dict, code: int = 200) -> Response:
        if "as=Table" in request.headers.get("accept", ""):
            return _json(table(kind, [body], self.store.version), code)
        return _json(body, code)


def forbidden(user: UserInfo, attributes) -> ProblemError:
    if not attributes.resource_request:
        text = f'forbidden: User "{user.username}" cannot {attributes.verb} path "{attributes.path}"'
        return ProblemError(403, "Forbidden", text, {})
    resource = attributes.resource + (f"/{attributes.subresource}" if attributes.subresource else "")
    what = attributes.resource + (f".{attributes.api_group}" if attributes.api_group else "")
    name = f' "{attributes.name}"' if attributes.name else ""
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    text = (
        f'{what}{name} is forbidden: User "{user.username}" cannot {attributes.verb} resource "{resource}" in API '
        f'group "{attributes.api_group}" {where}'
    )
    details = {"kind": attributes.resource, **({"name": attributes.name} if attributes.name else {})}
    return ProblemError(403, "Forbidden", text, details)


def _attributes(who: UserInfo, spec: dict):
    from kubewitness.policy.types import Attributes

    if "nonResourceAttributes" in spec:
        asked = spec["nonResourceAttributes"]
        return Attributes(asked.get("verb", ""), who.username, who.groups, path=asked.get("path", ""))
    asked = spec.get("resourceAttributes", {})
    return Attributes(
        asked.get("verb", ""),
        who.username,
        who.groups,
        asked.get("namespace", ""),
        asked.get("group", ""),
        asked.get("version", ""),
        asked.get("resource", ""),
        asked.get("subresource", ""),
        asked.get("name", ""),
        resource_request=True,
    )


def _json(body: dict, code: int = 200, media_type: str = _JSON) -> Response:
    return Response(json.dumps(body, separators=(",", ":")).encode() + b"\n", code, media_type=media_type)


def _status(problem: ProblemError) -> Response:
    body = json.loads(status_body(problem.code, problem.message, problem.reason))
    if problem.details is not None:
        code = body.pop("code")
        body |= {"details": problem.details, "code": code}
    return _json(body, problem.code)


async def _raw(request: Request) -> bytes:
    raw = await request.body()
    if len(raw) > BODY_MAX:
        raise ProblemError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {BODY_MAX}")
    return raw


def _loads(raw: bytes):
    try:
        return json.loads(raw)
    except ValueError as exc:
        raise ProblemError(400, "BadRequest", f"the object provided is unrecognized: {exc}") from exc


async def _body(request: Request) -> dict:
    media = request.headers.get("content-type", _JSON).partition(";")[0]
    raw = await _raw(request)
    if media == "application/yaml":
        body = yaml.safe_load(raw)
    elif media == protobuf.MEDIA_TYPE:
        try:
            body = protobuf.decode(raw)
        except (ValueError, IndexError) as exc:
            raise ProblemError(400, "BadRequest", f"the object provided is unrecognized: {exc}") from exc
        _record(request, body)
    elif media == _JSON or media.endswith("+json"):
        body = _loads(raw)
    else:
        raise ProblemError(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {media}")
    if not isinstance(body, dict):
        raise ProblemError(400, "BadRequest", "the object provided is unrecognized")
    return body


def _look(body: dict, kind: Kind, namespace: str, problem) -> None:
    if body.get("kind", kind.kind) != kind.kind or body.get("apiVersion", kind.api_version) != kind.api_version:
        raise problem(f"the object provided is no {kind.kind} of {kind.api_version}")
    meant = body.get("metadata", {}).get("namespace")
    if kind.namespaced and meant and meant != namespace:
        raise problem(
            f"the namespace of the provided object does not match the namespace sent on the request ({meant})"
        )


def _stored(kind: Kind, body: dict) -> dict:
    """Give the object as it is kept: a Secret's stringData goes into its data."""
    if kind.kind != "Secret" or "stringData" not in body:
        return body
    body = {**body, "data": dict(body.get("data") or {})}
    for name, text in body.pop("stringData").items():
        body["data"][name] = base64.b64encode(text.encode()).decode()
    return body


def _record(request: Request, body: dict) -> None:
    asgi.request_object(request.scope, json.dumps(body).encode())


def _scale(body: dict) -> dict:
    meta = {name: body["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
    replicas = body.get("spec", {}).get("replicas", 1)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": meta,
        "spec": {"replicas": replicas},
        "status": {"replicas": 0},
    }


def _query(request: Request) -> dict[str, str]:
    return query_values(request.scope["query_string"].decode("latin-1"))


def _is_dry(request: Request) -> bool:
    return _query(request).get("dryRun") == "All"


def _selected(body: dict, query: dict[str, str]) -> bool:
    labels = body["metadata"].get("labels") or {}
    for part in filter(None, query.get("labelSelector", "").split(",")):
        name, equals, value = part.replace("==", "=").partition("=")
        if name.endswith("!"):
            if labels.get(name[:-1]) == value:
                return False
        elif (equals and labels.get(name) != value) or (not equals and name not in labels):
            return False
    for part in filter(None, query.get("fieldSelector", "").split(",")):
        path, _, value = part.replace("==", "=").partition("=")
        found = body
        for step in path.split("."):
            found = found.get(step, "") if isinstance(found, dict) else ""
        if found != value:
            return False
    return True


async def _lifespan(receive, send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
