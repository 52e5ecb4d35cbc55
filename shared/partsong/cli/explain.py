"""`partsong run explain`: which model served each turn of a run, which ones would have, why, what it cost, what was cached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click

from partsong.cli.options import Address, address_options
from partsong.cli.output import Output, output_option, run_async
from partsong.contracts import events as e
from partsong.models.core.cache_misses import why_missed

__all__ = ["Turn", "explain", "told", "turns_of"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One attempt at one turn."""

    asked: e.AgentTurnRequested
    routed: e.RouteDecided | None = None
    ended: e.AgentTurnCompleted | e.AgentTurnFailed | None = None
    before: e.AgentTurnCompleted | None = None
    """The turn before of the same agent, whose prompt this one's begins with."""

    @property
    def missed(self) -> str | None:
        """Why the cache did not give what it might have given; None if it did, or if nobody knows."""
        ended = self.ended
        if not isinstance(ended, e.AgentTurnCompleted) or self.asked.purpose != "answer":
            return None
        return why_missed(ended, self.before, self.asked.time)

    def record(self) -> dict[str, object]:
        """As data."""
        routed, ended = self.routed, self.ended
        return {
            "turn": self.asked.call_id,
            "attempt": self.asked.attempt,
            "model": routed.model if routed else self.asked.model,
            "effort": routed.effort if routed else None,
            "score": routed.score.model_dump(mode="json") if routed else None,
            "decision": routed.decision.model_dump(mode="json") if routed else None,
            "usage": ended.usage.model_dump(mode="json") if ended else None,
            "cache_missed": self.missed,
            "error": ended.error.code if isinstance(ended, e.AgentTurnFailed) else None,
        }


def turns_of(events: Iterable[e.Event]) -> list[Turn]:
    """The turns of a run, in the order in which they were asked for."""
    asked: dict[tuple[str, int], e.AgentTurnRequested] = {}
    routed: dict[tuple[str, int], e.RouteDecided] = {}
    ended: dict[tuple[str, int], e.AgentTurnCompleted | e.AgentTurnFailed] = {}
    for event in events:
        match event:
            case e.AgentTurnRequested():
                asked.setdefault((event.call_id, event.attempt), event)
            case e.RouteDecided():
                routed.setdefault((event.call_id, event.attempt), event)
            case e.AgentTurnCompleted() | e.AgentTurnFailed():
                ended.setdefault((event.call_id, event.attempt), event)
            case _:
                pass
    turns, last = [], dict[str, e.AgentTurnCompleted]()
    for key, turn in asked.items():
        end = ended.get(key)
        turns.append(Turn(turn, routed.get(key), end, last.get(turn.exec)))
        if isinstance(end, e.AgentTurnCompleted) and turn.purpose == "answer":
            last[turn.exec] = end
    return turns


def told(turn: Turn) -> Iterator[str]:
    """A turn for people."""
    from partsong.models.routing.router import explain as reasons

    asked, routed = turn.asked, turn.routed
    again = f", attempt {asked.attempt}" if asked.attempt > 1 else ""
    if routed is None:
        why = "nobody could serve" if asked.model.startswith("auto") else "named by the agent"
        yield f"{asked.call_id}{again}: {asked.model}, {why}"
    else:
        score = routed.score
        yield f"{asked.call_id}{again}: {routed.model}, effort {routed.effort or 'as usual'}"
        yield f"  score {score.value:g} of 100, a {score.tier} {score.kind} task (weights {score.version})"
        yield from (f"    {reason}" for reason in score.reasons)
        yield from (f"  {line}" for line in reasons(routed.decision).splitlines())
    match turn.ended:
        case e.AgentTurnCompleted(usage=usage, model=model):
            yield f"  answered by {model}: {_spent(usage)}"
            yield from _kept(usage, turn.missed)
        case e.AgentTurnFailed(usage=usage, error=problem):
            yield f"  failed with {problem.code}: {_spent(usage)}"
        case None:
            yield "  has not ended"


def _spent(usage: e.TurnUsage) -> str:
    cost = "cost unknown" if usage.cost is None else f"{usage.cost:.6f} USD"
    about = "about " if usage.estimated else ""
    return f"{about}{usage.input_total} tokens in, {usage.output_total} out, {cost}"


def _kept(usage: e.TurnUsage, missed: str | None) -> Iterator[str]:
    if usage.cache_read or usage.cache_write:
        share = 100 * usage.cache_read // max(1, usage.input_total)
        yield f"  cache: {usage.cache_read} tokens read ({share} %), {usage.cache_write} written"
    if missed:
        yield f"  cache missed: {missed}"


@click.command(epilog="Example: partsong run explain r_1 --turn triage:1/t1")
@click.argument("run_id")
@click.option("--turn", metavar="CALL", help="Only this turn, like triage:1/t1.")
@address_options
@output_option
def explain(run_id: str, turn: str | None, address: Address, out: Output) -> None:
    """Why each turn of a run's agents was served by its model: the task's score, all candidates, and the reasons.

    It reads what was recorded when the turn was claimed; nothing is decided again.
    """

    async def work() -> None:
        async with address.client() as client:
            await client.state(run_id)
            events = [placed.event async for placed in client.events(run_id)]
        found = [one for one in turns_of(events) if turn is None or one.asked.call_id == turn]
        for one in found:
            out.line(one.record(), "\n".join(told(one)))
        if not found:
            out.say(f"no agent took the turn {turn}" if turn else "no agent took a turn")

    run_async(work())
