"""
What kube-apiserver writes of a request at each stage, given the level that a policy decided.

Which stages a request goes through depends on the request alone; which are written and what they hold on the level.
The facts were measured on kube-apiserver 1.36; bodies are those of a request that succeeds.
"""

from dataclasses import dataclass

from kubewitness.event.types import Level, Stage
from kubewitness.policy.request import is_long_running
from kubewitness.policy.types import Attributes, Decision

_DISCOVERY = ("/api", "/apis")


@dataclass(frozen=True, slots=True)
class StageContent:
    """One stage: whether it is written, and what is in it or why it is not there."""

    stage: Stage
    is_written: bool
    holds: tuple[str, ...]


def contents(request: Attributes, decision: Decision) -> tuple[StageContent, ...]:
    """Give the stages that this request reaches, in order."""
    return tuple(_content(stage, request, decision) for stage in stages_of(request))


def stages_of(request: Attributes) -> tuple[Stage, ...]:
    """Give the stages that a request reaches when nothing breaks; Panic would take the place of the last."""
    if request.user is None:
        # failed authentication: one event, whatever was asked
        return (Stage.RESPONSE_STARTED,)
    if is_long_running(request):
        return (Stage.REQUEST_RECEIVED, Stage.RESPONSE_STARTED, Stage.RESPONSE_COMPLETE)
    return (Stage.REQUEST_RECEIVED, Stage.RESPONSE_COMPLETE)


def _content(stage: Stage, request: Attributes, decision: Decision) -> StageContent:
    if decision.level is Level.NONE:
        return StageContent(stage, False, ("level None",))
    if stage in decision.omit_stages:
        return StageContent(stage, False, ("omitted by omitStages",))
    if request.user is None:
        return StageContent(stage, True, ("an empty user, requestURI, verb, sourceIPs, userAgent, code 401",))
    holds = ["user, groups, verb, requestURI, sourceIPs, userAgent"]
    if request.resource_request:
        holds.append(_object_ref(stage, request))
    if stage is Stage.REQUEST_RECEIVED:
        return StageContent(stage, True, tuple(holds))
    holds.append("responseStatus.code, impersonatedUser, annotations of authorization")
    holds += _command(request)
    if stage is Stage.RESPONSE_COMPLETE:
        holds += _bodies(request, decision)
    return StageContent(stage, True, tuple(holds))


def _object_ref(stage: Stage, request: Attributes) -> str:
    if request.name:
        return "objectRef with its name"
    if request.verb == "create":
        if stage is Stage.REQUEST_RECEIVED:
            return "objectRef without a name: it is not in the URL of a create"
        return "objectRef, with the name from the body unless it was generated"
    return "objectRef without a name"


def _command(request: Attributes) -> list[str]:
    if request.subresource in ("exec", "attach"):
        return ["the command in requestURI; nothing of what goes over the connection"]
    if request.subresource == "portforward":
        return ["nothing of what goes over the connection"]
    return []


def _bodies(request: Attributes, decision: Decision) -> list[str]:
    if not request.resource_request:
        is_discovery = request.path.rstrip("/") in _DISCOVERY or request.path.startswith(("/api/", "/apis/"))
        if is_discovery and decision.level is Level.REQUEST_RESPONSE:
            return ["responseObject: the list of what the server offers"]
        return ["no body: requests for URLs have none in the log"]
    if is_long_running(request):
        return ["no body at any level: it is a watch, a stream or a proxy"]
    if decision.level is Level.METADATA:
        return ["no body: level Metadata"]
    bodies = [text for text in (_request_body(request), _response_body(request, decision)) if text]
    return [*bodies, *_secrets(request, decision)] or ["no body: this request has none at this level"]


def _request_body(request: Attributes) -> str:
    if request.verb in ("create", "update"):
        return "requestObject: the object sent, as the server understood it"
    if request.verb == "patch":
        return "requestObject: the patch as sent"
    if request.verb in ("delete", "deletecollection"):
        return "requestObject: DeleteOptions, when the client sent them (kubectl does)"
    return ""


def _response_body(request: Attributes, decision: Decision) -> str:
    if decision.level is not Level.REQUEST_RESPONSE:
        return ""
    managed = " without managedFields" if decision.omit_managed_fields else ""
    if request.verb in ("list", "deletecollection"):
        return f"responseObject: the whole list{managed}"
    if request.verb == "delete":
        return f"responseObject: a Status, or the object when it goes gracefully{managed}"
    return f"responseObject: the whole object{managed}"


def _secrets(request: Attributes, decision: Decision) -> list[str]:
    is_response = decision.level is Level.REQUEST_RESPONSE
    if request.resource == "secrets" and request.api_group == "":
        return ["careful: these bodies hold the secret"] if is_response or _request_body(request) else []
    if (request.resource, request.subresource) == ("serviceaccounts", "token") and is_response:
        return ["careful: the response holds the new token"]
    if request.resource == "tokenreviews":
        return ["careful: both bodies hold the token that is reviewed"]
    return []
