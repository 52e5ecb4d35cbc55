"""Teams that pass work on: a supervisor whose members are its tools, and members that hand a conversation over."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import Graph
from partsong.teams.members import Casting, Member, Player, about, check_names, player_of
from partsong.workflow import WorkflowGraph

__all__ = ["handoff", "supervisor"]

_LEADER = (
    "You lead a team, which you call as tools. Give each member the part that it is best at, with all that it needs to "
    "know: members do not see this conversation, nor what the others did. Ask several at once if their parts do not "
    "depend on each other. Check what comes back; if a member fails, ask differently or ask another one. "
    "Then give the answer yourself."
)
_COLLEAGUE = (
    "You are {name}. Answer what is yours to answer. What one of the others does better, hand over at once, "
    "and write what they need to know."
)


def supervisor(
    leader: Player,
    members: Mapping[str, Player | Member],
    *,
    model: str = "",
    name: str = "supervisor",
) -> WorkflowGraph:
    """A leader answers `input` with the help of members, agents or whole graphs, that it calls as tools; see `answer`.

    Each call runs in a scope of its own. A member that fails is an error that the leader reads, not the end of the run.

    Raises:
        InvalidInput: `team.too_small`, `team.no_about`, `agent.malformed`.
    """
    check_names(members, 1, ())
    graph, casting = WorkflowGraph(name), Casting(model)
    graph.add_agent("leader", casting.part(leader, told=_LEADER), output="answer")
    for who, member in members.items():
        described = about(who, member)
        given = member if isinstance(member, Member) else Member(member)
        work = given.player
        graph.add_agent_tool(
            "leader",
            who,
            work if isinstance(work, WorkflowGraph | Graph) else casting.part(work),
            description=described,
            parameters=given.parameters,
            result=given.result,
        )
    return graph


def handoff(
    members: Mapping[str, Player | Member],
    *,
    paths: Mapping[str, Collection[str]] | None = None,
    max_visits: int = 5,
    model: str = "",
    name: str = "handoff",
) -> WorkflowGraph:
    """The first member answers `input`, or hands the conversation over to another one, and so on, until one gives the `answer`.

    `paths` says who may hand over to whom; without it, everybody may to everybody. Each member has the turn `max_visits`
    times at most; one more ends the run with `limit_exceeded`. The conversation `talk` is memory of the run's thread.

    Raises:
        InvalidInput: `team.too_small`, `team.reserved_name`, `team.no_about`, `team.unknown_member`, `team.not_an_agent`.
    """
    check_names(members, 2, ("begin", "talk", "answer", "input"))
    graph = WorkflowGraph(name, reducers={"talk": "messages"}, memory=["talk"])
    graph.add_transform("begin", {"answer": "state.input"}).add_edge("begin", next(iter(members)))
    casting = Casting(model)
    for who, member in members.items():
        others = {to: about(to, members[to]) for to in _reachable(members, who, paths)}
        agent = casting.part(
            player_of(who, member), told=_COLLEAGUE.format(name=who), text=True, handoffs=others
        )
        graph.add_agent(
            who, agent, prompt="{{answer}}", output="answer", history="talk", max_visits=max_visits
        )
        if others:
            graph.add_conditional_edge(who, {to: to for to in others})
    return graph


def _reachable(
    members: Mapping[str, Player | Member], who: str, paths: Mapping[str, Collection[str]] | None
) -> list[str]:
    if paths is None:
        return [to for to in members if to != who]
    for name in (*paths, *paths.get(who, ())):
        if name not in members:
            raise InvalidInput(
                "team.unknown_member",
                f"paths name {name!r}, and there is no such member",
                where=f"paths.{who}",
                fix=f"members are: {', '.join(members)}",
            )
    return [to for to in members if to in paths.get(who, ())]
