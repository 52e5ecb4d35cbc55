"""Approval nodes: a question to people, and what follows from the answer."""

from __future__ import annotations

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import ApprovalNode
from partsong.contracts.graph.conform import check_edit
from partsong.contracts.graph.templates import render
from partsong.contracts.state.hook_decisions import question_left
from partsong.contracts.state.node_results import ask_id
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import Call
from partsong.engine.calls.calls import ask_person, expire
from partsong.engine.calls.gates import passes
from partsong.engine.draft import Draft
from partsong.engine.scheduling import flow

__all__ = ["approval"]


def approval(draft: Draft, execution: Execution, node: ApprovalNode) -> None:
    """Ask, let the question expire, or go on with the answer."""
    call = draft.state.calls.get(ask_id(execution))
    if call is None:
        _ask(draft, execution, node)
    elif call.open:
        expire(draft, call)
    elif isinstance(call.outcome, e.ApprovalDecided | e.ApprovalExpired):
        _answered(draft, execution, node, call, call.outcome)
    elif not call.given_up:
        problem = call.problem or Problem(
            code="approval.no_answer", message=f"{call.id} was closed without an answer"
        )
        flow.fail(draft, execution, problem, call.closed_by or "")


def _answered(
    draft: Draft,
    execution: Execution,
    node: ApprovalNode,
    call: Call,
    answer: e.ApprovalDecided | e.ApprovalExpired,
) -> None:
    cause = call.closed_by or ""
    if isinstance(answer, e.ApprovalDecided):
        decision, by, reason = answer.decision, answer.by, answer.reason
        try:
            check_edit(answer.edited, node.editable, node.edit_schema, decision, draft.evaluate)
        except InvalidInput as error:
            flow.fail(draft, execution, error.problem, cause, handled=False)
            return
    else:
        decision, by, reason = node.otherwise, "deadline", None
    if decision == "approve":
        flow.complete(draft, execution, "approved", cause)
    elif "rejected" in draft.state.scope(execution).plan.labels[execution.node]:
        flow.complete(draft, execution, "rejected", cause)
    else:
        problem = Problem(
            code="approval.rejected",
            message=f"{execution.id} was rejected by {by}: {reason or 'no reason given'}",
            where=f"nodes.{execution.node}",
            fix="add an edge for the outcome rejected if the run should go on",
        )
        flow.fail(draft, execution, problem, cause, handled=False)


def _ask(draft: Draft, execution: Execution, node: ApprovalNode) -> None:
    view = draft.state.view(execution)
    cause = draft.id(execution.id, "scheduled")
    call_id = ask_id(execution)
    try:
        title, detail = render(node.title, view), render(node.detail, view)
    except InvalidInput as error:
        flow.fail(draft, execution, error.problem, cause)
        return
    may = passes(draft, execution, call_id, "on_approval", cause)
    if may != "yes":
        if isinstance(may, Problem):
            flow.fail(draft, execution, may, cause)
        return
    title, detail = question_left(draft.state, call_id, title, detail)
    ask_person(
        draft,
        execution,
        call_id,
        cause,
        title=title,
        detail=detail,
        context={key: view[key] for key in _shown(node) if key in view},
        editable=node.editable,
        edit_schema=node.edit_schema,
        deadline=node.deadline,
        otherwise=node.otherwise,
    )


def _shown(node: ApprovalNode) -> tuple[str, ...]:
    if node.editable is None or node.editable in node.show:
        return node.show
    return (*node.show, node.editable)
