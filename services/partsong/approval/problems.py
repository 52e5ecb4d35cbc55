"""Every error of the HTTP API as `application/problem+json` (RFC 9457), with our own fields in it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from partsong.approval.core.decision import Closed
from partsong.approval.views import ProblemView, view
from partsong.contracts.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PartsongError,
    Problem,
    Unavailable,
)

__all__ = ["HANDLERS", "MEDIA_TYPE", "respond"]

log = logging.getLogger("partsong.approval")

MEDIA_TYPE = "application/problem+json"


def respond(
    status: int,
    problem: Problem,
    *,
    headers: Mapping[str, str] | None = None,
    error: PartsongError | None = None,
) -> Response[bytes]:
    """A problem as a response; what is empty is left out."""
    body = ProblemView(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=problem.message,
        approval=view(error.approval) if isinstance(error, Closed) else None,
        **problem.model_dump(),
    )
    text = body.model_dump_json(exclude_none=True)
    return Response(text.encode(), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _ours(_request: Request[Any, Any, Any], error: PartsongError) -> Response[bytes]:
    match error:
        case InvalidInput():
            status = 400
        case NotFound():
            status = 404
        case Conflict():
            status = 409
        case Unavailable():
            status = 503
        case _:
            status = 500
    headers = {"retry-after": "1"} if error.problem.retryable else None
    return respond(status, error.problem, headers=headers, error=error)


def _frameworks(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What Litestar found: no such route, a body that is no JSON, a field that does not fit."""
    status = error.status_code
    if isinstance(error, ValidationException):
        return respond(status, _misfit(error))
    if status == HTTPStatus.BAD_REQUEST:
        return respond(
            status, Problem(code="request.malformed", message=error.detail, where="body")
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _fault(request, error)
    code = HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
    problem = Problem(
        code=f"http.{code}", message=f"{request.method} {request.url.path}: {error.detail}"
    )
    return respond(status, problem, headers=error.headers)


def _misfit(error: ValidationException) -> Problem:
    found = error.extra if isinstance(error.extra, list) else []
    first = found[0] if found and isinstance(found[0], dict) else {}
    where = str(first.get("key") or "body")
    if where == "data":
        return Problem(
            code="request.malformed", message="the body is empty, not a JSON object", where="body"
        )
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    said = first.get("message") or error.detail
    return Problem(code="request.malformed", message=f"{where}: {said}{more}", where=where)


def _unreadable(
    _request: Request[Any, Any, Any], error: RecursionError | UnicodeDecodeError
) -> Response[bytes]:
    """A body that the framework's parser gives up on, with an error that is none of its own."""
    deep = isinstance(error, RecursionError)
    said = "it is nested too deep" if deep else f"it is no text in UTF-8: {error}"
    problem = Problem(
        code="request.malformed", message=f"the body cannot be read: {said}", where="body"
    )
    return respond(400, problem)


def _fault(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("request failed", exc_info=error, extra={"path": request.url.path})
    problem = Problem(
        code="approval.fault",
        message=f"{type(error).__name__} while answering {request.method} {request.url.path}",
        fix="see the service's log",
        fault="platform",
    )
    return respond(500, problem)


HANDLERS: ExceptionHandlersMap = {
    PartsongError: _ours,
    HTTPException: _frameworks,
    RecursionError: _unreadable,
    UnicodeDecodeError: _unreadable,
    Exception: _fault,
}
"""For `Litestar(exception_handlers=…)`."""
