"""One behaviour per construct of a graph. It holds in one process and on the bus."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from partsong.contracts.state.results import RunResult
from tests.system import constructs, steps
from tests.system.suite import Runner


def of(result: RunResult, kind: str) -> list[str]:
    """The executions that events of a kind are about, in order."""
    return [str(getattr(event, "exec", "")) for event in result.events if event.type == kind]


def code(result: RunResult) -> str:
    assert result.error is not None
    return result.error.code


def listed(result: RunResult, key: str) -> list[JsonValue]:
    found = result[key]
    assert isinstance(found, list)
    return found


class ConstructSuite:
    """What every runner must do."""

    async def test_subgraphs_nest_and_write_through_the_outer_reducers(
        self, runner: Runner
    ) -> None:
        result = await runner.run(constructs.nested(), {"n": 4})
        assert dict(result) == {"n": 10, "log": ["first", "count", "double", "note"]}
        assert "middle:1/inner:1/double:1" in of(result, "node.completed")

    @pytest.mark.parametrize("detached", [False, True])
    async def test_only_what_is_named_crosses_a_subgraphs_border(
        self, runner: Runner, detached: bool
    ) -> None:
        result = await runner.run(constructs.bordered(detached=detached), {"start": 4})
        assert dict(result) == {"start": 4, "result": 10}

    async def test_a_map_keeps_the_order_of_its_items(self, runner: Runner) -> None:
        result = await runner.run(constructs.squares(), {"numbers": [5, 3, 1, 4]})
        assert result["squares"] == [25, 9, 1, 16]
        assert of(result, "scope.opened") == ["each:1"] * 4
        assert set(result) == {"numbers", "squares"}

    async def test_a_map_of_a_tool_gives_what_the_tool_answers(self, runner: Runner) -> None:
        result = await runner.run(constructs.sums(), {"numbers": [1, 2], "more": 10})
        assert [str(found) for found in listed(result, "sums")] == ["11", "12"]

    async def test_what_a_failed_item_means_is_the_maps_choice(self, runner: Runner) -> None:
        numbers: list[JsonValue] = [4, 3, 8]
        collected = await runner.run(constructs.halves("collect"), {"numbers": numbers})
        first, second, third = listed(collected, "halves")
        assert (first, third) == ({"half": 2}, {"half": 4})
        assert "function.raised" in str(second)
        finished = await runner.run(constructs.halves("continue"), {"numbers": numbers})
        assert (finished.status, code(finished)) == ("failed", "function.raised")
        assert len(of(finished, "node.completed")) == 2

    async def test_a_wait_is_for_a_time_or_for_a_signal(self, runner: Runner) -> None:
        result = await runner.run(constructs.waiting(), {}, signals={"paid": {"sum": 3}})
        assert dict(result) == {"payment": {"sum": 3}}

    async def test_a_signal_that_does_not_come_is_a_timeout(self, runner: Runner) -> None:
        assert (await runner.run(constructs.impatient(), {}))["log"] == ["remind"]

    @pytest.mark.parametrize(("a", "taken"), [(200, "large"), (50, "medium"), (1, "small")])
    async def test_the_first_true_condition_is_taken_or_else_the_other(
        self, runner: Runner, a: int, taken: str
    ) -> None:
        result = await runner.run(constructs.sorting(), {"a": a, "b": 1})
        assert dict(result) == {"a": a, "b": 1, "total": a + 1, "big": a > 10, "log": [taken]}

    async def test_goto_goes_where_it_says_if_that_is_declared(self, runner: Runner) -> None:
        assert (await runner.run(constructs.jumping(), {"to": "there"}))["log"] == ["jump", "there"]
        assert code(await runner.run(constructs.jumping(), {"to": "away"})) == "node.unknown_route"

    async def test_a_loop_goes_round_until_its_condition_holds(self, runner: Runner) -> None:
        result = await runner.run(constructs.looping(), {"n": 0})
        assert (result["n"], of(result, "node.completed")[-1]) == (14, "note:1")

    async def test_an_error_edge_sees_the_error(self, runner: Runner) -> None:
        result = await runner.run(constructs.caught(), {})
        assert result.status == "completed"
        assert dict(result) == {"why": "broken: function.raised"}

    async def test_what_was_done_is_undone_the_newest_first(self, runner: Runner) -> None:
        result = await runner.run(constructs.saga(), {})
        assert result.status == "failed"
        assert of(result, "node.compensated") == ["charge:1", "reserve:1"]
        assert steps.undone.pop(result.run_id) == [
            "refund 10 for function.raised",
            "unreserve seat 3",
        ]

    async def test_a_join_of_any_goes_on_with_the_first_branch(self, runner: Runner) -> None:
        result = await runner.run(constructs.racing("any"), {})
        assert dict(result) == {"released": 1, "held": True}

    async def test_a_join_of_two_goes_on_with_the_second_branch(self, runner: Runner) -> None:
        result = await runner.run(constructs.racing(2), {})
        assert dict(result) == {"released": 1, "held": True}

    async def test_a_join_of_first_cancels_the_other_branches(self, runner: Runner) -> None:
        result = await runner.run(constructs.racing("first"), {})
        assert dict(result) == {"released": 1}
        assert of(result, "node.cancelled") == ["stuck:1"]

    async def test_overwrite_takes_the_place_of_what_was_reduced(self, runner: Runner) -> None:
        assert (await runner.run(constructs.restarting(), {}))["log"] == ["fresh", "more"]

    async def test_messages_are_replaced_and_removed_by_their_ids(self, runner: Runner) -> None:
        result = await runner.run(constructs.chatting(), {})
        assert result["chat"] == [{"id": "1", "text": "hello"}, {"text": "bye"}]

    async def test_what_does_not_fit_the_states_model_fails_the_node(self, runner: Runner) -> None:
        assert (await runner.run(constructs.modelled(), {"said": 7}))["age"] == 7
        wrong = await runner.run(constructs.modelled(), {"said": "old"})
        assert code(wrong) == "state.invalid"
        assert "age" not in wrong

    async def test_private_values_are_for_the_next_node_only(self, runner: Runner) -> None:
        result = await runner.run(constructs.whispering(), {})
        assert dict(result) == {"told": True, "heard": 7, "listened": None}

    async def test_several_updates_are_reduced_in_order(self, runner: Runner) -> None:
        assert dict(await runner.run(constructs.several(), {})) == {"log": ["one", "two"], "n": 2}

    async def test_with_continue_the_others_finish_before_the_run_fails(
        self, runner: Runner
    ) -> None:
        result = await runner.run(constructs.stubborn(), {})
        assert (result.status, code(result)) == ("failed", "function.raised")
        assert result["log"] == ["late"]
