"""Nodes: what a retry is made of, and which errors it is for."""

from __future__ import annotations

from typing import Any, cast

import pytest

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import FunctionNode, Graph, Retry
from partsong.contracts.graph.validate import check_graph

GONE = Problem(
    code="function.raised",
    message="",
    retryable=True,
    raised=("ConnectionResetError", "ConnectionError", "OSError"),
)
FINAL = Problem(code="order.refused", message="", retryable=False)


@pytest.mark.parametrize(
    ("retry", "worth"),
    [
        (Retry(), (True, False)),
        (Retry(retry_on=(ConnectionError,)), (True, False)),
        (Retry(retry_on=("order.",)), (False, True)),
        (Retry(not_on=("OSError",)), (False, False)),
        (Retry(retry_on=(OSError,), not_on=(ConnectionResetError,)), (False, False)),
    ],
)
def test_a_retry_is_for_the_errors_it_names(retry: Retry, worth: tuple[bool, bool]) -> None:
    assert (retry.worth(GONE), retry.worth(FINAL)) == worth


def test_classes_become_names_and_one_alone_is_a_list() -> None:
    retry = Retry.model_validate({"retry_on": ConnectionError, "not_on": "order.refused"})
    assert retry.model_dump(mode="json", exclude_defaults=True) == {
        "retry_on": ["ConnectionError"],
        "not_on": ["order.refused"],
    }


def test_a_class_that_is_no_exception_is_refused() -> None:
    with pytest.raises(InvalidInput, match="int is no exception"):
        Retry(retry_on=cast("Any", (int,)))


def test_a_graph_with_a_name_that_means_no_error_is_not_valid_and_still_readable() -> None:
    node = FunctionNode(function="m:f", retry=Retry(retry_on=("OSError", "connectionerror")))
    graph = Graph(name="g", entry="a", nodes={"a": node})
    with pytest.raises(InvalidInput, match="called ConnectionError") as caught:
        check_graph(graph)
    assert caught.value.problem.where == "nodes.a.retry.retry_on[1]"
    assert Graph.model_validate(graph.spec()) == graph
