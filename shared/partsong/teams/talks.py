"""Teams that talk: a debate with a judge, and a round in which everybody speaks in turn."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

from partsong.teams.members import Casting, Player, check_names
from partsong.workflow import END, WorkflowGraph
from partsong.workflow.options import Schema

__all__ = ["debate", "round_robin"]

_ROUND = {
    "round": "has(state.round) ? state.round + 1 : 1",
    "said": "has(state.said) ? state.said : []",
}
_SO_FAR = "Round {{round}}. What was said before, oldest first:\n{{said}}"
_DEBATER = (
    "You are {name} in a debate of {rounds} rounds with {others}. In the first round, take your position and give your "
    "best reasons. In later rounds, answer the others' strongest points, and say where they have convinced you. "
    "At most 300 words."
)
_JUDGE = (
    "You are the judge of a debate. Weigh reasons and evidence, not eloquence. "
    "Name the side whose position stands at the end, or 'none' if neither does, and say why."
)
_SPEAKER = (
    "You are {name}, in a conversation with {others}; you speak in turn. Go on from what was said, add what is missing, "
    "and do not repeat it."
)


def debate(
    members: Mapping[str, Player],
    judge: Player,
    *,
    rounds: int = 2,
    verdict: Schema | None = None,
    model: str = "",
    name: str = "debate",
) -> WorkflowGraph:
    """All members answer `question` side by side, `rounds` times, each round knowing what was `said` before; then a judge.

    The judge's `verdict` has `winner`, `reason` and `unresolved`, unless you give another schema. Two members at least.

    Raises:
        InvalidInput: `team.too_small`, `team.reserved_name`, `agent.malformed`.
    """
    check_names(members, 2, ("round", "collect", "judge", "question", "said", "verdict"))
    graph, casting = WorkflowGraph(name), Casting(model)
    graph.add_transform("round", _ROUND)
    for who, player in members.items():
        told = _DEBATER.format(name=who, rounds=rounds, others=_others(members, who))
        prompt = f"{{{{question}}}}\n\n{_SO_FAR}"
        graph.add_agent(who, casting.part(player, told=told, text=True), prompt=prompt)
    graph.add_transform("collect", {"said": f"state.said + [{', '.join(map(_line, members))}]"})
    graph.add_agent(
        "judge",
        casting.part(judge, told=_JUDGE, schema=verdict or _verdict(members)),
        prompt="{{question}}\n\nThe debate:\n{{said}}",
        output="verdict",
    )
    graph.add_parallel("round", members, join="collect")
    return graph.add_condition("collect", [(f"state.round < {rounds}", "round")], otherwise="judge")


def round_robin(
    members: Mapping[str, Player],
    *,
    rounds: int = 3,
    until: str | None = None,
    model: str = "",
    name: str = "round_robin",
) -> WorkflowGraph:
    """The members speak about `task` one after the other, `rounds` times, each knowing all that was `said` before.

    `until` ends it earlier: CEL over `state`, asked after everybody who spoke; `last` is what that one said:
    `state.last.contains("DONE")`.

    Raises:
        InvalidInput: `team.too_small`, `team.reserved_name`, `agent.malformed`, `cel.syntax`.
    """
    check_names(members, 2, ("round", "task", "said", "last", *(f"{who}_said" for who in members)))
    graph, casting, names = WorkflowGraph(name), Casting(model), list(members)
    graph.add_transform("round", _ROUND).add_edge("round", names[0])
    for who, following in zip(names, [*names[1:], "round"], strict=True):
        told = _SPEAKER.format(name=who, others=_others(members, who))
        agent = casting.part(members[who], told=told, text=True)
        graph.add_agent(who, agent, prompt=f"{{{{task}}}}\n\n{_SO_FAR}")
        heard = f"{who}_said"
        keys = {"said": f"state.said + [{_line(who)}]", "last": f'state["{who}"]'}
        graph.add_transform(heard, keys).add_edge(who, heard)
        ends = [(until, END)] if until is not None else []
        if following == "round":
            ends.append((f"state.round >= {rounds}", END))
        if ends:
            graph.add_condition(heard, ends, otherwise=following)
        else:
            graph.add_edge(heard, following)
    return graph


def _line(who: str) -> str:
    """What a member said, as CEL."""
    return f'{{"round": state.round, "by": "{who}", "says": state["{who}"]}}'


def _others(members: Mapping[str, Player], who: str) -> str:
    return ", ".join(name for name in members if name != who)


def _verdict(members: Mapping[str, Player]) -> dict[str, JsonValue]:
    schema: dict[str, JsonValue] = json.loads(_VERDICT)
    properties = schema["properties"]
    assert isinstance(properties, dict)  # noqa: S101
    return {**schema, "properties": {"winner": {"enum": [*members, "none"]}, **properties}}


_VERDICT = """
{
  "type": "object",
  "properties": {
    "reason": {"type": "string"},
    "unresolved": {"type": "array", "items": {"type": "string"}}
  },
  "required": ["winner", "reason", "unresolved"],
  "additionalProperties": false
}
"""
