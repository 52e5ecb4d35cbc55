"""Functions by name, and how each wants to be called."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, JsonValue

from partsong.contracts.errors import InvalidInput, NotFound, Problem
from partsong.contracts.graph.function_results import NodeContext
from partsong.execution.core.signature import callee, source_of
from partsong.execution.functions import Functions

SHOP = """
import os
import subprocess
from functools import wraps
from json import dumps
from somewhere_else import helper

def price(state):
    return {"price": 3}

def logged(function):
    @wraps(function)
    def call(state):
        return function(state)
    return call

@logged
def total(state):
    return {"total": 4}

class Till:
    @staticmethod
    def close(state):
        return {"closed": True}

NUMBER = 3
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user's package `shop_x` with modules `triage` and `broken`, and a module it imports from."""
    package = tmp_path / "shop_x"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "triage.py").write_text(SHOP)
    (package / "broken.py").write_text("import no_such_module_x")
    (tmp_path / "somewhere_else.py").write_text("def helper(state): return {}")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield
    for name in [*sys.modules]:
        if name.partition(".")[0] in {"shop_x", "somewhere_else"}:
            del sys.modules[name]


CONTEXT = NodeContext("r_1", "n", 1, "k", lambda _: None)


def call(function: Callable[..., object], state: dict[str, JsonValue] | None = None) -> object:
    return callee(function).call(state or {}, CONTEXT)


def missing(functions: Functions, name: str) -> Problem:
    with pytest.raises(NotFound) as caught:
        functions.get(name)
    assert caught.value.problem.code == "function.not_found"
    assert caught.value.problem.where == name
    return caught.value.problem


@pytest.mark.usefixtures("shop")
class TestLoaded:
    def test_a_function_of_a_loaded_module_is_found(self) -> None:
        functions = Functions(["shop_x.triage"])
        assert functions.get("shop_x.triage:price").call({}, CONTEXT) == {"price": 3}
        assert functions.get("shop_x.triage:total").call({}, CONTEXT) == {"total": 4}
        assert functions.get("shop_x.triage:Till.close").call({}, CONTEXT) == {"closed": True}

    def test_a_submodule_of_a_loaded_package_is_imported_when_first_named(self) -> None:
        functions = Functions(["shop_x"])
        assert "shop_x.triage" not in sys.modules
        assert functions.get("shop_x.triage:price").call({}, CONTEXT) == {"price": 3}

    def test_a_module_that_is_not_loaded_is_refused_with_those_that_are(self) -> None:
        problem = missing(Functions(["shop_x.triage"]), "shop_y:price")
        assert problem.message == "no function shop_y:price: this process has shop_x.triage"
        assert problem.fix == "start the tool-runner with `--load shop_y`"
        assert not problem.retryable

    def test_a_module_whose_name_only_begins_alike_is_not_loaded(self) -> None:
        missing(Functions(["shop_x"]), "shop_xyz:price")

    def test_without_modules_the_error_says_so(self) -> None:
        assert "has no modules loaded" in missing(Functions(), "shop_x:f").message

    def test_a_name_that_is_not_there_is_answered_with_close_ones(self) -> None:
        problem = missing(Functions(["shop_x.triage"]), "shop_x.triage:pricee")
        assert problem.message.endswith("defines no function pricee; it defines price")

    @pytest.mark.parametrize(
        "name",
        [
            "os.system",
            "subprocess.run",
            "dumps",
            "helper",
            "NUMBER",
            "price.__globals__",
            "__builtins__",
            "Till.__init__",
            "",
            ".",
            "nothing.at.all",
        ],
    )
    def test_only_what_the_module_itself_defines_can_be_named(self, name: str) -> None:
        missing(Functions(["shop_x.triage"]), f"shop_x.triage:{name}")

    def test_a_module_that_cannot_be_imported_is_an_error_at_once(self) -> None:
        with pytest.raises(InvalidInput) as caught:
            Functions(["shop_x.broken"])
        assert caught.value.problem.code == "function.module_failed"
        assert "no_such_module_x" in caught.value.problem.message
        assert "`python -c 'import shop_x.broken'`" in (caught.value.problem.fix or "")

    def test_a_name_without_a_module_is_refused(self) -> None:
        missing(Functions(["shop_x.triage"]), "price")


class TestLocal:
    def test_a_given_function_goes_by_any_name(self) -> None:
        functions = Functions.local({"m:<lambda>@n": lambda state: {"seen": state}})
        assert functions.get("m:<lambda>@n").call({"a": 1}, CONTEXT) == {"seen": {"a": 1}}

    def test_a_given_object_may_be_empty(self) -> None:
        class Empty(list[str]):
            def __call__(self, state: dict[str, JsonValue]) -> str:
                return "called"

        assert Functions.local({"m:f": Empty()}).get("m:f").call({}, CONTEXT) == "called"

    def test_what_was_not_given_is_refused_with_what_was(self) -> None:
        problem = missing(Functions.local({"m:f": len}), "m:g")
        assert problem.message == "no function m:g: this process has m:f"
        assert problem.fix == "give the graph the function itself, not its name"


class Order(BaseModel):
    amount: int


class TestSignatures:
    def test_the_state_alone(self) -> None:
        assert call(lambda state: state, {"a": 1}) == {"a": 1}

    def test_nothing(self) -> None:
        assert call(lambda: "called") == "called"

    def test_a_second_positional_parameter_is_the_context(self) -> None:
        assert call(lambda _state, anything: anything) is CONTEXT

    def test_a_second_parameter_with_a_default_keeps_it(self) -> None:
        assert call(lambda _state, factor=3: factor) == 3

    def test_an_annotated_parameter_is_the_context_wherever_it_stands(self) -> None:
        def keyword(state: dict[str, JsonValue], *, ctx: NodeContext) -> object:
            return ctx

        def third(
            state: dict[str, JsonValue], factor: int = 3, ctx: NodeContext | None = None
        ) -> object:
            return (factor, ctx)

        assert call(keyword) is CONTEXT
        assert call(third) == (3, CONTEXT)

    def test_an_annotation_that_cannot_be_resolved_is_read_as_text(self) -> None:
        def odd(state: Nowhere, *, ctx: NodeContext) -> object:  # type: ignore[name-defined]  # noqa: F821
            return ctx

        assert call(odd) is CONTEXT

    def test_any_arguments(self) -> None:
        assert call(lambda *args: args, {"a": 1}) == ({"a": 1},)

    def test_a_model_is_read_from_the_state(self) -> None:
        def pay(order: Order, context: NodeContext) -> int:
            return order.amount

        assert call(pay, {"amount": 3, "other": 1}) == 3
        with pytest.raises(InvalidInput) as caught:
            call(pay, {"amount": "x"})
        assert caught.value.problem.code == "function.bad_state"
        assert caught.value.problem.where == "state.amount"

    def test_a_partial_an_object_and_a_method(self) -> None:
        class Counter:
            async def __call__(self, state: dict[str, JsonValue]) -> None: ...

            def method(self, state: dict[str, JsonValue]) -> str:
                return "method"

        assert call(functools.partial(lambda factor, state: factor, 3)) == 3
        assert call(Counter().method) == "method"
        assert callee(Counter()).is_async

    def test_a_function_that_needs_more_is_refused(self) -> None:
        with pytest.raises(InvalidInput) as caught:
            callee(lambda state, context, more: None)
        assert caught.value.problem.code == "function.bad_signature"
        assert "needs more beside" in caught.value.problem.message

    def test_the_source_is_the_users_file_behind_decorators(self) -> None:
        @functools.lru_cache
        def cached(state: str) -> None: ...

        assert source_of(cached) == __file__
        assert source_of(functools.partial(cached, "x")) == __file__
        assert source_of(len) is None
