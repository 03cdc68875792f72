"""The four ways to patch an object: JSON patch, merge patch, strategic merge patch (as far as needed), apply."""

import copy

from tests.toyapi.store import ProblemError, now

MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "ownerReferences": "uid",
}


def merge(target, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        else:
            out[name] = merge(out.get(name), value)
    return out


def strategic(target, patch, name: str = ""):
    if isinstance(patch, dict):
        if patch.get("$patch") == "replace":
            return {member: value for member, value in patch.items() if member != "$patch"}
        out = dict(target) if isinstance(target, dict) else {}
        for member, value in patch.items():
            if member.startswith("$deleteFromPrimitiveList/"):
                member = member.partition("/")[2]
                out[member] = [item for item in out.get(member, []) if item not in value]
            elif member.startswith("$"):
                continue
            elif value is None:
                out.pop(member, None)
            else:
                out[member] = strategic(out.get(member), value, member)
        return out
    key = MERGE_KEYS.get(name)
    if isinstance(patch, list) and key and all(isinstance(item, dict) for item in patch):
        out = list(target or [])
        for item in patch:
            at = next((i for i, old in enumerate(out) if old.get(key) == item.get(key)), None)
            if item.get("$patch") == "delete":
                out = [old for old in out if old.get(key) != item.get(key)]
            elif at is None:
                out.append(strategic({}, item))
            else:
                out[at] = strategic(out[at], item)
        return out
    return patch


def json_patch(target, operations):
    out = copy.deepcopy(target)
    for operation in operations:
        out = _operate(out, operation)
    return out


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _at(target, steps):
    for step in steps:
        target = target[int(step)] if isinstance(target, list) else target[step]
    return target


def _operate(out, operation):
    steps = _steps(operation["path"])
    try:
        match operation["op"]:
            case "test":
                if _at(out, steps) != operation["value"]:
                    raise KeyError(operation["path"])
                return out
            case "remove":
                parent = _at(out, steps[:-1])
                del parent[int(steps[-1]) if isinstance(parent, list) else steps[-1]]
                return out
            case "move" | "copy":
                source = _steps(operation["from"])
                value = copy.deepcopy(_at(out, source))
                if operation["op"] == "move":
                    out = _operate(out, {"op": "remove", "path": operation["from"]})
            case _:
                value = operation["value"]
                if operation["op"] == "replace":
                    _at(out, steps)
        parent, last = _at(out, steps[:-1]), steps[-1]
        if not isinstance(parent, list):
            parent[last] = value
        elif operation["op"] == "replace":
            parent[int(last)] = value
        else:
            parent.insert(len(parent) if last == "-" else int(last), value)
    except (KeyError, IndexError, ValueError, TypeError) as exc:
        text = f"the server rejected our request due to an error in our request: {exc}"
        raise ProblemError(422, "Invalid", text) from exc
    return out


def apply(target: dict | None, patch: dict, manager: str) -> dict:
    """Merge as an owner of fields does, and say who."""
    out = strategic(target or {}, patch)
    entries = [e for e in out.get("metadata", {}).get("managedFields", []) if e.get("manager") != manager]
    entry = {"manager": manager, "operation": "Apply", "apiVersion": patch.get("apiVersion", "v1"), "time": now()}
    entries.append({**entry, "fieldsType": "FieldsV1", "fieldsV1": {}})
    out["metadata"] = {**out.get("metadata", {}), "managedFields": entries}
    return out
