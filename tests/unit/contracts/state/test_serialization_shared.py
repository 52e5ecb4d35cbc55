"""What many scopes see is written once in a snapshot, and is one object again when that is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import Graph
from partsong.contracts.state.fold import fold_message
from partsong.contracts.state.serialization import dump_state, load_state
from partsong.contracts.state.state import RunState, Undo
from tests.support.graphs_strategy import Example, examples
from tests.support.player import Player
from tests.support.scenario import given

INNER = {"name": "inner", "entry": "f", "nodes": {"f": {"type": "function", "function": "m:f"}}}
DOCS: Any = [{"text": f"{i} " * 500} for i in range(100)]


def wide() -> RunState:
    node = {"type": "map", "graph": INNER, "over": "docs", "into": "out"}
    graph = Graph.model_validate({"name": "wide", "entry": "m", "nodes": {"m": node}})
    state = given(graph, {"docs": DOCS}).state
    view = {"docs": state.root.settled["docs"]}
    return RunState(
        **{**vars(state), "undo": tuple(Undo(f"u:{i}", "m:u", view) for i in range(100))}
    )


def test_a_list_is_written_once_for_all_its_items() -> None:
    state = wide()
    assert len(state.scopes) > 100
    once, size = len(json.dumps(DOCS)), len(json.dumps(dump_state(state, shared=True)))
    assert size < 2 * once + 100 * 3_000  # the list, and each item's own
    assert len(json.dumps(dump_state(state))) > 100 * once


def test_what_was_shared_is_shared_again() -> None:
    state = load_state("r_1", json.loads(json.dumps(dump_state(wide(), shared=True))))
    assert state == wide()
    views = [*(scope.settled for scope in state.scopes.values()), *(u.view for u in state.undo)]
    assert len({id(view["docs"]) for view in views}) == 1


@settings(max_examples=50)
@forall(examples(), st.integers(0, 1000))
def test_every_state_comes_back_from_its_snapshot(example: Example, seed: int) -> None:
    state = RunState("r_1")
    for seq, message in enumerate(Player.start(example, seed).play().log, 1):
        state = fold_message(state, message, seq)
        data = json.loads(json.dumps(dump_state(state, shared=True)))
        if "" in state.scopes:
            assert load_state("r_1", data) == state


@pytest.mark.parametrize("damage", [{"values": []}, {"scopes": {}}, {"undo": []}, {"values": None}])
def test_a_snapshot_with_damaged_shared_values_is_refused(damage: dict[str, Any]) -> None:
    data: Any = dump_state(wide(), shared=True)
    data["shared"].update(damage)
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_state("r_1", data)
