"""The HTTP API. Errors are `problem+json`, the OpenAPI document is at `/schema/openapi.json`, nothing comes from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Annotated, Any

from litestar import Litestar, Request, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter

from partsong.approval.core.approval import Position, Status
from partsong.approval.core.decision import Decision
from partsong.approval.desk import LONGEST_PAGE, Desk
from partsong.approval.hub import Hub
from partsong.approval.live import live
from partsong.approval.problems import HANDLERS, MEDIA_TYPE, respond
from partsong.approval.projector import Projector
from partsong.approval.views import (
    ApprovalView,
    DecisionBody,
    Health,
    Page,
    ProblemView,
    Readiness,
    page_of,
    view,
)
from partsong.contracts.errors import InvalidInput, Problem, Unavailable
from partsong.contracts.ids import check_id
from partsong.contracts.plain import read_json
from partsong.runtime import clock
from partsong.runtime.broker_clock import TOLERATED, said
from partsong.web.origin import refusal

__all__ = ["create_app"]

_MOST_BYTES = 64 * 1024
_PING = 15.0


def _error(says: str) -> ResponseSpec:
    return ResponseSpec(
        ProblemView, description=says, media_type=MEDIA_TYPE, generate_examples=False
    )


_MALFORMED = _error("A parameter or field does not fit; `where` names it")
_UNKNOWN = _error("There is no such approval")
_UNAVAILABLE = _error(
    "The log or the database does not answer, the inbox is behind, or the run lacks records"
)


@get("/api/approvals", responses={400: _MALFORMED, 503: _UNAVAILABLE})
async def list_approvals(
    desk: NamedDependency[Desk],
    status: FromQuery[Status | None] = None,
    run_id: FromQuery[str | None] = None,
    cursor: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=LONGEST_PAGE)] = 50,
) -> Page:
    """Approvals, the newest first; `next` of a page is the `cursor` of the one after it."""
    before = Position.parse(cursor, "cursor") if cursor is not None else None
    return page_of(await desk.list(status=status, run_id=run_id, before=before, limit=limit))


@get("/api/approvals/{approval_id:str}", responses={404: _UNKNOWN, 503: _UNAVAILABLE})
async def get_approval(desk: NamedDependency[Desk], approval_id: FromPath[str]) -> ApprovalView:
    """One approval, pending or not."""
    return view(await desk.find(approval_id))


@post(
    "/api/approvals/{approval_id:str}/decision",
    status_code=200,
    responses={
        202: ResponseSpec(
            ApprovalView,
            description="Decided, but lists do not show it yet",
            generate_examples=False,
        ),
        400: _MALFORMED,
        404: _UNKNOWN,
        409: _error("It has ended already; `approval` says how. Or its deadline has passed"),
        503: _UNAVAILABLE,
    },
)
async def decide_approval(
    request: Request[Any, Any, Any],
    desk: NamedDependency[Desk],
    approval_id: FromPath[str],
    data: JSONBody[DecisionBody],
    key: Annotated[str | None, HeaderParameter(name="Idempotency-Key")] = None,
) -> Response[ApprovalView]:
    """Approve, perhaps with an edit, or reject.

    The first decision wins; the same one sent again with the same key is answered as the first was.
    """
    _check_unambiguous(await request.body())
    key = check_id("Idempotency-Key", key) if key is not None else clock.new_id()
    decision = Decision(data.decision, data.by, data.reason, key, data.edit)
    done = await desk.decide(approval_id, decision)
    return Response(view(done.approval), status_code=200 if done.shown else 202)


def _check_unambiguous(body: bytes) -> None:
    """Refuse a body that another program would read differently: of two decisions the framework takes the last."""
    try:
        read_json(body)
    except ValueError as error:
        raise InvalidInput("request.malformed", str(error), where="body") from None


@get("/healthz")
async def healthz() -> Health:
    """Whether the process answers."""
    return Health()


@get("/readyz", responses={503: _UNAVAILABLE})
async def readyz(
    desk: NamedDependency[Desk],
    projector: NamedDependency[Projector],
    log_problem: NamedDependency[Problem | None],
    log_note: NamedDependency[str | None],
    engine_problem: NamedDependency[Problem | None],
) -> Readiness:
    """Whether the log is sound and answers, engines work on it, and the inbox shows what is in it."""
    if problem := log_problem or engine_problem:
        raise Unavailable.of(problem)
    if projector.problem is not None:
        raise Unavailable.of(projector.problem)
    head, position = await desk.head(), projector.position
    if not projector.current or head < position:
        raise Unavailable(
            "approval.behind",
            f"the inbox is at {position}, the log at {head}",
            fix="wait for the inbox to catch up"
            if head >= position
            else "restart the service: the log lost records, and the inbox is to be made anew",
            retryable=True,
        )
    skew = clock.offset()
    return Readiness(
        position=position,
        head=head,
        clock=said(skew) if abs(skew) > TOLERATED else None,
        log=log_note,
    )


async def _none() -> Problem | None:
    return None


def create_app(
    desk: Desk,
    projector: Projector,
    hub: Hub,
    *,
    loopback: bool,
    log_problem: Callable[[], Problem | None] = lambda: None,
    log_note: Callable[[], str | None] = lambda: None,
    engine_problem: Callable[[], Awaitable[Problem | None]] = _none,
    ping: float = _PING,
) -> Litestar:
    """The application. `loopback`: it answers to the names of loopback only; `ping`: seconds of silence on a WebSocket.

    `log_problem` says what is wrong with the log, `log_note` what is wrong with single runs in it, `engine_problem` why
    an engine does not look after all that belongs to it.
    """

    async def same_site(request: Request[Any, Any, Any]) -> Response[bytes] | None:
        headers = request.headers
        problem = refusal(headers.get("host", ""), headers.get("origin"), loopback=loopback)
        return respond(403, problem) if problem else None

    return Litestar(
        [
            list_approvals,
            get_approval,
            decide_approval,
            healthz,
            readyz,
            live(hub, projector, loopback=loopback, ping=ping),
        ],
        dependencies={
            "desk": Provide(lambda: desk, sync_to_thread=False),
            "projector": Provide(lambda: projector, sync_to_thread=False),
            "log_problem": Provide(log_problem, sync_to_thread=False, use_cache=False),
            "log_note": Provide(log_note, sync_to_thread=False, use_cache=False),
            "engine_problem": Provide(engine_problem, use_cache=False),
        },
        before_request=same_site,
        exception_handlers=HANDLERS,
        openapi_config=OpenAPIConfig(
            title="Partsong approvals",
            version=version("partsong"),
            use_handler_docstrings=True,
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        ),
        request_max_body_size=_MOST_BYTES,
        logging_config=None,
    )
