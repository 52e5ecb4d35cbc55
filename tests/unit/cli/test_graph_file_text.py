"""A graph is the same whether it is built, or read from YAML or JSON, or written and read again."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from partsong.cli import yaml12
from partsong.cli.graph_file import parse
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from tests.support.graphs_strategy import Example, examples
from tests.unit.cli.rebuilt import rebuilt

WORDS = [
    "on", "off", "yes", "no", "y", "n", "else", "null", "~", "true", "=", "<<", "", "-", "---", "1e3", "1.", ".5",
    "0x10", "0o17", "012", "1_000", "1:30", "+1", ".inf", "2026-01-01", "a: b", "a #b", "{{x}}", "\x85", "\u2028", "ü",
]  # fmt: skip

texts = st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8"), max_size=8)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


def read(name: str, text: str) -> Graph:
    return parse_graph(parse(Path(name), text))


@given(values)
def test_any_json_is_read_from_yaml_as_it_was_written(value: JsonValue) -> None:
    text = yaml12.dump(value)
    assert parse(Path("x.yaml"), text) == value
    assert repr(parse(Path("x.yaml"), text)) == repr(value), "1 is not 1.0, and not True"


@given(examples())
@settings(max_examples=30)
def test_what_the_builder_gives_is_what_its_yaml_and_its_json_give(example: Example) -> None:
    graph = rebuilt(example.graph).spec()
    assert sorted_edges(graph) == sorted_edges(example.graph)
    assert read("g.yaml", yaml12.dump(graph.spec())).hash == graph.hash
    assert read("g.json", json.dumps(graph.spec())).hash == graph.hash


def sorted_edges(graph: Graph) -> object:
    """The graph as data, but for whose edges come first."""

    def plain(spec: JsonValue) -> JsonValue:
        if isinstance(spec, list):
            return [plain(part) for part in spec]
        if not isinstance(spec, dict):
            return spec
        whole = {key: plain(value) for key, value in spec.items()}
        edges = whole.get("edges")
        return {**whole, "edges": sorted(edges, key=place)} if isinstance(edges, list) else whole

    return plain(dict(graph.spec()))


def place(edge: JsonValue) -> tuple[str, int]:
    """By source, conditions last, `else` behind them."""
    assert isinstance(edge, dict)
    return str(edge["from"]), 2 if "else" in edge else 1 if "when" in edge else 0
