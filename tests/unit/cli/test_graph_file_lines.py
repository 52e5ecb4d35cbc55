"""Every kind of mistake in a graph file is found with its line: in the graph itself, in an inner one, in another file."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest

from partsong.cli.graph_file import check_graph_file, read_graph
from partsong.contracts.errors import InvalidInput

NODES = """\
nodes:
  a: {type: function, function: "m:a"}
  b: {type: function, function: "m:b"}
"""
PLAIN = f"name: t\n{NODES}edges:\n  - {{from: a, to: b}}\n"
WRONG = {
    "graph.malformed": [
        PLAIN + "nonsense: 1 # here",
        PLAIN.replace("name: t", "name: not a name # here"),
        PLAIN.replace('"m:b"', '"m:b", retries: 3') .replace("retries: 3}", "retries: 3} # here"),
        PLAIN.replace('function: "m:b"}', "tool: x} # here"),
        PLAIN.replace("type: function, function: \"m:b\"}", "type: fnction} # here"),
        PLAIN + "reducers:\n  x: append\n  y: push # here",
        PLAIN + "  - {from: a, to: b, on: 5} # here",
        PLAIN + "  - from: b # here\n    too: a\n",
        PLAIN.replace('"m:b"}', '"m:b", join: last} # here'),
        PLAIN.replace('type: function, function: "m:b"}', "type: wait, seconds: 3, signal: x} # here"),
        PLAIN.replace('type: function, function: "m:b"}', "type: transform, set: {n: 1}} # here"),
    ],
    "graph.two_entries": [PLAIN + "  - {from: START, to: a}\n  - {from: START, to: b} # here"],
    "graph.start_label": [PLAIN + "  - {from: START, to: a, on: x} # here"],
    "graph.unknown_entry": [
        PLAIN + "entry: c # here",
        PLAIN + "  - {from: START, to: c} # here",
    ],
    "graph.reserved_name": [PLAIN.replace("  b:", "  END: {type: tool, tool: x} # here\n  b:")],
    "graph.unknown_source": [PLAIN + "  - {from: c, to: b} # here"],
    "graph.unknown_target": [
        PLAIN + "  - from: a\n    on: x\n    to: c # here",
        PLAIN + "  - {from: START, to: a}\n  - {from: a, to: c} # here",
    ],
    "graph.duplicate_edge": [PLAIN + "  - {to: b, from: a} # here"],
    "graph.two_choices": [PLAIN + "  - {from: a, to: b, on: x, else: true} # here"],
    "cel.syntax": [
        PLAIN + "  - from: b\n    to: END\n    when: 1 + # here",
        PLAIN.replace(
            'type: function, function: "m:b"}', 'type: transform, set:\n    {n: "1",\n    x.y: "2 +"}} # here'
        ),
    ],
    "graph.unreachable": [PLAIN.replace("edges", "  c: {type: tool, tool: x} # here\nedges")],
    "graph.endless_cycle": [PLAIN.replace('"m:a"}', '"m:a"} # here') + "  - {from: b, to: a}\n"],
    "graph.unknown_label": [
        PLAIN.replace('type: function, function: "m:b"}', "type: tool, tool: x} # here")
        + "  - {from: b, to: END, on: good}\n"
    ],
    "graph.bad_else": [
        PLAIN.replace('"m:b"}', '"m:b"} # here') + "  - {from: b, to: END, else: true}\n"
    ],
    "graph.join_too_many": [PLAIN.replace('"m:b"}', '"m:b",\n      join: {n: 2}} # here')],
    "graph.no_effect": [
        PLAIN.replace(
            'type: function, function: "m:b"}', "type: tool, tool: x,\n      idle_timeout: 3} # here"
        )
    ],
    "graph.reducer": [PLAIN + 'reducers: # here\n  "": append'],
    "schema.invalid": [
        PLAIN + "state_schema: {type: thing} # here",
        PLAIN.replace(
            'type: function, function: "m:b"}',
            "type: wait, signal: x,\n    signal_schema: {type: thing}} # here",
        ),
    ],
}  # fmt: skip
CASES = [(code, text) for code, texts in WRONG.items() for text in texts]


def found(path: Path) -> tuple[str, str]:
    """The code and the place of the first finding, which is also what reading the graph says."""
    first = check_graph_file(path)[0]
    with pytest.raises(InvalidInput) as refused:
        read_graph(path)
    assert refused.value.problem.where == first.where
    return first.code, (first.where or "").partition(" ")[0]


def line(text: str) -> int:
    return 1 + text[: text.index("# here")].count("\n")


@pytest.mark.parametrize(("code", "text"), CASES, ids=[code for code, _ in CASES])
def test_a_mistake_is_found_with_its_line_wherever_the_graph_stands(
    tmp_path: Path, code: str, text: str
) -> None:
    path = tmp_path / "outer.yaml"
    path.write_text(text)
    assert found(path) == (code, f"{path}:{line(text)}")

    deep = f"name: m\nnodes:\n  m:\n    type: map\n    over: x\n    into: y\n    graph:\n{indent(text, ' ' * 6)}"
    nested = f"name: o\nnodes:\n  s:\n    type: subgraph\n    graph:\n{indent(deep, ' ' * 6)}"
    path.write_text(nested)
    assert found(path) == (code, f"{path}:{line(nested)}")

    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "middle.yml").write_text(deep)
    path.write_text("name: o\nnodes:\n  s: {type: subgraph, graph: parts/middle.yml}\n")
    assert found(path) == (code, f"{tmp_path}/parts/middle.yml:{line(deep)}")


def test_all_mistakes_are_found_at_once_each_with_its_file_and_place(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(PLAIN + "  - {from: a, to: c}\n  - {from: d, to: b}\n")
    path = tmp_path / "outer.yaml"
    path.write_text(
        f"name: o\n{NODES}  s: {{type: subgraph, graph: inner.yaml}}\nedges: [{{from: a, to: s}}]\n"
    )
    places = [problem.where for problem in check_graph_file(path)]
    assert places == [
        f"{path}:4 (nodes.b)",
        f"{tmp_path}/inner.yaml:7 (nodes.s.graph.edges[1].to)",
        f"{tmp_path}/inner.yaml:8 (nodes.s.graph.edges[2].from)",
    ]
    path.write_text(PLAIN)
    assert check_graph_file(path) == []


def test_a_graph_may_be_spread_over_files(tmp_path: Path) -> None:
    whole = tmp_path / "whole.yaml"
    inner = indent(PLAIN, " " * 6)
    whole.write_text(f"name: o\nnodes:\n  s:\n    type: subgraph\n    graph:\n{inner}")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "inner.yaml").write_text(PLAIN)
    parted = tmp_path / "parted.json"
    parted.write_text(
        '{"name": "o", "nodes": {"s": {"type": "subgraph", "graph": "parts/inner.yaml"}}}'
    )
    assert read_graph(parted).hash == read_graph(whole).hash


NAMES = {
    "a name instead of a file": ("triage", "graph.not_a_file", "outer.yaml:3"),
    "a file that is not there": ("no.yaml", "file.unreadable", "outer.yaml:3"),
    "a file that is no YAML": ("broken.yaml", "file.unreadable", "broken.yaml:2"),
    "the file itself": ("outer.yaml", "graph.recursive", "outer.yaml:3"),
    "a file that names it": ("back.yaml", "graph.recursive", "back.yaml:1"),
    "a file that holds no object": ("list.json", "graph.malformed", "list.json:1"),
}


@pytest.mark.parametrize(("name", "code", "where"), NAMES.values(), ids=NAMES)
def test_a_file_that_cannot_be_the_inner_graph_is_said(
    tmp_path: Path, name: str, code: str, where: str
) -> None:
    (tmp_path / "broken.yaml").write_text("name: x\nnodes: {a")
    (tmp_path / "back.yaml").write_text(
        '{"name": "b", "nodes": {"x": {"type": "map", "graph": "outer.yaml"}}}'
    )
    (tmp_path / "list.json").write_text("[]")
    path = tmp_path / "outer.yaml"
    path.write_text(f"name: o\nnodes:\n  s: {{type: subgraph, graph: {name}}}\n")
    with pytest.raises(InvalidInput) as caught:
        read_graph(path)
    problem = caught.value.problem
    assert (problem.code, (problem.where or "").partition(" ")[0]) == (code, f"{tmp_path}/{where}")


EVERYTHING = """\
name: not a name
reducers: {notes: append, sum: push}
state_schema: {type: objct}
nodes:
  a: {type: function, function: "m:a", retries: 3}
  b: {type: transform, set: {n: "1 +", m: "2", k: "(("}}
  c: {type: tool}
  d: {type: wait, signal: paid, key: "state.", signal_schema: {type: string, pattern: "(["}}
  e: {type: tool, tool: x}
  f: {type: subgraph, graph: inner.yaml}
  g: {type: subgraph, graph: nowhere.yaml}
  h: {type: fnction}
edges:
  - {from: a, to: b, when: "state.x >"}
  - {from: a, to: zzz}
  - {from: b, to: c, on: 5}
  - {from: c, to: d}
  - {from: d, to: f}
  - {from: f, to: g}
  - {from: g, to: h}
"""
INNER = """\
name: inner
nodes:
  x: {type: map, over: l, into: o, graph: {name: i, nodes: {y: {type: transform, set: {z: "1 +"}}, w: {type: tool, tool: t, tool2: u}}}}
edges:
  - {from: x, to: q}
"""


def test_mistakes_of_every_kind_are_named_at_once_each_with_its_line(tmp_path: Path) -> None:
    """Of shape, structure, expressions, patterns, references, reachability and reducers; in inner graphs and files."""
    path = tmp_path / "outer.yaml"
    path.write_text(EVERYTHING)
    (tmp_path / "inner.yaml").write_text(INNER)
    problems = check_graph_file(path)
    places = {
        (p.code, (p.where or "").removeprefix(f"{tmp_path}/").partition(" ")[0]) for p in problems
    }
    assert places == {
        ("file.unreadable", "outer.yaml:11"),
        ("graph.malformed", "outer.yaml:1"),
        ("graph.malformed", "outer.yaml:2"),
        ("schema.invalid", "outer.yaml:3"),
        ("graph.malformed", "outer.yaml:5"),
        ("cel.syntax", "outer.yaml:6"),
        ("graph.malformed", "outer.yaml:7"),
        ("cel.syntax", "outer.yaml:8"),
        ("schema.invalid", "outer.yaml:8"),
        ("graph.unreachable", "outer.yaml:9"),
        ("graph.malformed", "outer.yaml:12"),
        ("cel.syntax", "outer.yaml:14"),
        ("graph.unknown_target", "outer.yaml:15"),
        ("graph.malformed", "outer.yaml:16"),
        ("cel.syntax", "inner.yaml:3"),
        ("graph.malformed", "inner.yaml:3"),
        ("graph.unreachable", "inner.yaml:3"),
        ("graph.unknown_target", "inner.yaml:5"),
    }
    with pytest.raises(InvalidInput) as refused:
        read_graph(path)
    assert list(refused.value.problems) == problems
    assert str(refused.value).count("cel.syntax") == 5
