"""Graph files: YAML as people mean it, and errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from partsong.cli.graph_file import parse, read_graph
from partsong.cli.graphs import load_graph
from partsong.contracts.errors import InvalidInput

TRIAGE = """\
name: triage
nodes:
  analyze:
    type: function
    function: "shop.triage:analyze"
    timeout: 30s
  answer:
    type: agent
    agent: {model: "scripted:x"}
    prompt: yes
edges:
  - {from: START, to: analyze}
  - {from: analyze, to: answer, on: question}
  - from: analyze
    to: answer
    on: off
"""


def file(tmp_path: Path, text: str, name: str = "triage.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path) -> tuple[str, str]:
    with pytest.raises(InvalidInput) as found:
        read_graph(path)
    return found.value.problem.code, (found.value.problem.where or "").removeprefix(str(path))


def test_on_and_off_and_yes_are_words(tmp_path: Path) -> None:
    graph = read_graph(file(tmp_path, TRIAGE))
    assert [edge.on for edge in graph.edges] == ["question", "off"]
    assert graph.nodes["answer"].model_dump()["prompt"] == "yes"
    assert graph.entry == "analyze"


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**9), 10**9)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.sampled_from(["on", "no", "2026-01-01", "1:30", "0x10", "012", "1_000", "=", "<<", ""])
        | st.text("abc #:-'\"\n", max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text("abc on", min_size=1), inner, max_size=3)
        ),
    )
)
def test_any_json_reads_the_same_as_json_and_as_yaml(value: JsonValue) -> None:
    text = json.dumps(value)
    assert parse(Path("x.json"), text) == value
    assert parse(Path("x.yaml"), text) == value


@pytest.mark.parametrize("word", ["on", "2026-01-01", "1:30", "0x10", "012", "1_000", ".inf"])
def test_a_plain_word_is_text_unless_json_knows_it_as_something_else(word: str) -> None:
    assert parse(Path("x.yaml"), f"key: {word}") == {"key": word}


WRONG = {
    "an unknown field": ("    timeout: 30s", "    timeouts: 30s", "graph.malformed", 6),
    "an unknown node type": ("type: agent", "type: angel", "graph.malformed", 7),
    "a field deep inside": ('{model: "scripted:x"}', "{model: none}", "graph.malformed", 9),
    "an unknown target": ("to: answer, on", "to: nobody, on", "graph.unknown_target", 13),
    "a target in a block": ("    to: answer\n", "    to: nobody\n", "graph.unknown_target", 15),
    "a duplicate key": ("    timeout: 30s", '    function: "a:b"', "file.unreadable", 6),
    "a key that is not text": ("    timeout: 30s", "    7: 30s", "file.unreadable", 6),
    "broken syntax": ("{from: START, to: analyze}", "{from: START", "file.unreadable", 13),
}


@pytest.mark.parametrize(("old", "new", "code", "line"), WRONG.values(), ids=WRONG)
def test_an_error_names_the_line(tmp_path: Path, old: str, new: str, code: str, line: int) -> None:
    assert old in TRIAGE
    found, where = refused(file(tmp_path, TRIAGE.replace(old, new, 1)))
    assert found == code
    assert where.partition(" ")[0] == f":{line}"


def test_an_error_in_json_names_the_line_too(tmp_path: Path) -> None:
    spec = parse(Path("x.yaml"), TRIAGE.replace("to: answer, on", "to: nobody, on"))
    assert isinstance(spec, dict)
    text = json.dumps(spec, indent=1)
    line = 1 + text[: text.index('"nobody"')].count("\n")
    path = file(tmp_path, text, "triage.json")
    assert refused(path)[1].partition(" ")[0] == f":{line}"
    tabbed = file(tmp_path, json.dumps(spec, indent="\t"), "triage.json")
    assert refused(tabbed)[1].partition(" ")[0] == f":{line}"
    wide = file(tmp_path, json.dumps({**spec, "x" * 2000: 1}), "triage.json")
    assert refused(wide)[1] == f" (graph.{'x' * 2000})"
    twice = file(tmp_path, '{"name": "a", "name": "b"}', "triage.json")
    assert refused(twice)[0] == "file.unreadable"
    broken = file(tmp_path, '{\n"name": }', "triage.json")
    assert refused(broken) == ("file.unreadable", ":2")


@pytest.mark.parametrize("text", ["", "just text", "- a\n- list\n"])
def test_a_file_that_holds_no_object_is_no_graph(tmp_path: Path, text: str) -> None:
    assert refused(file(tmp_path, text))[0] == "graph.malformed"


def test_a_file_that_is_not_there_is_said_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.yaml"):
        load_graph(str(tmp_path / "nowhere.yaml"))


def test_a_graph_may_be_an_attribute_of_a_module_or_a_function_that_returns_one() -> None:
    graph = load_graph("tests.system.graphs:chain")
    assert not isinstance(graph, str)
    assert graph.name == "chain"
    assert load_graph("triage") == "triage"
    assert load_graph(graph.hash) == graph.hash


@pytest.mark.parametrize("text", ["no.such.module:graph", "tests.system.graphs:nothing"])
def test_a_module_or_attribute_that_is_not_there_is_said(text: str) -> None:
    with pytest.raises(InvalidInput) as found:
        load_graph(text)
    assert found.value.problem.code == "graph.not_found"
    assert found.value.problem.where == text


def test_an_attribute_that_is_no_graph_is_said() -> None:
    with pytest.raises(InvalidInput) as found:
        load_graph("tests.system.graphs:__name__")
    assert found.value.problem.code == "graph.not_a_graph"


def test_aliases_that_write_out_to_gigabytes_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    for text in ("\n".join(lines), "a: &a [*a]"):
        (tmp_path / "bomb.yaml").write_text(text)
        with pytest.raises(InvalidInput, match="aliases"):
            read_graph(tmp_path / "bomb.yaml")


@pytest.mark.parametrize(
    ("file_name", "name"),
    [("triage.yaml", "triage"), ("my graph (2).yml", "my-graph-2"), ("é.yaml", "graph")],
)
def test_a_graph_that_does_not_say_its_name_has_that_of_its_file(
    tmp_path: Path, file_name: str, name: str
) -> None:
    found = read_graph(file(tmp_path, TRIAGE.removeprefix("name: triage\n"), file_name))
    assert found.name == name
