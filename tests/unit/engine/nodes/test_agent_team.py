"""What agents do beyond answering: graphs and other agents as tools, handing over, conversations, budgets, stand-ins."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.serialization import dump_state, load_state
from partsong.contracts.talk.messages import (
    MESSAGES,
    AssistantMessage,
    TextPart,
    ToolCallPart,
    ToolMessage,
    UserMessage,
)
from partsong.contracts.wire.work import TurnWork
from partsong.engine.work.hints import work_of
from tests.support.scenario import Scenario, given

ECHO = "scripted:echo"


def one(node: Mapping[str, object] | None = None, **spec: object) -> Graph:
    agent = {"model": ECHO, "tools": ["look"], **spec}
    nodes = {"a": {"type": "agent", "agent": agent, "prompt": "{{q}}", **(node or {})}}
    return parse_graph({"name": "t", "nodes": nodes})


def answers(
    run: Scenario, call_id: str, *parts: TextPart | ToolCallPart, **usage: float
) -> Scenario:
    call = run.state.calls[call_id]
    calls = any(isinstance(part, ToolCallPart) for part in parts)
    spent = e.TurnUsage.model_validate({"input_total": 10, "output_total": 5, **usage})
    return run.when(
        e.AgentTurnCompleted(
            id=f"{run.state.run_id}.{call.id}.{call.attempt}.closed",
            call_id=call.id,
            attempt=call.attempt,
            message=AssistantMessage(parts=parts),
            stop="tool_calls" if calls else "stop",
            provider="scripted",
            model="echo",
            usage=spent,
        )
    )


def says(run: Scenario, call_id: str, text: str, **usage: float) -> Scenario:
    return answers(run, call_id, TextPart(text=text), **usage)


def breaks(
    run: Scenario,
    call_id: str,
    code: str,
    *,
    retryable: bool = False,
    hint: float | None = None,
    **usage: float,
) -> Scenario:
    call = run.state.calls[call_id]
    return run.when(
        e.AgentTurnFailed(
            id=f"{run.state.run_id}.{call.id}.{call.attempt}.closed",
            call_id=call.id,
            attempt=call.attempt,
            error=Problem(code=code, message="no", retryable=retryable, fault="provider"),
            retry_after=hint,
            usage=e.TurnUsage.model_validate(usage),
        )
    )


def calls(name: str, id: str = "p0", **args: JsonValue) -> ToolCallPart:
    return ToolCallPart(id=id, name=name, args=args)


def hint(run: Scenario, call_id: str) -> TurnWork:
    work = work_of(run.state, run.state.calls[call_id])
    assert isinstance(work, TurnWork)
    return work


def error(run: Scenario) -> str:
    assert run.state.error is not None
    return run.state.error.code


def last_message(run: Scenario) -> ToolMessage:
    message = run.state.executions["a:1"].messages[-1]
    assert isinstance(message, ToolMessage)
    return message


# --- tools that are not there, loops and limits -----------------------------------------------------------------------


def test_a_tool_the_model_made_up_is_never_called_and_the_model_is_told_which_there_are() -> None:
    run = given(one(), {"q": "x"})
    answers(run, "a:1/t1", calls("delete_everything")).then("agent.turn.requested a:1/t2")
    assert last_message(run).is_error
    assert last_message(run).text == (
        "tool.not_offered: there is no tool 'delete_everything'; there are: look"
    )


def test_the_same_call_with_the_same_result_beyond_the_limit_is_a_loop() -> None:
    run = given(one(repeats=2), {"q": "x"})
    for turn in (1, 2, 3):
        answers(run, f"a:1/t{turn}", calls("look", at="sky"))
        run.completes(f"a:1/t{turn}/c0", content="blue")
    assert error(run) == "agent.loop"


def test_a_model_that_repeats_itself_is_warned_before_it_is_stopped() -> None:
    run = given(one(repeats=1), {"q": "x"})
    for turn in (1, 2):
        answers(run, f"a:1/t{turn}", calls("look")).completes(f"a:1/t{turn}/c0", content="same")
    told = hint(run, "a:1/t3").messages[-1]
    assert isinstance(told, UserMessage)
    assert "ends the task" in told.text
    answers(run, "a:1/t3", calls("look")).completes("a:1/t3/c0", content="same")
    assert error(run) == "agent.loop"
    assert run.refolded == run.state


def test_a_model_that_makes_tools_up_is_told_which_there_are_and_then_stopped() -> None:
    run = given(one(), {"q": "x"})
    for turn in (1, 2, 3):
        answers(run, f"a:1/t{turn}", calls(f"made_up_{turn}"))
    told = hint(run, "a:1/t4").messages[-1]
    assert isinstance(told, UserMessage)
    assert "There are: look" in told.text
    answers(run, "a:1/t4", calls("made_up_4"))
    assert error(run) == "agent.unknown_tools"
    assert run.refolded == run.state


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("max_turns", "agent.max_turns"),
        ("max_total_tokens", "agent.max_total_tokens"),
        ("max_cost", "agent.max_cost"),
    ],
)
def test_with_nothing_to_spend_no_turn_is_asked_for(field: str, code: str) -> None:
    spec: dict[str, object] = {"model": ECHO, field: 0}
    node = {"type": "agent", "agent": spec, "prompt": "{{q}}"}
    run = given(parse_graph({"name": "t", "nodes": {"a": node}}), {"q": "x"})
    assert error(run) == code
    assert not run.state.calls


@pytest.mark.parametrize("options", [e.RunOptions(max_cost=0), e.RunOptions(max_steps=0)])
def test_a_run_with_nothing_to_spend_ends_before_it_asks(options: e.RunOptions) -> None:
    run = Scenario(one(), {"q": "x"}, options=options).stands("limit_exceeded")
    assert not run.state.calls


def test_polling_is_no_loop_as_long_as_the_results_differ() -> None:
    run = given(one(repeats=1), {"q": "x"})
    for turn in (1, 2, 3):
        answers(run, f"a:1/t{turn}", calls("look"))
        run.completes(f"a:1/t{turn}/c0", content=turn)
    says(run, "a:1/t4", "done").stands("completed")


def test_tool_calls_beyond_the_limit_are_not_made() -> None:
    run = given(one(max_tool_calls=1), {"q": "x"})
    answers(run, "a:1/t1", calls("look"), calls("look", "p1"))
    assert error(run) == "agent.max_tool_calls"
    assert not any(event.type == "call.requested" for event in run.log)


def test_a_turn_is_told_what_the_agent_has_left_and_none_is_asked_for_with_nothing_left() -> None:
    run = given(one(max_total_tokens=40, max_cost=1.0), {"q": "x"})
    assert hint(run, "a:1/t1").allowance == e.Allowance(tokens=40, cost=1.0)
    answers(run, "a:1/t1", calls("look"), cost=0.25).completes("a:1/t1/c0", content=1)
    assert hint(run, "a:1/t2").allowance == e.Allowance(tokens=25, cost=0.75)
    answers(run, "a:1/t2", calls("look"), output_total=100, cost=0.25)
    run.completes("a:1/t2/c0", content=2)
    assert error(run) == "agent.max_total_tokens"


def test_a_cost_limit_cannot_be_kept_when_the_price_is_unknown() -> None:
    run = given(one(max_cost=1.0), {"q": "x"})
    answers(run, "a:1/t1", calls("look")).completes("a:1/t1/c0", content=1)
    assert error(run) == "agent.cost_unknown"


# --- a budget that parallel agents share ------------------------------------------------------------------------------


def two() -> Graph:
    agent = {"type": "agent", "agent": {"model": ECHO, "tools": ["look"]}, "prompt": "hi"}
    nodes = {"s": {"type": "transform", "set": {"n": "1"}}, "a": agent, "b": agent}
    edges = [{"from": "s", "to": "a"}, {"from": "s", "to": "b"}]
    return parse_graph({"name": "t", "nodes": nodes, "edges": edges})


def shared(limit: float) -> Scenario:
    return Scenario(two(), {}, options=e.RunOptions(max_cost=limit))


def reserved(run: Scenario) -> float:
    return sum(call.allowance.cost or 0.0 for call in run.state.calls.values() if call.open)


def test_parallel_agents_set_aside_no_more_than_the_run_has() -> None:
    run = shared(1.0)
    assert reserved(run) == pytest.approx(1.0)
    assert hint(run, "a:1/t1").allowance.cost == pytest.approx(0.5)
    assert hint(run, "b:1/t1").allowance.cost == pytest.approx(0.5)


def test_what_a_turn_did_not_use_is_there_for_the_next() -> None:
    run = shared(1.0)
    answers(run, "a:1/t1", calls("look"), cost=0.1).completes("a:1/t1/c0", content=1)
    assert hint(run, "a:1/t2").allowance.cost == pytest.approx(0.4)
    assert reserved(run) == pytest.approx(0.9)


def test_a_turn_waits_while_the_others_have_set_aside_all_that_is_left() -> None:
    run = shared(1.0)
    answers(run, "a:1/t1", calls("look"), cost=0.5).completes("a:1/t1/c0", content=1).then()
    says(run, "b:1/t1", "done", cost=0.2).then("agent.turn.requested a:1/t2", "node.completed b:1")
    assert 0 < reserved(run) <= 0.3
    assert run.refolded == run.state


def test_a_run_that_has_spent_all_ends_with_limit_exceeded_and_can_be_retried_with_more() -> None:
    run = shared(1.0)
    breaks(run, "a:1/t1", "agent.max_cost", cost=0.5).then()
    breaks(run, "b:1/t1", "agent.max_cost", cost=0.5)
    assert (run.state.status, error(run)) == ("limit_exceeded", "run.max_cost")
    run.retries(options=e.RunOptions(max_cost=3.0))
    assert reserved(run) == pytest.approx(2.0)


def test_a_turn_cut_off_by_the_agents_own_limit_fails_the_node() -> None:
    run = given(one(max_total_tokens=100), {"q": "x"})
    breaks(run, "a:1/t1", "agent.max_total_tokens", input_total=10, output_total=90)
    assert error(run) == "agent.max_total_tokens"


# --- stand-ins and repairs --------------------------------------------------------------------------------------------


def test_a_model_that_fails_for_good_is_replaced_and_the_next_turns_stay_with_its_stand_in() -> (
    None
):
    run = given(one(fallbacks=["openai:b", "google:c"]), {"q": "x"})
    breaks(run, "a:1/t1", "provider.auth").then("agent.turn.requested a:1/t1")
    assert (hint(run, "a:1/t1").agent.model, run.state.calls["a:1/t1"].attempt) == ("openai:b", 2)
    answers(run, "a:1/t1", calls("look")).completes("a:1/t1/c0", content=1)
    assert hint(run, "a:1/t2").agent.model == "openai:b"


def test_a_stand_in_has_all_attempts_of_the_policy_for_itself() -> None:
    retry = {"attempts": 2, "initial": 0, "jitter": 0}
    run = given(one({"retry": retry}, fallbacks=["openai:b"]), {"q": "x"})
    asked = [hint(run, "a:1/t1").agent.model]
    while not run.state.ended:
        breaks(run, "a:1/t1", "provider.server", retryable=True)
        if not run.state.ended:
            asked.append(hint(run, "a:1/t1").agent.model)
    assert asked == [ECHO, ECHO, "openai:b", "openai:b"]
    assert error(run) == "provider.server"


def test_an_open_breaker_is_not_waited_for_if_another_model_can_stand_in() -> None:
    run = given(one(fallbacks=["openai:b"]), {"q": "x"})
    breaks(run, "a:1/t1", "provider.breaker_open", retryable=True)
    assert hint(run, "a:1/t1").agent.model == "openai:b"


@pytest.mark.parametrize(
    ("asked_for", "patience", "model"),
    [
        (3600.0, None, "openai:b"),
        (100.0, None, None),
        (100.0, 60.0, "openai:b"),
        (1.0, 0, "openai:b"),
        (3600.0, "2h", None),
    ],
)
def test_a_hint_longer_than_the_agents_patience_brings_in_the_stand_in(
    asked_for: float, patience: float | str | None, model: str | None
) -> None:
    graph = one(fallbacks=["openai:b"], patience=120 if patience is None else patience)
    run = given(graph, {"q": "x"})
    breaks(run, "a:1/t1", "provider.rate_limited", retryable=True, hint=asked_for)
    if model is None:
        assert run.state.timers["a:1/t1/r1"].purpose == "retry"
    else:
        assert hint(run, "a:1/t1").agent.model == model
    assert run.refolded == run.state


def test_a_long_hint_is_waited_for_where_nobody_can_stand_in() -> None:
    run = given(one(), {"q": "x"})
    breaks(run, "a:1/t1", "provider.rate_limited", retryable=True, hint=3600.0)
    assert run.state.timers["a:1/t1/r1"].at == "2026-01-01T01:00:00.000Z"


def test_a_key_that_was_refused_is_not_shown_again_for_another_model() -> None:
    line = ["openai-chat:b", "openai:c", "anthropic:d"]
    run = given(one(model="openai:a", fallbacks=line), {"q": "x"})
    breaks(run, "a:1/t1", "provider.auth")
    assert hint(run, "a:1/t1").agent.model == "anthropic:d"
    assert error(breaks(run, "a:1/t1", "provider.auth")) == "provider.auth"


def test_an_empty_answer_is_asked_for_again_and_then_of_another_model() -> None:
    retry = {"attempts": 2, "initial": 0, "jitter": 0}
    run = given(one({"retry": retry}, fallbacks=["openai:b"]), {"q": "x"})
    breaks(run, "a:1/t1", "agent.empty_answer", retryable=True)
    assert hint(run, "a:1/t1").agent.model == ECHO
    breaks(run, "a:1/t1", "agent.empty_answer", retryable=True)
    assert hint(run, "a:1/t1").agent.model == "openai:b"


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_an_answer_that_does_not_fit_is_sent_back_with_the_reason() -> None:
    run = given(one(output_schema=SCHEMA), {"q": "x"})
    says(run, "a:1/t1", '{"n": "many"}').then("agent.turn.requested a:1/t2")
    told = hint(run, "a:1/t2").messages[-1]
    assert isinstance(told, UserMessage)
    assert '"many" is not of type "integer"' in told.text
    says(run, "a:1/t2", '```json\n{"n": 3}\n```')
    assert run.state.values["a"] == {"n": 3}
    assert run.refolded == run.state


def test_an_answer_that_never_fits_fails_after_its_repairs() -> None:
    run = given(one(output_schema=SCHEMA, repairs=1), {"q": "x"})
    says(run, "a:1/t1", "many")
    says(run, "a:1/t2", "very many")
    assert error(run) == "agent.bad_output"


@pytest.mark.parametrize(
    ("tools", "graphs"),
    [(["final_answer"], {}), (["look", "look"], {}), ([], {"final_answer": {}})],
)
def test_a_model_is_never_offered_two_tools_of_one_name(
    tools: list[str], graphs: dict[str, object]
) -> None:
    inner = {"name": "i", "nodes": {"n": {"type": "wait", "seconds": 1}}}
    offered = {name: {"graph": inner, "description": "d", "result": "n"} for name in graphs}
    with pytest.raises(InvalidInput) as refused:
        one({"graphs": offered}, output_schema=SCHEMA, tools=tools)
    assert refused.value.problem.code == "graph.tool_twice"


# --- graphs as tools --------------------------------------------------------------------------------------------------


def supervisor(**tool: object) -> Graph:
    inner = {
        "name": "research",
        "nodes": {"r": {"type": "agent", "agent": {"model": ECHO}, "prompt": "{{input}}"}},
    }
    graphs = {
        "research": {"graph": inner, "description": "Finds things out.", "result": "r", **tool}
    }
    return one({"graphs": graphs}, tools=[])


def test_a_graph_is_offered_as_a_tool_runs_in_its_own_scope_and_its_result_goes_to_the_model() -> (
    None
):
    run = given(supervisor(), {"q": "x"})
    assert [spec.name for spec in hint(run, "a:1/t1").inner] == ["research"]
    answers(run, "a:1/t1", calls("research", input="why?"), calls("research", "p1", input="how?"))
    inner = [f"a:1/t1/c{i}/r:1/t1" for i in (0, 1)]
    assert [hint(run, id_).messages for id_ in inner] == [
        (UserMessage(text="why?"),),
        (UserMessage(text="how?"),),
    ]
    says(run, inner[1], "so")
    assert "a:1/t2" not in run.state.calls
    says(run, inner[0], "because")
    assert hint(run, "a:1/t2").messages[2:] == (
        ToolMessage(call_id="p0", name="research", content="because"),
        ToolMessage(call_id="p1", name="research", content="so"),
    )
    says(run, "a:1/t2", "done").stands("completed")
    assert run.state.values == {"q": "x", "a": "done"}
    assert run.refolded == run.state


def test_arguments_that_do_not_fit_a_graph_open_nothing_that_runs() -> None:
    run = given(supervisor(), {"q": "x"})
    answers(run, "a:1/t1", calls("research", wrong=1))
    assert [event.type for event in run.new] == [
        "scope.opened", "scope.closed", "agent.turn.requested",
    ]  # fmt: skip
    assert last_message(run).text.startswith("tool.invalid_arguments")


def test_a_graph_that_fails_is_an_error_result_for_the_model() -> None:
    run = given(supervisor(), {"q": "x"})
    answers(run, "a:1/t1", calls("research", input="why?"))
    breaks(run, "a:1/t1/c0/r:1/t1", "provider.invalid_request")
    assert last_message(run).is_error
    assert "provider.invalid_request" in last_message(run).text
    assert list(run.state.scopes) == [""]


def test_cancelling_the_run_reaches_the_graphs_its_agents_called() -> None:
    run = given(supervisor(), {"q": "x"})
    answers(run, "a:1/t1", calls("research", input="why?"))
    run.when(e.RunStopping(id="s", outcome="cancelled"))
    run.then("call.cancelled a:1/t1/c0/r:1/t1", "run.cancelled")


def test_a_run_forked_inside_a_called_graph_asks_again_there_and_ends_the_same() -> None:
    run = given(supervisor(), {"q": "x"})
    answers(run, "a:1/t1", calls("research", input="why?"))
    assert load_state("r_1", dump_state(run.state)) == run.state
    fork = Scenario.forked(run.state, 9, "r_2")
    says(fork, "a:1/t1/c0/r:1/t1", "because")
    says(fork, "a:1/t2", "done").stands("completed")


# --- handing over -----------------------------------------------------------------------------------------------------


def desk() -> Graph:
    front = {
        "type": "agent",
        "agent": {"model": ECHO, "handoffs": {"billing": "Questions about money."}},
        "prompt": "{{q}}",
        "history": "talk",
    }
    billing = {"type": "agent", "agent": {"model": ECHO}, "prompt": "{{front}}", "history": "talk"}
    return parse_graph(
        {
            "name": "t",
            "nodes": {"front": front, "billing": billing},
            "edges": [{"from": "front", "to": "billing", "on": "billing"}],
            "reducers": {"talk": "messages"},
            "memory": ["talk"],
        }
    )


def test_a_model_hands_over_by_a_tool_call_and_the_next_one_has_the_whole_conversation() -> None:
    run = given(desk(), {"q": "my bill?"})
    assert [spec.name for spec in hint(run, "front:1/t1").inner] == ["transfer_to_billing"]
    answers(run, "front:1/t1", calls("transfer_to_billing", message="She asks about her bill."))
    roles = [message.role for message in hint(run, "billing:1/t1").messages]
    assert roles == ["user", "assistant", "tool", "user"]
    says(run, "billing:1/t1", "It is 5 $.").stands("completed")
    talk = MESSAGES.validate_python(run.state.values["talk"])
    assert [message.role for message in talk] == ["user", "assistant", "tool", "user", "assistant"]
    assert run.refolded == run.state


def refunding() -> Graph:
    spec = {
        "model": ECHO,
        "tools": ["refund"],
        "handoffs": {"billing": "Money.", "boss": "Trouble."},
    }
    front = {"type": "agent", "agent": spec, "prompt": "{{q}}", "history": "talk"}
    billing = {"type": "agent", "agent": {"model": ECHO}, "prompt": "{{front}}", "history": "talk"}
    edges = [{"from": "front", "to": "billing", "on": label} for label in ("billing", "boss")]
    nodes = {"front": front, "billing": billing}
    return parse_graph(
        {"name": "t", "nodes": nodes, "edges": edges, "reducers": {"talk": "messages"}}
    )


def told_to_billing(run: Scenario) -> list[tuple[str, str, bool]]:
    messages = hint(run, "billing:1/t1").messages
    return [(m.name, m.text, m.is_error) for m in messages if isinstance(m, ToolMessage)]


def test_calls_beside_a_handoff_are_made_first_and_whoever_takes_over_reads_their_results() -> None:
    run = given(refunding(), {"q": "refund me"})
    parts = (
        ToolCallPart(id="1", name="transfer_to_billing", args={"message": "m"}),
        ToolCallPart(id="2", name="refund", args={"order": "A7"}),
        ToolCallPart(id="3", name="transfer_to_boss", args={"message": "n"}),
        ToolCallPart(id="4", name="made_up"),
        ToolCallPart(id="5", name="refund", malformed='{"order'),
    )
    answers(run, "front:1/t1", *parts).then("call.requested front:1/t1/c1")
    run.completes("front:1/t1/c1", content="refunded A7")
    told = told_to_billing(run)
    assert told[:2] == [
        ("transfer_to_billing", "handed over", False),
        ("refund", "refunded A7", False),
    ]
    assert [(name, text.partition(":")[0], bad) for name, text, bad in told[2:]] == [
        ("transfer_to_boss", "tool.not_made", True),
        ("made_up", "tool.not_offered", True),
        ("refund", "tool.malformed_arguments", True),
    ]
    assert run.refolded == run.state


def test_a_handoff_that_cannot_be_read_is_told_to_the_model() -> None:
    run = given(refunding(), {"q": "refund me"})
    parts = (ToolCallPart(id="1", name="transfer_to_billing", malformed='{"message"'),)
    answers(run, "front:1/t1", *parts).then("agent.turn.requested front:1/t2")


def test_an_answer_without_a_handoff_ends_where_it_is() -> None:
    run = says(given(desk(), {"q": "hello"}), "front:1/t1", "Hello!")
    run.stands("completed")
    assert "billing" not in run.state.values


def test_a_handoff_without_an_edge_for_it_is_refused_with_the_graph() -> None:
    with pytest.raises(InvalidInput) as refused:
        one(handoffs={"billing": "Money."})
    assert refused.value.problem.code == "graph.handoff_nowhere"


def test_a_conversation_needs_the_reducer_for_it() -> None:
    with pytest.raises(InvalidInput) as refused:
        one({"history": "talk"})
    assert refused.value.problem.code == "graph.history_reducer"


def test_a_thread_goes_on_with_the_conversation_that_its_last_run_left() -> None:
    first = says(given(desk(), {"q": "I am Ann"}), "front:1/t1", "Hello Ann!")
    talk = first.state.values["talk"]
    second = Scenario(None, run_id="r_2")
    second.when(
        e.RunStarted(
            id="r_2.started",
            graph=desk(),
            graph_hash=desk().hash,
            input={"q": "Who am I?"},
            remembered={"talk": talk},
        )
    )
    texts = [getattr(message, "text", "") for message in hint(second, "front:1/t1").messages]
    assert texts == ["I am Ann", "Hello Ann!", "Who am I?"]


# --- compaction -------------------------------------------------------------------------------------------------------


def grown(run: Scenario) -> Scenario:
    answers(run, "a:1/t1", calls("look", at="sky"), input_total=500).completes(
        "a:1/t1/c0", content="blue"
    )
    answers(run, "a:1/t2", calls("look", at="sea"), input_total=1500)
    return run.completes("a:1/t2/c0", content="green")


def test_a_conversation_beyond_its_limit_is_summed_up_before_the_next_turn() -> None:
    run = grown(given(one(compact_at=1000), {"q": "which colours?"})).then(
        "agent.turn.requested a:1/k2"
    )
    told = hint(run, "a:1/k2")
    assert told.inner == ()
    assert "Result of look: blue" in told.messages[0].text
    says(run, "a:1/k2", "The sky is blue.").then(
        "agent.conversation.compacted a:1", "agent.turn.requested a:1/t3"
    )
    first, *rest = hint(run, "a:1/t3").messages
    assert isinstance(first, UserMessage)
    assert "The sky is blue." in first.text
    assert "which colours?" in first.text
    assert [message.role for message in rest] == ["assistant", "tool"]
    says(run, "a:1/t3", "blue and green").stands("completed")
    assert run.refolded == run.state


def test_a_summary_that_nobody_gives_leaves_the_conversation_as_it_is() -> None:
    run = grown(given(one(compact_at=1000), {"q": "x"}))
    breaks(run, "a:1/k2", "provider.auth").then(
        "agent.conversation.compacted a:1", "agent.turn.requested a:1/t3"
    )
    assert len(hint(run, "a:1/t3").messages) == 5
