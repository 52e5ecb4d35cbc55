"""Signals with keys: which of several waits takes one."""

from __future__ import annotations

from typing import Any

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.serialization import dump_state, load_state
from tests.support.scenario import Scenario, given


def waits(**keys: str | None) -> Scenario:
    """A run that begins at several waits for one signal, with these keys."""
    nodes: dict[str, Any] = {"s": {"type": "transform", "set": {"order": "'A-1'", "no": "7"}}}
    for name, key in keys.items():
        nodes[name] = {"type": "wait", "signal": "paid", **({"key": key} if key else {})}
    edges = [{"from": "s", "to": name} for name in keys]
    return given(parse_graph({"name": "t", "entry": "s", "nodes": nodes, "edges": edges}))


def values(run: Scenario) -> dict[str, Any]:
    return {key: value for key, value in run.state.values.items() if key not in {"order", "no"}}


def test_a_signal_reaches_only_the_wait_of_its_key() -> None:
    run = waits(a="state.order", b="{{no}}", c=None)
    run.signals("paid", "seven", "s1", key="7")
    assert values(run) == {"b": "seven"}
    run.signals("paid", "no key", "s2")
    assert values(run) == {"b": "seven", "c": "no key"}
    run.signals("paid", "other", "s3", key="A-2")
    assert run.state.phase == "waiting"
    run.signals("paid", "mine", "s4", key="A-1")
    assert values(run) == {"a": "mine", "b": "seven", "c": "no key"}
    assert run.state.status == "completed"
    assert run.refolded == run.state


def test_signals_are_kept_in_order_until_the_wait_of_their_key_comes() -> None:
    nodes: dict[str, Any] = {
        "first": {"type": "wait", "signal": "paid", "key": "'a'"},
        "then": {"type": "wait", "signal": "paid", "key": "'b'"},
        "last": {"type": "wait", "signal": "paid", "key": "'b'"},
    }
    edges = [{"from": "first", "to": "then"}, {"from": "then", "to": "last"}]
    run = given(parse_graph({"name": "t", "entry": "first", "nodes": nodes, "edges": edges}))
    run.signals("paid", 1, "s1", key="b").signals("paid", 2, "s2", key="b")
    assert "first:1" in run.state.executions
    kept = load_state(run.state.run_id, dump_state(run.state))
    assert kept.signals == run.state.signals
    run.signals("paid", 0, "s3", key="a")
    assert dict(run.state.values) == {"first": 0, "then": 1, "last": 2}
    assert not run.state.signals


@pytest.mark.parametrize(
    ("keys", "key", "fix"),
    [
        ({"a": "state.order"}, None, "send it with the key of the wait that is meant: state.order"),
        ({"a": None}, "A-1", "leave the key out, or give the wait one"),
    ],
)
def test_one_that_no_wait_could_ever_take_is_refused(
    keys: dict[str, str | None], key: str | None, fix: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        waits(**keys).signals("paid", 1, key=key)
    assert (refused.value.problem.code, refused.value.problem.fix) == ("signal.key", fix)


@pytest.mark.parametrize("key", ["state.nothing", "{{nothing}}", "[1]", "true", "''", "0.5"])
def test_a_key_that_is_none_fails_the_node(key: str) -> None:
    error = waits(a=key).state.error
    assert error is not None
    assert error.where == "nodes.a.key"


def test_a_key_belongs_to_a_signal_and_must_be_cel() -> None:
    with pytest.raises(InvalidInput, match="belong to a signal"):
        parse_graph({"name": "t", "nodes": {"w": {"type": "wait", "seconds": 1, "key": "'a'"}}})
    node = {"type": "wait", "signal": "paid", "key": "state."}
    with pytest.raises(InvalidInput) as refused:
        parse_graph({"name": "t", "nodes": {"w": node}})
    assert refused.value.problem.where == "nodes.w.key"
