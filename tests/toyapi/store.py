"""Objects of the toy API server in memory, with resource versions, conflicts and watches."""

import asyncio
import copy
import uuid
from datetime import UTC, datetime

from tests.toyapi.kinds import Kind


class ProblemError(Exception):
    """A request that ends in a Status."""

    def __init__(self, code: int, reason: str, message: str, details: dict | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details


def not_found(kind: Kind, name: str) -> ProblemError:
    details = {"name": name, **({"group": kind.group} if kind.group else {}), "kind": kind.resource}
    return ProblemError(404, "NotFound", f'{kind.qualified} "{name}" not found', details)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Key = tuple[str, str]


class Store:
    """Every object, by resource, namespace and name."""

    def __init__(self) -> None:
        self.version = 1
        self._objects: dict[str, dict[Key, dict]] = {}
        self._watchers: set[tuple[str, asyncio.Queue]] = set()
        self._log: list[tuple[int, str, str, dict]] = []

    def list(self, kind: Kind, namespace: str = "") -> list[dict]:
        found = self._objects.get(kind.qualified, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def find(self, kind: Kind, namespace: str, name: str) -> dict | None:
        return self._objects.get(kind.qualified, {}).get((namespace, name))

    def get(self, kind: Kind, namespace: str, name: str) -> dict:
        found = self.find(kind, namespace, name)
        if found is None:
            raise not_found(kind, name)
        return found

    def create(self, kind: Kind, namespace: str, body: dict, *, dry: bool = False) -> dict:
        body = copy.deepcopy(body)
        meta = body.setdefault("metadata", {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
        name = meta.get("name")
        if not name:
            text = f'{kind.kind} "" is invalid: metadata.name: Required value: name or generateName is required'
            raise ProblemError(422, "Invalid", text, {"kind": kind.kind})
        if self.find(kind, namespace, name) is not None:
            details = {"name": name, "kind": kind.resource}
            raise ProblemError(409, "AlreadyExists", f'{kind.qualified} "{name}" already exists', details)
        if kind.namespaced:
            meta["namespace"] = namespace
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = now()
        return self._put(kind, namespace, name, body, "ADDED", dry)

    def update(self, kind: Kind, namespace: str, name: str, body: dict, *, dry: bool = False) -> dict:
        old = self.get(kind, namespace, name)
        body = copy.deepcopy(body)
        meta = body.setdefault("metadata", {})
        sent = meta.get("resourceVersion")
        if sent and sent != old["metadata"]["resourceVersion"]:
            text = (
                f'Operation cannot be fulfilled on {kind.qualified} "{name}": the object has been modified; '
                "please apply your changes to the latest version and try again"
            )
            raise ProblemError(409, "Conflict", text, {"name": name, "kind": kind.resource})
        for member in ("uid", "creationTimestamp", "namespace", "name"):
            if member in old["metadata"]:
                meta[member] = old["metadata"][member]
        return self._put(kind, namespace, name, body, "MODIFIED", dry)

    def delete(self, kind: Kind, namespace: str, name: str, *, dry: bool = False) -> dict:
        old = self.get(kind, namespace, name)
        if not dry:
            del self._objects[kind.qualified][namespace, name]
            self.version += 1
            self._tell(kind, "DELETED", old)
        return old

    def _put(self, kind: Kind, namespace: str, name: str, body: dict, what: str, dry: bool) -> dict:
        body = {"kind": kind.kind, "apiVersion": kind.api_version, **body}
        if dry:
            return body
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self._objects.setdefault(kind.qualified, {})[namespace, name] = body
        self._tell(kind, what, body)
        return body

    def _tell(self, kind: Kind, what: str, body: dict) -> None:
        entry = (self.version, kind.qualified, what, body)
        self._log.append(entry)
        for resource, queue in self._watchers:
            if resource == kind.qualified:
                queue.put_nowait(entry)

    async def watch(self, kind: Kind, since: int | None):
        """Give what happened since this version and what happens from now on, for ever; None: begin with what is."""
        queue: asyncio.Queue = asyncio.Queue()
        if since:
            past = [entry for entry in self._log if entry[1] == kind.qualified and entry[0] > since]
        else:
            past = [(0, kind.qualified, "ADDED", body) for body in self.list(kind)]
        self._watchers.add((kind.qualified, queue))
        try:
            for _, _, what, body in past:
                yield what, body
            while True:
                _, _, what, body = await queue.get()
                yield what, body
        finally:
            self._watchers.discard((kind.qualified, queue))
