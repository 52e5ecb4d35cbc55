"""Cases of whole runs in one process: graphs of every construct, and functions that return and raise whatever they like."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.events.envelope import decode, encode_report
from partsong.contracts.foreign.question import Evaluate
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.plain import plain
from partsong.contracts.state.explained import explained
from partsong.contracts.state.results import RunResult
from partsong.contracts.state.state import Call
from partsong.execution.core.returned import returned
from partsong.runtime.evaluation.evaluator import evaluate
from partsong.tools import tool
from partsong.workflow import Goto, NodeContext, Overwrite, Route, WorkflowGraph
from tests.fuzz import specs
from tests.fuzz.draw import Draw
from tests.fuzz.judge import Refused, attempt, problem, refusal, tells
from tests.support.scenario import Scenario

__all__ = ["deed", "outcome", "run"]

_STEPS = 40
"""So many answers a run gets; what loops is left where it is then."""


class _Played(Scenario):
    """A run whose questions are answered as an engine answers them."""

    evaluate: Evaluate = staticmethod(evaluate)


def run(draw: Draw) -> Iterator[str]:
    """A graph that is valid, with an input, results, decisions and signals of strangers."""
    read = attempt(partial(parse_graph, specs.graph(draw)))
    given = attempt(partial(_gated, {**specs.calm(draw), draw.key(): draw.value()}))
    if isinstance(read, Refused) or isinstance(given, Refused):
        return
    played = _Played(read, given)
    for _ in range(_STEPS):
        if played.state.ended or not _step(draw, played):
            break
    yield from _judged(played)


def _gated(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    found = plain(values, "input", "request.malformed")
    assert isinstance(found, dict)
    return found


def _step(draw: Draw, played: _Played) -> bool:
    """Let something happen from outside; whether there was anything to answer."""
    ready = [call for call in played.state.calls.values() if call.open]
    timers = [*played.state.timers]
    if timers and draw.chance(0.5):
        played.fires(draw.one(timers))
        return True
    if draw.chance(0.3):
        sent = attempt(lambda: plain(draw.value(1), "payload", "signal.invalid"))
        if not isinstance(sent, Refused):
            attempt(lambda: played.signals("go", sent, f"s{len(played.log)}"))
    if not ready:
        return False
    _answer(draw, played, draw.one(ready))
    return True


def _answer(draw: Draw, played: _Played, call: Call) -> Scenario:
    match call.kind:
        case "approval":
            edit = attempt(lambda: plain(draw.value(1), "edit", "approval.bad_edit"))
            edited = None if isinstance(edit, Refused) else edit
            return played.decides(call.id, draw.one(("approve", "reject")), edited=edited)
        case "function" | "tool" if draw.chance(0.8):
            try:
                found = attempt(partial(returned, _hostile_return(draw)))
            except _Panic:  # whoever makes the call takes that for its outcome; `outcome` tries it
                return played.fails(call.id, retryable=False)
            if isinstance(found, Refused):
                return played.fails(call.id, code=found.problem.code, retryable=draw.chance(0.5))
            done = played.completion(call.id, found.update, found.label, content=draw.sane())
            return played.when(done.model_copy(update={"goto": found.goto}))
        case _:
            return played.fails(call.id, retryable=draw.chance(0.3))


def _judged(played: _Played) -> Iterator[str]:
    state = played.state
    if played.refolded != state:
        yield "its log gives another state"
    if not state.ended and not explained(state).strip():
        yield "nothing says how the run is"
    if state.ended and state.status != "completed":
        yield from problem(state.error)
    yield from tells(dict(state.values), "its state")
    for event in played.log:
        body = encode_report(state.run_id, event)
        if decode(body).events != (event,):
            yield f"{event.type} is read back as another event"


# --- functions ----------------------------------------------------------------------------------------------------


class _Untold(Exception):
    """Nothing can be said of it."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class _Panic(BaseException):
    """As a library in Rust panics."""


class _Bad:
    """A value that does not like to be looked at."""

    def __getattribute__(self, name: str) -> object:
        if name.startswith("__") and name != "__dict__":
            return object.__getattribute__(self, name)
        raise _Panic(f"do not ask for {name}")

    def __repr__(self) -> str:
        raise _Panic("no text")

    __str__ = __repr__

    def __eq__(self, _other: object) -> bool:
        raise _Panic("no comparison")

    __hash__ = object.__hash__


_ERRORS: tuple[Callable[[], BaseException], ...] = (
    lambda: ValueError("plain"), _Untold, lambda: _Panic("panic"), GeneratorExit, lambda: SystemExit(3),
    lambda: StopIteration(1), StopAsyncIteration, lambda: RecursionError("deep"), MemoryError,
    lambda: asyncio.CancelledError("not mine"), TimeoutError, lambda: ExceptionGroup("g", [ValueError("in it")]),
    lambda: BaseExceptionGroup("g", [_Panic("in it")]), lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    lambda: KeyError("\ud800\0\x1b]0;x\x07"), lambda: AssertionError("x" * 100_000), lambda: InvalidInput("a.b", "\ud800"),
    lambda: OSError(28, "No space left on device"),
)  # fmt: skip


def _hostile_return(draw: Draw) -> object:
    """What a function may return, whatever its author thought."""
    match draw.count(0, 9):
        case 0:
            return Route(draw.text(), {draw.key(): draw.value(1)})
        case 1:
            return Goto(draw.one(("n0", "n1", "END", draw.text())))
        case 2:
            return {draw.key(): Overwrite(draw.value(1))}
        case 3:
            return [{draw.key(): draw.value(1)}, {draw.key(): draw.value(1)}]
        case 4:
            return draw.value()
        case 5:
            return {
                draw.key(): draw.one(
                    (_Bad(), object(), {1}, b"x", 10**5000, float("nan"), (x for x in "ab"), "a\0b")
                )
            }
        case 6:
            return draw.one((_Bad(), (x for x in "ab"), 7, "text", object, {1: 2}, [], ()))
        case 7:
            return {draw.key(): draw.nested(draw.one((90, 101, 400)))}
        case _:
            return {draw.one(("n", "x", "l")): draw.sane()}


def deed(draw: Draw) -> Callable[..., Any]:
    """A function that does one of these things, in one of these ways."""
    error = draw.one(_ERRORS) if draw.chance(0.5) else None
    value = _hostile_return(draw)

    def end() -> object:
        if error is not None:
            raise error()
        return value

    def plainly(state: dict[str, JsonValue]) -> object:
        return end()

    async def later(state: dict[str, JsonValue]) -> object:
        await asyncio.sleep(0)
        return end()

    def emits(state: dict[str, JsonValue], context: NodeContext) -> object:
        context.emit(value)  # type: ignore[arg-type]  # its author thought that anything will do
        return end()

    def awaits(state: dict[str, JsonValue]) -> Coroutine[Any, Any, object]:
        return later(state)

    def yields(state: dict[str, JsonValue]) -> Iterator[object]:
        yield end()

    ways: tuple[Callable[..., Any], ...] = (plainly, later, emits, awaits, yields)
    return draw.one(ways)


def outcome(draw: Draw) -> Iterator[str]:
    """A run of the user's own process whose function does anything."""
    made = deed(draw)
    if draw.chance(0.25):
        graph = WorkflowGraph("outcome", tools=[tool(name="odd")(_as_tool(made))])
        graph.add_tool("n0", "odd", args={"state": {}}, output="x")
    else:
        graph = WorkflowGraph("outcome").add_node("n0", made)
    done = attempt(lambda: asyncio.run(_ended(graph)))
    if isinstance(done, Refused):
        yield from refusal(done)
        return
    if done.status not in {"completed", "failed", "cancelled"}:
        yield f"the run is {done.status}"
    if done.status == "failed":
        yield from problem(done.error)
    yield from tells(dict(done.state), "its state")


def _as_tool(made: Callable[..., Any]) -> Callable[..., Any]:
    async def odd(state: dict[str, Any]) -> Any:
        """Do something odd."""
        found = made(state)
        return await found if asyncio.iscoroutine(found) else found

    return odd


async def _ended(graph: WorkflowGraph) -> RunResult:
    return await graph.execute({"n": 1})
