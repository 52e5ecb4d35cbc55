"""Cases of the functions that read what others wrote: they answer, or refuse with an error of ours, and change nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO

from partsong.cli.dot import dot
from partsong.cli.drawing import drawing
from partsong.cli.mermaid import mermaid
from partsong.cli.output import Output
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events.envelope import Commit, decode_known
from partsong.contracts.graph.conform import check_schema, check_state, findings_of
from partsong.contracts.graph.expressions import check_expression, compute
from partsong.contracts.graph.templates import render_value
from partsong.contracts.graph.validate import parse_graph, problems_in
from partsong.contracts.plain import plain
from partsong.contracts.state.explained import explained
from partsong.contracts.state.fold import fold_message
from partsong.contracts.state.state import RunState
from partsong.contracts.wire.placement import placed
from partsong.contracts.wire.requests import RunRequest, parse_request
from partsong.contracts.wire.subjects import Subjects
from partsong.engine.commands.options import check_options
from partsong.engine.decide import decide
from partsong.graph_engine.door import MAX_BODY, request_id
from partsong.runtime.evaluation.evaluator import evaluate
from partsong.runtime.visible import visible
from tests.fuzz import specs
from tests.fuzz.draw import Draw
from tests.fuzz.judge import STEERING, Refused, attempt, problem, refusal, tells
from tests.fuzz.records import RUN, history, odd_body, odd_subject
from tests.support.scenario import NOW

__all__ = ["cel", "graph", "record", "request", "schema", "text", "value"]


def request(draw: Draw) -> Iterator[str]:
    """Bytes at the door, as far as it needs no log."""
    verb = draw.one(specs.VERBS) if draw.chance(0.95) else draw.text()
    body = draw.body(specs.request(draw, verb, "q", "r_1"))
    headers = {"Nats-Msg-Id": draw.one(("m1", draw.text()))} if draw.chance(0.5) else {}
    found = attempt(partial(parse_request, verb, body))
    yield from refusal(found)
    id_ = request_id(body, headers)
    if _legible(body) and id_ != "q":
        yield f"its id is q, the answer would go to {id_!r}"
    if isinstance(found, Refused) or len(body) > MAX_BODY:
        return
    json.loads(found.model_dump_json())
    if isinstance(found, RunRequest) and not isinstance(found.graph, str):
        read = attempt(partial(parse_graph, found.graph))
        yield from refusal(read)
        yield from refusal(attempt(partial(check_options, "r_1", found.options)))
        if not isinstance(read, Refused):
            check = partial(check_state, read.state_schema, found.input, evaluate)
            yield from refusal(attempt(check))


def _legible(body: bytes) -> bool:
    """Whether anybody would say that the id is q."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(raw, dict) and raw.get("id") == "q"


def graph(draw: Draw) -> Iterator[str]:
    """A graph's spec, as a file or a client has it."""
    spec = specs.graph(draw)
    if draw.chance(0.5):
        changed = draw.changed(spec, draw.count(1, 3))
        spec = changed if isinstance(changed, dict) else spec
    read, listed = attempt(partial(parse_graph, spec)), attempt(partial(problems_in, spec))
    yield from refusal(read)
    if isinstance(listed, Refused):
        yield f"what is wrong with it cannot be listed: {listed.problem.code}"
        return
    for said in listed:
        yield from problem(said)
    if isinstance(read, Refused) != bool(listed):
        yield f"it is refused: {isinstance(read, Refused)}, and there are {len(listed)} problems"
    if isinstance(read, Refused):
        return
    if parse_graph(read.spec()).hash != read.hash:
        yield "its own spec is another graph"
    yield from tells(read.spec(), "its spec")
    drawn = drawing(read, expand=True)
    for picture in (mermaid(drawn), dot(drawn, "fuzz")):
        if STEERING.search(visible(picture)):
            yield f"its diagram steers a terminal: {picture!r:.200}"


class _Rude:
    """No JSON, and it says so loudly."""

    def __repr__(self) -> str:
        raise ValueError("no text for you")

    __str__ = __repr__

    def __eq__(self, _other: object) -> bool:
        raise RuntimeError("compare yourself")

    __hash__ = None  # type: ignore[assignment]


def value(draw: Draw) -> Iterator[str]:
    """What Python calls a value, at the gate."""
    given: object = draw.value()
    for _ in range(draw.count(0, 2)):
        given = draw.one(
            (
                [given], {"a": given}, {draw.one((1, None, (1, 2), b"k")): given}, (given, given), {1, 2}, b"\xff",
                range(3), iter(()), object(), _Rude(), [_Rude()], 10**5000, bytearray(b"x"), Ellipsis, complex(1, 2),
            )
        )  # fmt: skip
    if draw.chance(0.05):
        itself: list[object] = [given]
        itself.append(itself)
        given = itself
    found = attempt(lambda: plain(given, "input", "state.invalid"))
    if isinstance(found, Refused):
        yield from refusal(found)
    else:
        yield from tells(found, "what has passed the gate")


def schema(draw: Draw) -> Iterator[str]:
    """A JSON Schema, and a value that is compared with it."""
    given = specs.schema(draw)
    if isinstance(given, dict):
        yield from refusal(attempt(lambda: check_schema(given, "state_schema")))
    against = (
        specs.large(draw) if draw.chance(0.3) else draw.sane() if draw.chance(0.7) else draw.value()
    )
    found = attempt(lambda: findings_of(given, against, evaluate, most=draw.one((1, 5))))
    if isinstance(found, Refused):
        yield from refusal(found)
        return
    for place, said in found:
        yield from problem(InvalidInput("state.invalid", said, where=str(place)).problem)


def cel(draw: Draw) -> Iterator[str]:
    """An expression over a state, and a template."""
    given = specs.expression(draw)
    yield from refusal(attempt(lambda: check_expression(given, "nodes.a.set.x")))
    state = specs.calm(draw)
    if draw.chance(0.3):
        state[draw.one(("n", "x", "l"))] = draw.value()
    found = attempt(lambda: compute(given, state, evaluate=evaluate))
    if isinstance(found, Refused):
        yield from refusal(found)
    else:
        json.dumps(found, allow_nan=False)
    template = f"{draw.text()}{{{{{draw.one(('n', 'l.0', 'o.a.b', 'x', 'nobody'))}}}}}{draw.text()}"
    yield from refusal(attempt(lambda: render_value({"a": [template]}, state)))


_SUBJECTS = Subjects("f")


def record(draw: Draw) -> Iterator[str]:
    """Bytes of a stranger in a run's log: no reader dies of them, and what follows can be decided."""
    state = RunState(RUN)
    for seq, body in enumerate(history(draw), start=1):
        state = fold_message(state, decode_known(body), seq)
    body, subject = odd_body(draw), odd_subject(draw, _SUBJECTS)
    yield from refusal(attempt(partial(placed, _SUBJECTS, subject, body)))
    message = attempt(partial(decode_known, body))
    yield from refusal(message)
    if isinstance(message, Refused):
        return
    if message.newer is not None:
        yield from problem(message.newer)
    folded = fold_message(state, message, 1000)
    if isinstance(message, Commit):
        return  # one that is forged is found by the chain; what it says is nobody's to decide on
    said = explained(folded)
    if not folded.ended and not said.strip():
        yield "nothing says how the run is"
    decided = attempt(lambda: decide(folded, NOW, evaluate=evaluate))
    yield from refusal(decided)


def text(draw: Draw) -> Iterator[str]:
    """Anybody's text in what the command line prints."""
    shown = attempt(lambda: plain(draw.value(1), "value", "state.invalid"))
    row = {
        draw.key(): None if isinstance(shown, Refused) else shown,
        "title": draw.text(),
        "status": draw.text(),
    }
    for form in ("table", "json", "jsonl", "yaml"):
        out, said, talk = Output(form=form), StringIO(), StringIO()
        with redirect_stdout(said), redirect_stderr(talk):
            out.rows([row], ("title", "status"))
            out.record(row, most=draw.one((None, 40)))
            out.line(row, draw.text())
            out.say(draw.text())
        printed = said.getvalue() + talk.getvalue()
        if found := STEERING.search(printed):
            yield f"as {form} it prints {found[0]!r}"
