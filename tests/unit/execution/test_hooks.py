"""What a plugin may say at each point; anything else is its failure, and a guard's failure is a veto."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
from pydantic import JsonValue

from partsong.contracts.talk.hooks import HookOutcome, HookPoint, PluginRef
from partsong.contracts.wire.work import HookWork
from partsong.execution.hooks import Hooks
from partsong.plugins import Hook, Plugin, Replace, RequireApproval, Retry, Veto
from partsong.plugins.plugin import PluginKind
from partsong.plugins.shelf import Shelf

ERROR: JsonValue = {"code": "shop.closed", "message": "come back", "fault": "caller"}
MESSAGE: JsonValue = {"role": "user", "text": "hi"}


class Says(Plugin):
    """A guard that says at every point what it was told to."""

    kind: ClassVar[PluginKind] = "guard"

    def __init__(self, outcome: object) -> None:
        self._outcome = outcome

    def _say(self, _hook: Hook) -> object:
        return self._outcome

    before_run = before_node = after_node = _say
    before_agent_call = after_agent_call = _say
    before_tool_call = after_tool_call = _say
    on_approval = on_error = _say


async def decided(point: HookPoint, outcome: object) -> HookOutcome:
    """What is decided where the only plugin says this."""
    hooks = Hooks(Shelf({"says": Says(outcome)}))
    ref = PluginRef(name="says", points=(point,), kind="guard")
    work = HookWork(
        run_id="r_1", call_id=f"n:1/h.{point}", node="n", point=point, plugins=(ref,), payload={}
    )
    try:
        return (await hooks.run(work)).outcome
    finally:
        hooks.close()


@pytest.mark.parametrize(
    ("point", "value"),
    [
        ("before_tool_call", {"to": "bob"}),
        ("after_tool_call", None),
        ("before_agent_call", [MESSAGE]),
        ("after_agent_call", "better"),
        ("after_node", {"n": 1}),
        ("on_approval", {"title": "Pay?", "detail": ""}),
        ("on_error", ERROR),
    ],
)
async def test_what_is_shown_may_be_replaced_by_its_like(
    point: HookPoint, value: JsonValue
) -> None:
    assert await decided(point, Replace(value=value)) == Replace(value=value)


@pytest.mark.parametrize(
    ("point", "outcome", "why"),
    [
        ("before_tool_call", Replace(value=["bob"]), "args: Input should be a valid dictionary"),
        ("before_agent_call", Replace(value="hi"), "messages: "),
        ("before_agent_call", Replace(value=[{"role": "boss"}]), "messages.0"),
        ("after_agent_call", Replace(value=3), "text: Input should be a valid string"),
        ("after_node", Replace(value="n"), "update: "),
        ("on_approval", Replace(value={"title": "Pay?"}), "question.detail: Field required"),
        ("on_error", Replace(value="late"), "error: "),
        ("on_error", Replace(value={"message": "late"}), "error.code: Field required"),
        ("before_run", Replace(value={}), "there is nothing to replace at before_run"),
        ("before_tool_call", Retry(reason="again"), "nothing can be done once more"),
        ("on_error", RequireApproval(reason="may it?"), "nobody can be asked to agree"),
        ("before_node", "no", "it returned a str, not an outcome"),
        ("after_node", Replace(value={"n": math.nan}), "outcome.value.n: nan is no JSON number"),
        ("before_node", Veto(reason="\ud800"), "outcome.reason: the text has a lone surrogate"),
    ],
)
async def test_what_means_nothing_at_a_point_is_a_guards_failure(
    point: HookPoint, outcome: object, why: str
) -> None:
    said = await decided(point, outcome)
    assert said.kind == "veto"
    assert f"guard says: {why}" in said.reason
