"""Which nodes fire: the dataflow of a graph.

A node starts as soon as it can; nothing waits for a slow sibling. A node with several inbound edges is a join: it
holds its tokens until nothing can still reach it, then fires once with all of them. Exactly, with R(u) the nodes
reachable from u over one or more edges: a token-holding node x fires when

(1) no active node u (scheduled or running, x itself included) has x in R(u), and
(2) no other token-holding node y has x in R(y), unless x also reaches y (they share a cycle) and x comes first in
    graph order;

after each firing the question is asked again. One rule covers parallel joins, uneven branches, skipped branches and
loops, and what fires never depends on timing. A node that only one edge leads to has nothing to join: it fires at
once, for every token by itself, so that parallel branches inside a loop do run side by side.

A join `any`, `first` or `{n: k}` fires as soon as enough tokens are there, once per round; what comes later is ignored,
and no path leads past it any more for those who are late, so nothing behind it waits for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.state.scope import Scope, Token
from partsong.engine.draft import Draft
from partsong.engine.scheduling.ending import quiesce

__all__ = ["fire", "unmet"]


@dataclass(frozen=True, slots=True)
class _Holder:
    """A node that holds tokens, and what can be reached from it."""

    node: str
    bit: int
    reach: int


def fire(draft: Draft, path: str) -> bool:
    """Fire every node of a scope that may; whether any did."""
    fired = False
    scope = draft.state.scopes[path]
    for node in _enough(scope):
        if not _first_only(draft, path, node):
            return False
        if not _schedule(draft, path, node):
            return True
        fired = True
    for node in sorted(
        scope.tokens.keys() & scope.plan.single, key=scope.plan.position.__getitem__
    ):
        for token in scope.tokens[node]:
            if not _schedule(draft, path, node, (token,)):
                return True
            fired = True
    scope = draft.state.scopes[path]
    busy = _busy(scope)
    for holder in _ready(scope, busy):
        if busy & holder.bit:
            continue
        if not _schedule(draft, path, holder.node):
            return True
        busy |= holder.reach
        fired = True
    return fired


def _enough(scope: Scope) -> list[str]:
    """Early joins that have what they need, in graph order."""
    plan = scope.plan
    waiting = scope.tokens.keys() & plan.early
    ready = (node for node in waiting if len(scope.tokens[node]) >= scope.needs(node))
    return sorted(ready, key=plan.position.__getitem__)


def unmet(scope: Scope, node: str, arrived: int) -> Problem | None:
    """Why a join that wants so many tokens must fail: nothing more can reach it."""
    needs = scope.needs(node)
    if arrived >= needs or node not in scope.plan.early:
        return None
    return Problem(
        code="join.unmet",
        message=f"{node} waits for {needs} branches, {arrived} arrived and no more can",
        where=f"nodes.{node}.join",
        fix="lower n, or let more branches lead to it",
    )


def _busy(scope: Scope) -> int:
    """What live executions can still reach. Many may stand at one place."""
    reached = 0
    for node, after in {(x.node, x.after) for x in scope.active.values() if x.live}:
        reached |= scope.reach(node, after)
    return reached


def _holders(scope: Scope) -> list[_Holder]:
    position = scope.plan.position
    return [
        _Holder(node, 1 << position[node], scope.reach(node, _after(scope, node)))
        for node in sorted(scope.tokens, key=position.__getitem__)
    ]


def _after(scope: Scope, node: str) -> frozenset[str]:
    tokens = scope.tokens[node]
    if len(tokens) == 1:
        return tokens[0].after
    return frozenset[str]().union(*(token.after for token in tokens))


def _ready(scope: Scope, busy: int) -> list[_Holder]:
    """Token-holding nodes for which both clauses hold now, in graph order.

    Firing one of them cannot make clause 2 false for another; clause 1 is asked again by the caller. The union of
    what *all others* reach comes from two running unions, so a fan-out of n costs n, not n².
    """
    holders = _holders(scope)
    after = [0]
    for holder in reversed(holders):
        after.append(after[-1] | holder.reach)
    before, ready = 0, []
    for i, holder in enumerate(holders):
        others = before | after[len(holders) - 1 - i]
        if not busy & holder.bit and (not others & holder.bit or _first_in_cycles(holder, holders)):
            ready.append(holder)
        before |= holder.reach
    return ready


def _first_in_cycles(holder: _Holder, holders: list[_Holder]) -> bool:
    return all(
        holder.reach & other.bit and holder.bit < other.bit
        for other in holders
        if other.node != holder.node and other.reach & holder.bit
    )


def _first_only(draft: Draft, path: str, node: str) -> bool:
    """If `node` joins with the first branch, give up the others; False if their calls have to be closed before."""
    scope = draft.state.scopes[path]
    if scope.graph.nodes[node].join != "first":
        return True
    bit = 1 << scope.plan.position[node]
    losers = [
        execution
        for execution in scope.active.values()
        if execution.live and scope.reach(execution.node, execution.after) & bit
    ]
    if not quiesce(draft, [loser.id for loser in losers], f"{node} took another branch"):
        return False
    waiting = [
        scope.name(holder.node, scope.visits.get(holder.node, 0) + 1)
        for holder in _holders(scope)
        if holder.node != node and holder.reach & bit
    ]
    for exec_id in (*(loser.id for loser in losers), *waiting):
        draft.add(
            e.NodeCancelled(
                id=draft.id(exec_id, "cancelled"),
                time=draft.now,
                exec=exec_id,
                reason=f"{node} took another branch",
            )
        )
    return True


def _schedule(draft: Draft, path: str, node: str, tokens: tuple[Token, ...] | None = None) -> bool:
    """Schedule one visit with these tokens, or all that are there; False if a limit ends the run instead."""
    state, scope = draft.state, draft.state.scopes[path]
    visit = scope.visits.get(node, 0) + 1
    most = scope.graph.nodes[node].max_visits
    if most is not None and visit > most:
        what = f"node {node} was to be entered for the {visit}. time, max_visits is {most}"
        return _limit(draft, "max_visits", what, node)
    if state.steps >= state.options.max_steps:
        what = f"{state.steps} nodes have run, max_steps is {state.options.max_steps}"
        return _limit(draft, "max_steps", what, node)
    tokens = tokens or scope.tokens[node]
    exec_id = scope.name(node, visit)
    last = tokens[-1].source
    begun = draft.id(path, "opened") if path else draft.id("started")
    draft.add(
        e.NodeScheduled(
            id=draft.id(exec_id, "scheduled"),
            time=draft.now,
            cause=draft.id(last, "completed") if last != "START" else begun,
            exec=exec_id,
            node=node,
            visit=visit,
            depth=1 + max(token.depth for token in tokens),
            sources=tuple(token.source for token in tokens),
        )
    )
    return True


def _limit(draft: Draft, limit: str, message: str, node: str) -> bool:
    problem = Problem(
        code=f"run.{limit}",
        message=message,
        where=f"nodes.{node}",
        fix=f"retry the run with a larger {limit}, or let the loop end earlier",
    )
    draft.stop("limit_exceeded", error=problem)
    return False
