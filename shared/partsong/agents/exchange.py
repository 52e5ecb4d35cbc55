"""An exchange: one call of an agent, turn by turn, until there is an answer or a reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from partsong.agents.asking import Asker, Telling
from partsong.agents.definition import Definition
from partsong.agents.errors import AgentFailed, BadOutput
from partsong.agents.limits import Spent
from partsong.agents.means import Means
from partsong.agents.output import Unfit
from partsong.agents.result import AgentResult
from partsong.agents.toolset import perform
from partsong.contracts.events import AgentTurnCompleted
from partsong.contracts.state.conversation import REPAIR
from partsong.contracts.state.model_answers import declined
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.talk.messages import (
    AssistantMessage,
    Message,
    UserMessage,
)
from partsong.runtime import clock

__all__ = ["Exchange"]


@dataclass(frozen=True, slots=True)
class _Answer:
    """How an exchange ends well."""

    text: str
    value: object


class Exchange:
    """Turns and tool calls after one prompt."""

    def __init__(
        self,
        definition: Definition,
        means: Means,
        history: tuple[Message, ...],
        prompt: str,
        show: Callable[[Chunk], None],
        telling: Telling,
    ) -> None:
        self._agent, self._means, self._show = definition, means, show
        self._history = history
        self._said: list[Message] = [UserMessage(text=prompt)]
        self._spent, self._repairs = Spent(), definition.repairs
        self._run_id, self._telling = clock.new_run_id(), telling
        self._asker = Asker(
            definition, means.providers, self._run_id, self._spent, show, means.vault, telling
        )

    async def run(self) -> AgentResult[object]:
        """Go on until there is an answer.

        Raises:
            AgentFailed: or one of its kinds; with the messages and the usage until then.
        """
        try:
            while True:
                turn = await self._turn()
                answer = await self._progress(turn)
                if answer is not None:
                    return self._result(turn, answer)
        except AgentFailed as error:
            error.usage, error.messages = self._spent.usage, tuple(self._said)
            error.failures = tuple(self._spent.failures)
            raise

    async def _turn(self) -> AgentTurnCompleted:
        self._spent.before_turn(self._agent.limits)
        self._spent.turns += 1
        return await self._asker.turn(self._turn_id, (*self._history, *self._said))

    @property
    def _turn_id(self) -> str:
        return f"{self._agent.name}:1/t{self._spent.turns}"

    async def _progress(self, turn: AgentTurnCompleted) -> _Answer | None:
        """Take a turn's answer, or do what it asks for."""
        output = self._agent.output
        if turn.message.tool_calls:
            await self._tools(turn.message)
            return None
        if (problem := declined(turn)) is not None:
            raise AgentFailed.of(problem)
        self._said.append(turn.message)
        if turn.stop == "pause":
            return None
        if output is None:
            return _Answer(turn.message.text, turn.message.text)
        try:
            return _Answer(turn.message.text, output.read(turn.message.text))
        except Unfit as unfit:
            self._repair(unfit, turn.message.text, seen=self._telling == "once")
            self._said.append(UserMessage(text=REPAIR.format(why=unfit)))
        return None

    async def _tools(self, message: AssistantMessage) -> None:
        calls, limits = message.tool_calls, self._agent.limits
        self._spent.before_tools(limits, len(calls))
        results = await perform(
            self._agent.toolset,
            self._means.executor,
            calls,
            self._agent.approve,
            self._show,
            run_id=self._run_id,
            node=self._agent.name,
            turn=self._turn_id,
            deadline=self._agent.approval_deadline,
        )
        self._said += [message, *results]
        made = list(zip(calls, results, strict=True))
        warning = self._spent.after_tools(limits, made, self._agent.toolset.names)
        if warning is not None:
            self._said.append(UserMessage(text=warning))

    def _repair(self, unfit: Unfit, text: str, *, seen: bool) -> None:
        """Allow one more try.

        Raises:
            BadOutput: `agent.bad_output`, there have been enough, or the reader has seen the answer already.
        """
        if self._repairs > 0 and not seen:
            self._repairs -= 1
            return
        raise BadOutput(
            "agent.bad_output",
            f"the answer does not fit its schema: {unfit}; it began {text[:200]!r}",
            fix="simplify the schema, raise `repairs`, or ask a stronger model",
        ) from unfit

    def _result(self, turn: AgentTurnCompleted, answer: _Answer) -> AgentResult[object]:
        return AgentResult(
            text=answer.text,
            output=answer.value,
            usage=self._spent.usage,
            messages=tuple(self._said),
            model=f"{turn.provider}:{turn.model}",
            turns=self._spent.turns,
            tool_calls=self._spent.tool_calls,
        )
