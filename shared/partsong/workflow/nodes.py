"""How a builder adds nodes, one method per kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol, Self, Unpack, runtime_checkable

from pydantic import JsonValue

from partsong.contracts.durations import Duration
from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import (
    AgentNode,
    AgentSpec,
    ApprovalNode,
    Graph,
    MapNode,
    Retry,
    SubgraphNode,
    ToolNode,
    TransformNode,
    WaitNode,
)
from partsong.engine.local.equipped import Equipped
from partsong.workflow.draft import Called, Draft, Function, Inner
from partsong.workflow.options import Calling, Placing, Schema, checked, fields_of, schema_of

__all__ = ["Nodes", "Specified"]


@runtime_checkable
class Specified(Protocol):
    """An agent as an object of `partsong.agents`."""

    def spec(self) -> AgentSpec:
        """The agent as data."""
        ...


class Nodes(Draft):
    """Methods that add nodes. All take `max_visits` and `join`; those that call somebody `retry` and timeouts too."""

    def add_node(self, name: str, fn: Function | str, **options: Unpack[Calling]) -> Self:
        """A Python function, or `module:qualname`.

        It takes the state, and a `NodeContext` if it likes, and returns an update, a list of them, a `Route`, a `Goto`
        or None.
        """
        return self._function(name, fn, fields_of(options))

    def add_agent(
        self,
        name: str,
        agent: AgentSpec | Specified | str,
        *,
        prompt: str = "{{input}}",
        output: str | None = None,
        history: str | None = None,
        **options: Unpack[Calling],
    ) -> Self:
        """A model, as an `AgentSpec`, an `Agent` or just `provider:model`; it writes its answer to `output` (default: `name`).

        `history` is a key with the reducer `messages`: the agent goes on with that conversation, and adds to it. In
        this process an `Agent` answers with its own keys, addresses and tools; on the bus the services' are used.
        """
        where = f"nodes.{name}"
        if isinstance(agent, Equipped):
            self._agents[name] = agent
        fields = {
            "agent": _spec_of(agent, where),
            "prompt": prompt,
            "output": output,
            "history": history,
        }
        return self._put(name, checked(AgentNode, {**fields_of(options), **fields}, where))

    def add_agent_tool(
        self,
        source: str,
        name: str,
        work: Draft | Graph | AgentSpec | Specified | str,
        *,
        description: str,
        parameters: Mapping[str, JsonValue] | None = None,
        result: str | None = None,
    ) -> Self:
        """Another agent, or a whole graph, that the agent node `source` may call as the tool `name`.

        Each call runs in a scope of its own, with the arguments as its state; by default there is one, `input`, and an
        agent is asked with it. `parameters` is their JSON Schema. The result is the key `result` of what the work
        leaves behind, by default an agent's answer, or else all that was written.
        """
        fields: dict[str, object] = {"description": description, "result": result}
        if parameters is not None:
            fields["parameters"] = dict(parameters)
        if not isinstance(work, Draft | Graph):
            work = Nodes(name).add_agent(name, work)
            fields["result"] = result or name
        tools = self._called.setdefault(source, {})
        if name in tools:
            raise InvalidInput(
                "graph.tool_twice",
                f"agent {source} has a tool {name!r} already",
                where=f"nodes.{source}.graphs.{name}",
            )
        tools[name] = Called(work, fields)
        return self

    def add_tool(
        self,
        name: str,
        tool: str,
        *,
        args: Mapping[str, JsonValue] | None = None,
        output: str | None = None,
        tools: Sequence[str] = (),
        **options: Unpack[Calling],
    ) -> Self:
        """A tool by name; `args` may hold `{{path}}` from the state.

        If the tool runs code, `tools` are those that the code may call.
        """
        fields = {"tool": tool, "args": dict(args or {}), "output": output, "tools": tuple(tools)}
        return self._put(name, checked(ToolNode, {**fields_of(options), **fields}, f"nodes.{name}"))

    def add_approval(
        self,
        name: str,
        *,
        title: str | None = None,
        detail: str = "",
        show: Sequence[str] = (),
        editable: str | None = None,
        edit_schema: Schema | None = None,
        deadline: Duration | None = None,
        otherwise: Literal["approve", "reject"] = "reject",
        **options: Unpack[Placing],
    ) -> Self:
        """A person decides; edges may be for `approved` and `rejected`.

        Who approves may give the state key `editable` another value, which fits `edit_schema`.
        """
        fields = {
            "title": title or f"Approve {name}?",
            "detail": detail,
            "show": tuple(show),
            "editable": editable,
            "edit_schema": schema_of(edit_schema),
            "deadline": deadline,
            "otherwise": otherwise,
        }
        node = checked(ApprovalNode, {**fields_of(options), **fields}, f"nodes.{name}")
        return self._put(name, node)

    def add_wait(
        self,
        name: str,
        *,
        seconds: Duration | None = None,
        until: str | datetime | None = None,
        signal: str | None = None,
        key: str | None = None,
        deadline: Duration | None = None,
        schema: Schema | None = None,
        output: str | None = None,
        **options: Unpack[Placing],
    ) -> Self:
        """Waits for a time, or for a signal whose payload goes to `output` (default: `name`).

        `key`, CEL over `state` or text with `{{a.path}}`, tells it from other waits for the signal: it takes only what is
        sent with that key. `until` is RFC 3339, perhaps `{{from.the.state}}`. With a `deadline` for the signal, an edge may be for
        `timeout`. What does not fit `schema` is refused when it is sent.
        """
        where = f"nodes.{name}"
        if isinstance(until, datetime):
            if until.tzinfo is None:
                said = f"{until.isoformat()} has no time zone"
                raise InvalidInput("graph.malformed", said, where=f"{where}.until")
            until = until.isoformat()
        fields = {
            "seconds": seconds,
            "until": until,
            "signal": signal,
            "key": key,
            "deadline": deadline,
            "signal_schema": schema_of(schema),
            "output": output,
        }
        return self._put(name, checked(WaitNode, {**fields_of(options), **fields}, where))

    def add_transform(self, name: str, keys: Mapping[str, str], **options: Unpack[Placing]) -> Self:
        """Computes keys of the state, in the engine: `{key: CEL over state}`."""
        fields = {**fields_of(options), "set": dict(keys)}
        return self._put(name, checked(TransformNode, fields, f"nodes.{name}"))

    def add_subgraph(
        self,
        name: str,
        graph: Draft | Graph,
        *,
        inputs: Mapping[str, JsonValue] | None = None,
        outputs: Mapping[str, str] | None = None,
        detached: bool = False,
        retry: Retry | None = None,
        **options: Unpack[Placing],
    ) -> Self:
        """A whole graph as one node.

        It begins with all that the node sees, and what it writes goes through this graph's reducers; with `inputs`
        (`{inner key: value or "{{path}}"}`) and `outputs` (`{outer key: inner key}`) only what they name crosses the
        border. `detached` makes it a run of its own, which the node waits for; only then is there something to `retry`.
        """
        if retry is not None and not detached:
            raise _no_effect(name, "retry")
        fields = {
            "inputs": None if inputs is None else dict(inputs),
            "outputs": None if outputs is None else dict(outputs),
            "detached": detached,
            "retry": retry,
        }
        return self._put(name, Inner(SubgraphNode, graph, {**fields_of(options), **fields}))

    def add_map(
        self,
        name: str,
        work: Draft | Graph | Function | AgentSpec | Specified | AgentNode | ToolNode | str,
        *,
        over: str,
        into: str,
        collect: str | None = None,
        inputs: Mapping[str, JsonValue] | None = None,
        max_concurrency: int | None = None,
        on_item_error: Literal["fail_fast", "continue", "collect"] = "fail_fast",
        **options: Unpack[Calling],
    ) -> Self:
        """Does `work` once per item of the list at `over`; the results go to `into`, in the items' order.

        `work` is a function, `module:qualname`, an agent (asked with the item as its prompt), a node, or a graph; it
        finds `item` and `index` in its state, and with `inputs` nothing else but those; functions are handed the list
        itself only if `inputs` asks for it. A result is the key `collect`
        of what the work leaves behind, by default an agent's or tool's output, or else all that was written. Retry and
        timeouts are for each call.
        """
        calling = {
            "retry": options.pop("retry", None),
            "timeout": options.pop("timeout", None),
            "idle_timeout": options.pop("idle_timeout", None),
        }
        placed = {
            "over": over,
            "into": into,
            "inputs": None if inputs is None else dict(inputs),
            "max_concurrency": max_concurrency,
            "on_item_error": on_item_error,
            **fields_of(options),
        }
        if isinstance(work, Draft | Graph):
            for option, value in calling.items():
                if value is not None:
                    raise _no_effect(name, option)
            return self._put(name, Inner(MapNode, work, {**placed, "collect": collect}))
        inner, result = _alone(name, work, calling)
        return self._put(name, Inner(MapNode, inner, {**placed, "collect": collect or result}))

    def compensate(self, source: str, fn: Function | str) -> Self:
        """What undoes source if the run fails or is cancelled after it completed; the newest is undone first.

        It gets the state as source left it, with `error`, and is retried until it succeeds or its attempts are used up.
        """
        self._undo[source] = fn
        return self


def _spec_of(agent: AgentSpec | Specified | str, where: str) -> AgentSpec:
    if isinstance(agent, str):
        return checked(AgentSpec, {"model": agent}, where)
    return agent if isinstance(agent, AgentSpec) else agent.spec()


def _alone(
    name: str,
    work: Function | AgentSpec | Specified | AgentNode | ToolNode | str,
    calling: Mapping[str, object],
) -> tuple[Draft, str | None]:
    """A graph of one node, and the key of its result."""
    graph, where = Draft(name), f"nodes.{name}"
    given = {key: value for key, value in calling.items() if value is not None}
    match work:
        case AgentNode() | ToolNode():
            node = checked(type(work), {**dict(work), **given}, where)
            return graph._put(name, node), node.output or name  # noqa: SLF001  # another of us
        case AgentSpec() | Specified():
            agent = work if isinstance(work, AgentSpec) else work.spec()
            fields = {"agent": agent, "prompt": "{{item}}", **given}
            if isinstance(work, Equipped):
                graph._agents[name] = work  # noqa: SLF001
            return graph._put(name, checked(AgentNode, fields, where)), name  # noqa: SLF001
        case _:
            return graph._function(name, work, given), None  # noqa: SLF001


def _no_effect(name: str, option: str) -> InvalidInput:
    return InvalidInput(
        "graph.no_effect",
        f"node {name} runs a graph, where {option} would have no effect",
        where=f"nodes.{name}.{option}",
        fix=f"give {option} to the nodes inside, or make the subgraph detached",
    )
