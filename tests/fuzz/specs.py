"""What callers and authors write: expressions, schemas, graphs and requests; valid ones, odd ones, and changed ones."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

from pydantic import JsonValue

from partsong.contracts.graph.graph import ReducerName
from tests.fuzz.draw import Draw

__all__ = ["STEP", "VERBS", "calm", "expression", "graph", "large", "request", "schema"]

Spec = dict[str, JsonValue]

STEP = "tests.fuzz.work:step"
VERBS = ("run", "cancel", "pause", "resume", "signal", "fork", "retry", "schedule", "unschedule")

# --- CEL ----------------------------------------------------------------------------------------------------------

_PLAIN_CEL = (
    "1", "true", "state", "state.n", "state.n + 1", "state.x == 'a'", "has(state.x)", "size(state.l)", "state.l[0]", "'a' + 'b'",
    "state.n > 1 ? 'many' : 0", "double(state.n) * 1.5", "state.x.startsWith('a')", "state.o.a.b", "int('7')", "[1, 2, 'a']",
    "{'a': state.n}", "timestamp('2026-01-01T00:00:00Z')", "duration('90s')", "b'bytes'", "1.0 / 0.0", "1 / 0", "0x7fffffff",
    "9223372036854775807 + 1", "18446744073709551615u", "type(state)", "dyn(1)", "-state.n", "!state.flag", "\u00fc", "null",
)  # fmt: skip
_COSTLY_CEL = (
    "state.l.all(a, state.l.all(b, state.l.all(c, state.l.all(d, a + b + c + d >= 0))))",
    "state.l.map(x, state.l.map(y, state.l.map(z, x * y * z)))", "state.x.matches('(a*)*b')", "state.x.matches(state.x)",
    "'x'.matches('(x{0,200}){0,200}')", "state.l.exists_one(x, x == 1)", "state.l.filter(x, x > 2).map(x, [x, x])",
    "[1].map(x, [x, x]).map(x, x + x)",
)  # fmt: skip


def expression(draw: Draw) -> str:
    """CEL, or what somebody takes for it."""
    match draw.count(0, 11):
        case 0:
            return draw.one(_COSTLY_CEL)
        case 1:
            return "(" * (n := draw.one((3, 20, 33, 500))) + "1" + ")" * n
        case 2:
            return "1" + draw.one((" + 1", " || true", "+state.x")) * draw.one(
                (9, 200, 1500, 40_000)
            )
        case 3:
            return "!" * draw.one((2, 40, 3000)) + "true"
        case 4:
            inner = draw.one(("x", "1", "state.n"))
            for _ in range(draw.count(1, 8)):
                inner = f"state.l.{draw.one(('all', 'exists', 'map', 'filter'))}(x, {inner})"
            return inner
        case 5:
            doubled = "state.x"
            for _ in range(draw.one((2, 6, 12))):
                doubled = f"[{doubled}].map(x, x + x)[0]"
            return doubled
        case 6:
            return draw.text()
        case 7:
            text = draw.one((*_PLAIN_CEL, *_COSTLY_CEL))
            at = draw.count(0, len(text))
            return text[:at] + draw.text() + text[at + draw.count(0, 2) :]
        case 8:
            return f" {draw.one(('&&', '||', '+', '==', '?', 'in', '<'))} ".join(
                draw.some(lambda: draw.one(_PLAIN_CEL), 2, 5)
            )
        case _:
            return draw.one(_PLAIN_CEL)


# --- JSON Schema --------------------------------------------------------------------------------------------------

_PATTERNS = (
    "^a+$", "^[a-z0-9]+(?:-[a-z0-9]+)*$", "(a+)+$", "(a|a)*b", "(?=a)b", "(a)\\1", "[", "(x{0,200}){0,200}", "\\p{L}+", "\\d{1,5000}",
    "", "^(\\w+\\s?)*$", "\0", "\ud800", "((((((((a))))))))", "a{99999}",
)  # fmt: skip


def schema(draw: Draw, depth: int = 0) -> JsonValue:
    """A JSON Schema, mostly one that can be used."""
    if depth == 0 and draw.chance(0.25):
        return _doubling(draw) if draw.chance(0.6) else draw.value()
    made: Spec = {}
    for _ in range(draw.count(1, 2)):
        made |= _keyword(draw, depth)
    return draw.changed(made) if depth == 0 and draw.chance(0.3) else made


def _keyword(draw: Draw, depth: int) -> Spec:  # noqa: C901  # one case per keyword

    def inner() -> JsonValue:
        return schema(draw, depth + 1) if depth < 4 else {"type": "string"}

    match draw.count(0, 12):
        case 0:
            return {"type": draw.one(("string", "integer", "number", "array", "object", "null"))}
        case 1:
            return {"pattern": draw.one(_PATTERNS)}
        case 2:
            return {"uniqueItems": True}
        case 3:
            return {"properties": {draw.one(("a", "b", "x", "l")): inner(), draw.key(): inner()}}
        case 4:
            return {draw.one(("allOf", "anyOf", "oneOf")): draw.some(inner, 1, 3)}
        case 5:
            return {"items": inner(), "contains": inner()}
        case 6:
            return {
                "$ref": draw.one(
                    (
                        "#",
                        "#/$defs/a",
                        "#/properties/a",
                        "file:///etc/passwd",
                        "http://127.0.0.1:1/x",
                        "#/nope",
                        draw.text(),
                    )
                )
            }
        case 7:
            return {"$defs": {"a": inner(), "b": {"$ref": "#/$defs/a"}}}
        case 8:
            return {"patternProperties": {draw.one(_PATTERNS): inner()}}
        case 9:
            return {"enum": draw.some(draw.value, 0, 3)}
        case 10:
            return {"multipleOf": draw.number(), "minimum": draw.number()}
        case 11:
            return {"$id": draw.text(), "$dynamicRef": "#a", "$anchor": "a"}
        case _:
            return {"not": inner(), "if": inner(), "then": inner()}


def _doubling(draw: Draw) -> JsonValue:
    """References that double, loop, or lead into each other."""
    levels = draw.one((3, 10, 16, 40))
    word = draw.one(("allOf", "anyOf", "oneOf"))
    defs: Spec = {
        f"d{n}": {word: [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(levels)
    }
    last: Spec = draw.one(
        ({"type": "string"}, {"$ref": "#/$defs/d0"}, {"pattern": "(a+)+$"}, {"uniqueItems": True})
    )
    defs[f"d{levels}"] = last
    return {"$defs": defs, "$ref": "#/$defs/d0"}


def large(draw: Draw) -> JsonValue:
    """A value on which a careless check takes for ever."""
    many = draw.one((300, 3000, 40_000))
    match draw.count(0, 4):
        case 0:
            return [{"n": n} for n in range(many)]
        case 1:
            return "a" * many + "!"
        case 2:
            return "-".join(["abcdefgh"] * 5) + "!"
        case 3:
            return {f"k{n}": n for n in range(many)}
        case _:
            return [list(range(50)) for _ in range(many // 50)]


# --- graphs -------------------------------------------------------------------------------------------------------

_NODES = ("function", "agent", "tool", "approval", "wait", "transform", "map", "subgraph")
_REDUCERS: tuple[ReducerName, ...] = get_args(ReducerName)


def node(draw: Draw, depth: int = 0) -> Spec:
    """One node, valid in most of its parts."""
    kind = draw.one(_NODES if depth < 3 else _NODES[:6])
    made = {"type": kind, **_parts(draw, kind, depth)}
    if draw.chance(0.15):
        made["retry"] = {"attempts": draw.one((1, 2, 3)), "initial": 0}
    if draw.chance(0.1):
        made["max_visits"] = draw.one((1, 2, 0, 10**9))
    if draw.chance(0.1):
        made["join"] = draw.one(("any", "first", "all", {"n": 2}, {"n": 0}))  # type: ignore[assignment]
    return made


def _parts(draw: Draw, kind: str, depth: int) -> Spec:
    match kind:
        case "function":
            return {"function": draw.one((STEP, STEP, STEP, draw.text()))}
        case "agent":
            spec: Spec = {"model": draw.one(("scripted:echo", "scripted:summary", draw.text()))}
            if draw.chance(0.3):
                spec |= {"output_schema": schema(draw, 2), "tools": draw.some(draw.text, 0, 2)}
            return {"agent": spec, "prompt": draw.one(("{{n}}", "hello", draw.text()))}
        case "tool":
            return {
                "tool": draw.one(("calculator", draw.text())),
                "args": {"expression": draw.one(("1+1", "{{n}}", draw.text()))},
            }
        case "approval":
            return {
                "title": draw.text() or "t",
                "show": draw.some(draw.text, 0, 2),
                "editable": "x",
                "edit_schema": schema(draw, 2),
            }
        case "wait":
            return draw.one(
                (
                    {"signal": "go", "signal_schema": schema(draw, 2)},
                    {"seconds": draw.one((0.001, 5, draw.number()))},
                    {"until": draw.text()},
                )
            )
        case "transform":
            return {"set": {draw.one(("n", "x", "y", draw.text() or "k")): expression(draw)}}
        case "map":
            return {
                "graph": graph(draw, depth + 1),
                "over": draw.one(("l", "o.a", draw.text())),
                "into": draw.one(("done", draw.text())),
            }
        case _:
            return {"graph": graph(draw, depth + 1), "detached": draw.chance(0.1)}


def graph(draw: Draw, depth: int = 0) -> Spec:
    """A graph whose nodes are one behind the other, with more edges here and there."""
    names = [
        f"n{at}" if draw.chance(0.95) else draw.text()
        for at in range(draw.count(1, 4 - min(depth, 2)))
    ]
    edges: list[JsonValue] = [{"from": one, "to": other} for one, other in pairwise(names)]
    if draw.chance(0.3):
        edges.append(
            {"from": draw.one(names), "to": draw.one((*names, "END", draw.text())), **_choice(draw)}
        )
    made: Spec = {
        "name": draw.one(("fuzz", "fuzz-2", draw.text())) if draw.chance(0.2) else "fuzz",
        "nodes": {name: node(draw, depth) for name in names},
        "edges": edges,
    }
    if draw.chance(0.5):
        made["entry"] = names[0]
    if draw.chance(0.3):
        made["reducers"] = {draw.one(("n", "l", "x", draw.text())): draw.one(_REDUCERS)}
    if draw.chance(0.2):
        made["state_schema"] = {
            "type": "object",
            "properties": {draw.one(("n", "x", "l")): schema(draw, 2)},
        }
    if draw.chance(0.1):
        made["memory"] = [*draw.some(draw.text, 0, 2)]
    return made


def _choice(draw: Draw) -> Spec:
    return draw.one(
        (
            {"on": "success"},
            {"on": "failure"},
            {"when": expression(draw)},
            {"else": True},
            {"goto": True},
            {"on": draw.text()},
            {},
        )
    )


def calm(draw: Draw) -> Spec:
    """What a run may begin with: what expressions and maps look for, some of it as they want it."""
    return {
        "n": draw.one((1, 0, -3, 2.5)),
        "x": draw.one(("a", "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!")),
        "l": [*range(draw.one((3, 0, 300)))],
        "o": {"a": {"b": 1}},
    }


# --- requests -----------------------------------------------------------------------------------------------------


def request(draw: Draw, verb: str, id_: str, run_id: str) -> Spec:
    """A request's fields, valid or nearly."""
    made: Spec = {"id": id_, **_fields(draw, verb, run_id)}
    if draw.chance(0.5):
        for _ in range(draw.count(1, 2)):
            changed = draw.changed(made)
            made = changed if isinstance(changed, dict) else made
        made["id"] = made.get("id", id_)
    return made


def _fields(draw: Draw, verb: str, run_id: str) -> Spec:
    of: Spec = {"run_id": run_id if draw.chance(0.8) else draw.text()}
    match verb:
        case "run":
            options: Spec = (
                {
                    draw.one(
                        (
                            "max_steps",
                            "max_cost",
                            "deadline",
                            "labels",
                            "thread",
                            "webhook",
                            "parent",
                        )
                    ): draw.value(2)
                }
                if draw.chance(0.2)
                else {}
            )
            return {
                **(of if draw.chance(0.5) else {}),
                "graph": graph(draw),
                "input": {**calm(draw), **_hostile(draw)},
                "options": options,
            }
        case "schedule":
            return {
                "name": draw.one(("nightly", draw.text())),
                "graph": graph(draw),
                **draw.one(
                    (
                        {"every": 86400.0},
                        {"cron": "0 0 3 * * *"},
                        {"cron": draw.text()},
                        {"every": draw.number()},
                    )
                ),
            }
        case "unschedule":
            return {"name": draw.one(("nightly", draw.text()))}
        case "signal":
            return {**of, "name": draw.one(("go", draw.text())), "payload": draw.value(1)}
        case "fork":
            return {
                **of,
                "new_run_id": draw.one((f"{run_id}f", draw.text())),
                "values": _hostile(draw),
                "outputs": {"n0:1": _hostile(draw)},
            }
        case "retry":
            return {**of, "graph": draw.one((None, graph(draw)))}
        case _:
            return {**of, "reason": draw.text()}


def _hostile(draw: Draw) -> Spec:
    return {draw.one(("x", "y", draw.text())): draw.value(1)} if draw.chance(0.4) else {}
