"""What a retry or a fork makes of a run: whatever was unfinished is open again, and nothing else."""

from __future__ import annotations

from partsong.contracts.frozen import replace
from partsong.contracts.graph import AgentNode, Graph
from partsong.contracts.state.scope import Execution, Scope, scope_of
from partsong.contracts.state.serialization import inner_graph
from partsong.contracts.state.state import Call, RunState

__all__ = ["missing_nodes", "revived"]


def revived(state: RunState, graph: Graph, now: str, *, rerun: bool = True) -> RunState:
    """The run, running again on `graph`.

    Calls without a result are made again as the next attempt of the same call, so that their idempotency keys stay.
    With `rerun`, so are calls whose result made their node fail; without, the result is looked at again, by a graph
    that may take it now.
    """
    failed = {x.id for x in state.executions.values() if not x.live}
    scopes = _regraphed(state, graph)
    return replace(
        state,
        status="running",
        round=state.round + 1,
        stopping=None,
        overdue=None,
        error=None,
        paused=False,
        updated=now,
        scopes=scopes,
        calls={
            id_: _again(call, rerun=rerun and call.exec in failed)
            for id_, call in state.calls.items()
            if (call.exec or call.kind == "hook") and not id_.endswith("/undo")
        },
        timers={id_: t for id_, t in state.timers.items() if t.purpose == "run_deadline"},
        due=dict.fromkeys(id_ for scope in scopes.values() for id_ in scope.active),
    )


def _again(call: Call, *, rerun: bool) -> Call:
    if call.outcome is not None and not rerun:
        return call
    return replace(
        call,
        again=True,
        closed_by=call.closed_by or "retried",
        outcome=None,
        approved=None,
        resumes=None if rerun else call.resumes,
        lapsed=False,
        waits=None,
        rested=False,
        expired=False,
    )


def _regraphed(state: RunState, graph: Graph) -> dict[str, Scope]:
    scopes: dict[str, Scope] = {}
    for path in sorted(state.scopes, key=lambda path: path.count("/")):
        scope = state.scopes[path]
        if path:
            outer = scopes.get(scope_of(scope.exec))
            execution = outer.active.get(scope.exec) if outer else None
            if outer is None or execution is None:
                continue
            inner = inner_graph(outer.graph, execution.node, scope.tool)
        else:
            inner = graph
        scope = _unheld(scope)
        active = {id_: _open(scope, execution) for id_, execution in scope.active.items()}
        scopes[path] = replace(scope, graph=inner, problem=None, active=active)
    return scopes


def _unheld(scope: Scope) -> Scope:
    """The scope as if joins that fired with too few branches had not: what failed beside them may arrive now."""
    unmet = [execution for execution in scope.active.values() if execution.held]
    return replace(
        scope,
        active={id_: x for id_, x in scope.active.items() if not x.held},
        visits={**scope.visits, **{x.node: x.visit - 1 for x in unmet}},
        tokens={
            **scope.tokens,
            **{x.node: (*x.held, *scope.tokens.get(x.node, ())) for x in unmet},
        },
    )


def _open(scope: Scope, execution: Execution) -> Execution:
    told = isinstance(
        scope.graph.nodes[execution.node], AgentNode
    )  # a model was told of its failures
    broken = execution.broken if told else {}
    return replace(execution, problem=None, broken=broken, round=execution.round + 1)


def missing_nodes(state: RunState, graph: Graph) -> list[str]:
    """Nodes that the run stands at and a new graph does not have, as paths; a run can only go on without any."""
    missing: list[str] = []
    graphs: dict[str, Graph] = {"": graph}
    for path in sorted(state.scopes, key=lambda path: path.count("/")):
        scope = state.scopes[path]
        if path:
            outer = graphs.get(scope_of(scope.exec))
            name = scope.exec.rpartition("/")[2].rpartition(":")[0]
            try:
                inner = inner_graph(outer, name, scope.tool) if outer else None
            except KeyError:
                missing.append(scope.exec)
                continue
            if inner is None:
                continue
            graphs[path] = inner
        here = graphs[path]
        standing = {execution.node for execution in scope.active.values()} | set(scope.tokens)
        missing += [
            f"{path}/{node}" if path else node
            for node in sorted(standing)
            if node not in here.nodes or here.nodes[node].type != scope.graph.nodes[node].type
        ]
    return missing
