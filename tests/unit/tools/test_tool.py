"""`@tool`: a function becomes what a model can call, and nothing reaches it unchecked."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from datetime import date
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, JsonValue

from partsong.contracts.errors import InvalidInput, Problem
from partsong.tools import NodeContext, Tool, tool


class Place(BaseModel):
    city: str
    country: str = "DE"


class Unit(enum.Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


@tool(side_effect="read", timeout=5, retries=2, concurrency=3)
def forecast(
    place: Place,
    day: date,
    unit: Unit = Unit.CELSIUS,
    hours: Annotated[list[int], Field(max_length=3)] = [],  # noqa: B006
) -> str:
    """Say what the weather will be.

    Nobody has ever been disappointed.

    Args:
        place: Where.
        day (date): When,
            as a date.
        unit: How to count.

    Returns:
        Words.
    """
    return f"{place.city} {day:%d.%m.} {unit.name} {hours}"


CONTEXT = NodeContext("r_1", "n", 1, "r_1/n:1", lambda _: None)


def called(a_tool: Tool[..., object], args: JsonValue) -> object:
    return a_tool.bind(args).call(CONTEXT)


def offered(a_tool: Tool[..., object]) -> list[str]:
    properties = a_tool.spec().parameters["properties"]
    assert isinstance(properties, dict)
    return list(properties)


def problem(make: Callable[[], object]) -> Problem:
    with pytest.raises(InvalidInput) as caught:
        make()
    return caught.value.problem


def test_a_tool_is_still_its_function() -> None:
    assert forecast(Place(city="Ulm"), date(2026, 5, 1)) == "Ulm 01.05. CELSIUS []"


def test_the_spec_comes_from_signature_and_docstring() -> None:
    spec = forecast.spec()
    assert spec.name == "forecast"
    assert spec.description == "Say what the weather will be.\n\nNobody has ever been disappointed."
    assert spec.parameters == {
        "$defs": {
            "Place": {
                "properties": {
                    "city": {"type": "string"},
                    "country": {"default": "DE", "type": "string"},
                },
                "required": ["city"],
                "title": "Place",
                "type": "object",
            },
            "Unit": {"enum": ["C", "F"], "title": "Unit", "type": "string"},
        },
        "additionalProperties": False,
        "properties": {
            "place": {"$ref": "#/$defs/Place", "description": "Where."},
            "day": {"description": "When, as a date.", "format": "date", "type": "string"},
            "unit": {"$ref": "#/$defs/Unit", "default": "C", "description": "How to count."},
            "hours": {"default": [], "items": {"type": "integer"}, "maxItems": 3, "type": "array"},
        },
        "required": ["place", "day"],
        "type": "object",
    }


class Panic(BaseException):
    """What a library in native code may raise."""


BREAKS: BaseException = ValueError()


def breaks(_value: int) -> int:
    raise BREAKS


class Odd:
    def __str__(self) -> str:
        raise BREAKS


def odd(_value: object) -> Odd:
    return Odd()


@tool
def fussy(n: Annotated[int, AfterValidator(breaks)]) -> int:
    """Take one."""
    return n


@tool(approval="args.n > 1")
def unwritable(n: Annotated[object, AfterValidator(odd)]) -> str:
    """Take one."""
    return "taken"


BROKEN = [RuntimeError("no"), KeyError("k"), Panic("unwrap"), SystemExit(3)]


@pytest.mark.parametrize("error", BROKEN)
def test_a_check_of_the_users_that_breaks_refuses_the_arguments(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "BREAKS", error)
    with pytest.raises(InvalidInput) as raised:
        fussy.bind({"n": 1})
    assert raised.value.problem.code == "tool.invalid_arguments"
    assert type(error).__name__ in raised.value.problem.message


@pytest.mark.parametrize("error", BROKEN)
def test_a_value_that_cannot_be_written_is_asked_about(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "BREAKS", error)
    assert unwritable.bind({"n": 1}).needs_approval()


def test_arguments_arrive_as_the_types_of_the_signature() -> None:
    args: JsonValue = {
        "place": {"city": "Ulm"},
        "day": "2026-05-01",
        "unit": "F",
        "hours": ["1", 2],
    }
    assert called(forecast, args) == "Ulm 01.05. FAHRENHEIT [1, 2]"


@pytest.mark.parametrize(
    ("args", "where", "said"),
    [
        ({"day": "2026-05-01"}, "args.place", "forecast: place: Field required"),
        (
            {"place": {"city": 3}, "day": "2026-05-01"},
            "args.place.city",
            "forecast: place.city: Input should be a valid string, got 3",
        ),
        (
            {"place": {"city": "U"}, "day": "2026-05-01", "unite": "C"},
            "args.unite",
            "forecast: unite: Extra inputs are not permitted, got 'C'",
        ),
        ([1], "args", "forecast: an object is needed, got [1]"),
        (None, "args", "forecast: an object is needed, got None"),
    ],
)
def test_an_error_names_the_field_and_what_was_there(
    args: JsonValue, where: str, said: str
) -> None:
    found = problem(lambda: forecast.bind(args))
    assert found.code == "tool.invalid_arguments"
    assert found.where == where
    assert found.message == said
    assert found.fix == "forecast takes place (required), day (required), unit, hours"
    assert not found.retryable


def test_many_errors_are_counted() -> None:
    found = problem(lambda: forecast.bind({"a": 1, "b": 2, "c": 3}))
    assert found.message.endswith("and 2 more")


def test_names_that_a_model_class_has_are_fine_as_parameters() -> None:
    @tool
    def odd(json: str, copy: int, model_config: str, schema: bool = False) -> str:
        return f"{json} {copy} {model_config} {schema}"

    assert called(odd, {"json": "a", "copy": 1, "model_config": "b"}) == "a 1 b False"
    assert offered(odd) == [
        "json",
        "copy",
        "model_config",
        "schema",
    ]


def test_parameters_may_be_positional_or_by_keyword_only() -> None:
    @tool
    def mixed(a: int, /, b: int, *, c: int = 3) -> tuple[int, int, int]:
        return a, b, c

    assert called(mixed, {"a": 1, "b": 2}) == (1, 2, 3)
    assert called(mixed, {"c": 9, "b": 2, "a": 1}) == (1, 2, 9)


def test_the_context_is_handed_in_and_no_model_sees_it() -> None:
    @tool
    def keyed(order: str, context: NodeContext) -> str:
        return f"{order} {context.idempotency_key}"

    assert offered(keyed) == ["order"]
    assert called(keyed, {"order": "o"}) == "o r_1/n:1"


def test_a_tool_without_parameters_takes_an_empty_object() -> None:
    @tool
    def ping() -> str:
        return "pong"

    assert ping.spec().parameters == {
        "additionalProperties": False,
        "properties": {},
        "type": "object",
    }
    assert called(ping, {}) == "pong"
    assert problem(lambda: ping.bind({"a": 1})).fix == "ping takes no arguments"


def test_secrets_are_shown_nowhere() -> None:
    @tool(redact=("token",))
    def login(user: str, token: Literal["a", "b"]) -> None: ...

    assert login.shown({"user": "ann", "token": "hunter2"}) == {
        "user": "ann",
        "token": "[redacted]",
    }
    found = problem(lambda: login.bind({"user": "ann", "token": "hunter2"}))
    assert "hunter2" not in found.model_dump_json()
    assert (
        login.without_secrets("bad token hunter2!", {"token": "hunter2"}) == "bad token [redacted]!"
    )


@pytest.mark.parametrize(
    ("side_effect", "idempotent", "guarded"),
    [
        ("none", False, False),
        ("read", False, False),
        ("write", False, True),
        ("write", True, False),
        ("destructive", False, True),
    ],
)
def test_only_what_must_not_happen_twice_is_guarded(
    side_effect: Literal["none", "read", "write", "destructive"], idempotent: bool, guarded: bool
) -> None:
    @tool(side_effect=side_effect, idempotent=idempotent)
    def act() -> None: ...

    assert act.guarded is guarded


def test_a_tool_that_says_nothing_is_taken_to_change_the_world() -> None:
    @tool
    def act() -> None: ...

    assert act.guarded


def test_an_object_that_can_be_called_is_a_tool_by_its_class_name() -> None:
    class Greeter:
        """Greets."""

        async def __call__(self, name: str) -> str:
            return f"hello {name}"

    made = tool(Greeter())
    assert made.name == "Greeter"
    assert made.description == "Greets."
    assert made.is_async


class TestRefused:
    def test_a_parameter_without_a_type(self) -> None:
        def bad(x) -> None: ...  # type: ignore[no-untyped-def]

        found = problem(lambda: tool(bad))
        assert found.code == "tool.bad_signature"
        assert found.fix == "annotate it: `x: str`"

    def test_arguments_of_any_name(self) -> None:
        def bad(**more: int) -> None: ...

        assert problem(lambda: tool(bad)).message == "tool bad: *more may be anything"

    def test_a_type_that_json_cannot_express(self) -> None:
        def bad(x: threading_lock) -> None: ...

        assert problem(lambda: tool(bad)).code == "tool.bad_signature"

    def test_an_annotation_that_leads_nowhere(self) -> None:
        def bad(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

        assert "Nowhere" in problem(lambda: tool(bad)).message

    def test_a_name_that_providers_refuse(self) -> None:
        def fine() -> None: ...

        assert problem(lambda: tool(name="not a name")(fine)).code == "tool.bad_name"
        assert problem(lambda: tool(lambda: None)).code == "tool.bad_name"

    def test_retries_of_what_must_not_happen_twice(self) -> None:
        def pay() -> None: ...

        found = problem(lambda: tool(retries=1)(pay))
        assert found.code == "tool.bad_option"
        assert found.where == "retries"

    @pytest.mark.parametrize(
        ("where", "make"),
        [
            ("act.timeout", tool(timeout=0)),
            ("act.timeout", tool(timeout="soon")),
            ("act.approval_deadline", tool(approval_deadline="P1M")),
            ("concurrency", tool(concurrency=0)),
            ("output_cap", tool(output_cap=0)),
            ("redact", tool(redact=("x",))),
        ],
    )
    def test_an_option_that_makes_no_sense(self, where: str, make: Callable[..., object]) -> None:
        def act() -> None: ...

        assert problem(lambda: make(act)).where == where


class TestApproval:
    @staticmethod
    def pay(approval: str, **args: JsonValue) -> bool:
        @tool(approval=approval)
        def pay(amount: int, note: str | None = None, fast: bool = False) -> None: ...

        return pay.bind(args).needs_approval()

    @pytest.mark.parametrize(
        ("approval", "asked"),
        [
            ("never", False),
            ("always", True),
            ("args.amount > 100", True),
            ("args.amount > 200", False),
            ("!args.fast", True),
            ("args.fast || args.amount < 5", False),
        ],
    )
    def test_whether_a_person_must_agree_is_a_word_or_a_rule(
        self, approval: str, asked: bool
    ) -> None:
        assert self.pay(approval, amount=150) is asked

    @pytest.mark.parametrize(
        "approval", ["args.nothing == 1", "args.note == 1.5 + args.amount", "args"]
    )
    def test_a_rule_that_cannot_be_followed_asks(self, approval: str) -> None:
        assert self.pay(approval, amount=1)

    def test_a_rule_speaks_of_the_arguments_that_the_function_gets(self) -> None:
        assert self.pay("args.amount > 100", amount="150")
        assert not self.pay("args.amount > 100", amount="50")

    def test_a_rule_that_is_none_is_refused_when_the_tool_is_made(self) -> None:
        found = problem(lambda: self.pay("args.amount >", amount=1))
        assert (found.code, found.where) == ("cel.syntax", "tool pay: approval")

    def test_an_agent_may_ask_for_more_than_the_tool(self) -> None:
        bound = forecast.bind({"place": {"city": "Oslo"}, "day": "2026-01-01"})
        assert [bound.needs_approval(asks) for asks in (None, "write", "read", "none")] == [
            False, False, True, True,
        ]  # fmt: skip

    def test_models_and_people_see_the_rule(self) -> None:
        @tool(approval="args.amount > 100")
        def pay(amount: int) -> None: ...

        assert pay.spec().approval == "args.amount > 100"


class threading_lock:  # noqa: N801
    """A class that pydantic knows nothing of."""
