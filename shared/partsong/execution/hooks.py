"""Hooks at work: the plugins of a point are asked in their order, each with what the one before has left."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from partsong.contracts.durations import format_duration
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.events import HookDecided
from partsong.contracts.plain import plain
from partsong.contracts.talk.hooks import (
    Continue,
    HookOutcome,
    HookPoint,
    HookReport,
    PluginRef,
    Replace,
    RequireApproval,
    Retry,
    Veto,
)
from partsong.contracts.talk.messages import MESSAGES
from partsong.contracts.wire.work import HookWork
from partsong.execution.bounded import Bounded
from partsong.execution.core.problems import message_of
from partsong.execution.outcome import Late, Raised
from partsong.execution.user_loops import CallName, UserLoops
from partsong.plugins.plugin import Hook
from partsong.plugins.shelf import Shelf
from partsong.runtime import clock
from partsong.runtime.event_head import event_head

__all__ = ["Hooks"]

_log = logging.getLogger("partsong.tool_runner")

_REPLACED: Mapping[HookPoint, str] = {
    "before_tool_call": "args",
    "after_tool_call": "result",
    "before_agent_call": "messages",
    "after_agent_call": "text",
    "after_node": "update",
    "on_approval": "question",
    "on_error": "error",
}
"""What a `Replace` takes the place of, where there is something to replace."""


class _Question(BaseModel):
    title: str
    detail: str


_ANY: TypeAdapter[Any] = TypeAdapter(JsonValue)
_VALUES: Mapping[HookPoint, TypeAdapter[Any]] = {
    "before_tool_call": TypeAdapter(dict[str, JsonValue]),
    "before_agent_call": MESSAGES,
    "after_agent_call": TypeAdapter(str),
    "after_node": TypeAdapter(dict[str, JsonValue]),
    "on_approval": TypeAdapter(_Question),
    "on_error": TypeAdapter(Problem),
}
"""What may be put there."""
_FAILURES = 5
"""An observer that failed so often in a row is left alone for a while."""
_REST = 60.0


class Hooks:
    """Asks the plugins of this process."""

    def __init__(self, shelf: Shelf, *, worker: str = "", loops: UserLoops | None = None) -> None:
        """Async plugins run in `loops`, or where they are asked."""
        self._shelf, self._worker = shelf, worker
        self._bounded = Bounded(loops)
        self._failed: dict[str, tuple[int, float]] = {}

    def lacks(self, work: HookWork) -> bool:
        """Whether this process has not got a plugin that is to be asked, and another one may."""
        return any(self._shelf.get(ref.name) is None for ref in work.plugins)

    async def run(self, work: HookWork) -> HookDecided:
        """Ask, and say what was decided; nothing is raised but `CancelledError`."""
        data, reports = deepcopy(work.payload), list[HookReport]()
        ended: HookOutcome | None = None
        fresh: Replace | None = None
        asks: RequireApproval | None = None
        for ref in work.plugins:
            began = asyncio.get_running_loop().time()
            said, error = await self._ask(ref, work, data)
            ms = (asyncio.get_running_loop().time() - began) * 1000
            reports.append(_report(ref, said, error, ms))
            if isinstance(said, Replace):
                data[_REPLACED[work.point]] = said.value
                fresh = said
            elif isinstance(said, RequireApproval):
                asks = asks or said
            elif isinstance(said, Veto | Retry):
                ended = said
                break
        if asks is not None:
            asks = RequireApproval(reason=asks.reason, then=fresh)
        outcome = ended or asks or fresh or Continue()
        messages = work.payload.get("messages")
        return HookDecided(
            point=work.point,
            outcome=outcome,
            outcomes=tuple(reports),
            seen=len(messages) if isinstance(messages, list) else 0,
            **event_head(work, "closed", self._worker),
        )

    def close(self) -> None:
        """Let idle threads end."""
        self._bounded.close()

    async def _ask(
        self, ref: PluginRef, work: HookWork, data: dict[str, JsonValue]
    ) -> tuple[HookOutcome, str]:
        """What a plugin says; and, if it could not say anything, why."""
        plugin = self._shelf.get(ref.name)
        if plugin is None:
            return self._failure(ref, "no tool-runner has it", counts=False)
        count, until = self._failed.get(ref.name, (0, 0.0))
        if ref.kind == "observer" and count >= _FAILURES and clock.monotonic() < until:
            return Continue(), f"left alone after {count} failures in a row"
        method = plugin.method(work.point)
        if method is None:
            return Continue(), ""
        hook = Hook(
            work.point, work.run_id, str(data.get("subject", "")), work.node, deepcopy(data)
        )
        outcome = await self._bounded.call(
            lambda: method(hook),
            is_async=inspect.iscoroutinefunction(method),
            within=ref.timeout,
            name=CallName(ref.name, work.run_id, work.call_id),
        )
        if isinstance(outcome, Late):
            return self._failure(ref, f"no answer within {format_duration(ref.timeout)}")
        if isinstance(outcome, Raised):
            _log.warning("plugin failed", extra={"plugin": ref.name}, exc_info=outcome.error)
            return self._failure(ref, message_of(outcome.error))
        said = outcome.value if outcome.value is not None else Continue()
        if (wrong := _wrong(ref, work.point, said)) is not None:
            return self._failure(ref, wrong)
        self._failed.pop(ref.name, None)
        assert isinstance(said, Continue | Replace | Veto | RequireApproval | Retry)  # noqa: S101
        return said, ""

    def _failure(self, ref: PluginRef, why: str, *, counts: bool = True) -> tuple[HookOutcome, str]:
        if counts:
            count, _ = self._failed.get(ref.name, (0, 0.0))
            self._failed[ref.name] = count + 1, clock.monotonic() + _REST
        if ref.kind == "guard":
            return Veto(reason=f"guard {ref.name}: {why}"), why
        return Continue(), why


def _wrong(ref: PluginRef, point: HookPoint, said: object) -> str | None:  # one return per reason
    """Why an outcome means nothing at a point, or from this plugin."""
    if ref.kind == "observer" and not isinstance(said, Continue):
        return "an observer only watches; whoever decides is a guard: kind = 'guard'"
    if not isinstance(said, Continue | Replace | Veto | RequireApproval | Retry):
        return f"it returned a {type(said).__name__}, not an outcome"
    if isinstance(said, Retry) and point != "after_agent_call":
        return f"nothing can be done once more at {point}"
    asks = point in {"before_node", "before_agent_call", "before_tool_call"}
    if isinstance(said, RequireApproval) and not asks:
        return f"nobody can be asked to agree at {point}"
    if isinstance(said, Replace) and point not in _REPLACED:
        return f"there is nothing to replace at {point}"
    try:
        plain(said.model_dump(), "outcome", "hook.not_json", fault="tool")
        if isinstance(said, Replace):
            _VALUES.get(point, _ANY).validate_python(said.value)
    except InvalidInput as error:
        return error.problem.message
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in (_REPLACED[point], *found["loc"]))
        return f"{place}: {found['msg']}"
    return None


def _report(ref: PluginRef, said: HookOutcome, error: str, ms: float) -> HookReport:
    reason = error or ("" if isinstance(said, Continue | Replace) else said.reason)
    kind = "error" if error else said.kind
    return HookReport(plugin=ref.name, outcome=kind, reason=reason, ms=round(ms, 3))
