"""Tracebacks: what they show of foreign code, how little of it they trust, and how long they get at most."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.wire.work import FunctionWork
from partsong.execution.executor import Executor
from partsong.execution.functions import Functions
from partsong.execution.tracebacks import traceback_of
from partsong.tools import ToolRegistry, tool
from tests.unit.execution.calls import Calls, failure


def of(function: Callable[[], object]) -> str:
    try:
        function()
    except BaseException as error:
        text = traceback_of(error)
        assert text is not None
        return text
    raise AssertionError("it raised nothing")


def frames(text: str) -> int:
    return text.count('  File "')


def deep() -> None:
    raise ValueError("bad value")


def mid() -> None:
    deep()


async def test_a_function_that_raises_three_calls_deep_shows_its_own_frames_and_none_of_ours() -> (
    None
):
    error = failure(await Calls({"f": lambda _state: mid()}).function("f"))
    assert error.traceback is not None
    names = [line.rpartition(" in ")[2] for line in error.traceback.splitlines() if "File" in line]
    assert names == ["<lambda>", "mid", "deep"]
    assert "    deep()" in error.traceback
    assert error.traceback.endswith("ValueError: bad value")
    assert "partsong/execution" not in error.traceback


async def test_an_async_function_shows_its_own_frames_too() -> None:
    async def f(_state: dict[str, object]) -> None:
        await asyncio.sleep(0)
        mid()

    error = failure(await Calls({"f": f}).function("f"))
    assert error.traceback is not None
    assert frames(error.traceback) == 3
    assert "partsong/execution" not in error.traceback


def test_a_cause_comes_before_what_it_led_to() -> None:
    def f() -> None:
        try:
            deep()
        except ValueError as error:
            raise LookupError("no order") from error

    text = of(f)
    assert text.index("ValueError: bad value") < text.index("direct cause") < text.index("no order")


def test_what_was_raised_while_another_was_handled_says_so_unless_it_is_silenced() -> None:
    def f(*, silent: bool) -> None:
        try:
            deep()
        except ValueError:
            error = LookupError("no order")
            if silent:
                raise error from None
            raise error  # noqa: B904  # that is the case

    assert "During handling" in of(lambda: f(silent=False))
    alone = of(lambda: f(silent=True))
    assert "During handling" not in alone


def test_of_endless_recursion_the_beginning_and_the_end_are_shown() -> None:
    def f() -> None:
        f()

    text = of(f)
    assert frames(text) == 20
    assert "more frames]" in text
    assert "RecursionError" in text


def test_a_group_shows_what_is_in_it_and_how_much_is_left_out() -> None:
    def f() -> None:
        errors = []
        for _ in range(50):
            try:
                deep()
            except ValueError as error:
                errors.append(error)
        raise ExceptionGroup("many", errors)

    text = of(f)
    assert "ExceptionGroup: many (50 sub-exceptions)" in text
    assert "  | ValueError: bad value" in text
    assert "more are not shown)" in text
    assert frames(text) <= 20


def test_a_long_chain_of_causes_is_cut_short() -> None:
    def f() -> None:
        error: Exception | None = None
        for n in range(5000):
            after = ValueError(n)
            after.__cause__ = error
            error = after
        assert error is not None
        raise error

    text = of(f)
    assert "earlier exceptions are not shown" in text
    assert text.count("direct cause") == 2


def test_causes_that_go_in_a_circle_end() -> None:
    def f() -> None:
        one, two = ValueError(1), ValueError(2)
        one.__cause__, two.__cause__ = two, one
        raise one

    assert "ValueError: 1" in of(f)


def test_a_module_that_is_wrong_is_shown_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong_lazily.py").write_text("x = 1\ndef f(:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = of(lambda: importlib.import_module("wrong_lazily"))
    assert f'File "{tmp_path}/wrong_lazily.py", line 2' in text
    assert "def f(:" in text
    assert "frozen importlib" not in text


class Hostile(Exception):
    """Lets nothing be asked of it."""

    def __str__(self) -> str:
        raise SystemExit

    @property
    def __cause__(self) -> BaseException | None:  # type: ignore[override]  # it is hostile
        raise SystemExit

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise SystemExit


class _Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise SystemExit


class Nameless(Exception, metaclass=_Nameless):
    pass


@pytest.mark.parametrize("kind", [Hostile, Nameless], ids=["text", "name"])
async def test_what_does_not_let_itself_be_asked_is_shown_all_the_same(
    kind: type[Exception],
) -> None:
    def f(_state: object) -> None:
        raise kind

    error = failure(await Calls({"f": f}).function("f"))
    assert error.code == "function.raised"
    assert error.traceback is not None
    assert frames(error.traceback) == 1
    assert type.__dict__["__name__"].__get__(kind) in error.message


def test_texts_notes_and_all_of_it_are_bounded() -> None:
    def f() -> None:
        error = ExceptionGroup("é" * 100_000, [ValueError("\0\ud800" + "x" * 100_000)] * 9)
        for _ in range(9):
            error.add_note("n" * 100_000)
        raise error

    text = of(f)
    assert len(text.encode()) <= 8192
    assert "\0" not in text


def test_no_values_of_variables_are_shown() -> None:
    def f(password: str) -> None:
        own = password * 2
        raise ValueError(len(own))

    secret = "hunter"
    assert secret not in of(lambda: f(secret))


async def test_arguments_that_are_redacted_stay_out_however_they_are_quoted() -> None:
    @tool(redact=("key", "pin", "more"))
    def pay(key: str, pin: int, more: dict[str, list[str]]) -> str:
        """Pay."""
        error = ValueError(f"{key} {key!r} {pin} {more}")
        error.add_note(f"with {key}")
        raise error from KeyError(key)

    args: JsonValue = {"key": "se'cr\net", "pin": 47110815, "more": {"a": ["nested-one"]}}
    error = failure(await Calls(tools=(pay,)).tool("pay", args))
    assert error.traceback is not None
    for text in (error.traceback, error.message):
        for secret in ("se'cr", "se\\'cr", "47110815", "nested-one"):
            assert secret not in text
    assert "[redacted]" in error.traceback


async def test_an_error_of_ours_that_code_raises_keeps_its_code_and_has_a_traceback() -> None:
    def f(_state: object) -> None:
        raise InvalidInput("order.bad", "no such order", fix="look again")

    error = failure(await Calls({"f": f}).function("f"))
    assert (error.code, error.fix) == ("order.bad", "look again")
    assert error.traceback is not None
    assert error.traceback.splitlines()[1].endswith("in f")


async def test_what_no_code_of_the_user_was_called_for_has_none() -> None:
    assert failure(await Calls().function("nowhere")).traceback is None


async def test_a_function_whose_module_does_not_load_shows_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    package = tmp_path / "lazy_pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "late.py").write_text("raise RuntimeError('not today')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    executor = Executor(Functions(["lazy_pack"]), ToolRegistry())
    work = FunctionWork(
        run_id="r_1", call_id="n:1", node="n", function="lazy_pack.late:f", state={}
    )
    error = failure(await executor.run(work, lambda _chunk: None))
    assert error.code == "function.module_failed"
    assert error.traceback is not None
    assert "raise RuntimeError('not today')" in error.traceback
    sys.modules.pop("lazy_pack", None)
