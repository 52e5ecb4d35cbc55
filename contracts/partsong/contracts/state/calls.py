"""What a run waits for: calls and timers, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from partsong.contracts.errors import Problem
from partsong.contracts.events import (
    AgentTurnCompleted,
    Allowance,
    ApprovalDecided,
    ApprovalExpired,
    ArgumentsEdit,
    CallCompleted,
    CallLapsed,
    CallSuspended,
    ChildEnded,
    HookDecided,
    TimerPurpose,
    TurnPrice,
    Unapproved,
)
from partsong.contracts.services import AGENT_GATEWAY, APPROVAL, GRAPH_ENGINE, TOOL_RUNNER

__all__ = [
    "CANCELLED",
    "FUNCTION_TIMEOUT",
    "MISSING",
    "SERVICE_OF",
    "Call",
    "CallKind",
    "Timer",
    "Waiting",
    "lapse",
    "retrying",
]

CallKind: TypeAlias = Literal["function", "tool", "agent.turn", "approval", "run", "hook"]

CANCELLED = "call.cancelled"
"""Code of the error of a call that the engine has closed."""
MISSING = frozenset({"function.not_found", "tool.unknown", "tools.no_answer"})
"""Codes of errors that mean: no worker has it, or none is there; perhaps one will come.

It is the platform that lacks something, so none of the user's retries is used up.
"""
SERVICE_OF: Mapping[CallKind, str] = {
    "function": TOOL_RUNNER,
    "tool": TOOL_RUNNER,
    "hook": TOOL_RUNNER,
    "agent.turn": AGENT_GATEWAY,
    "approval": APPROVAL,
    "run": GRAPH_ENGINE,
}
"""Who answers calls of each kind."""

FUNCTION_TIMEOUT = 24 * 3600.0
"""Seconds for an attempt of a function whose node has no `timeout`: long enough for all that is meant to end."""


@dataclass(frozen=True)
class Call:
    """A function, tool, agent turn, approval or detached run that an execution waits for."""

    id: str
    exec: str
    kind: CallKind
    name: str
    attempt: int = 1
    worker: str | None = None
    """Who has claimed the attempt."""
    claim: int = 0
    """Sequence of the last record on the call's subject, to guard the next one; 0 if there is none."""
    since: str = ""
    repeatable: bool = False
    """A tool's worker has said that it may be made again, whatever became of it."""
    lapsed: bool = False
    stopped: bool = False
    """It lapsed, and its worker did not die: see `CallLapsed`."""
    expired: bool = False
    """An approval's deadline has passed."""
    outcome: (
        CallCompleted
        | CallSuspended
        | AgentTurnCompleted
        | ApprovalDecided
        | ApprovalExpired
        | ChildEnded
        | HookDecided
        | None
    ) = None
    problem: Problem | None = None
    unapproved: Unapproved | None = None
    """What a person is asked about before a tool is called."""
    approved: str | None = None
    """Who has agreed to it."""
    edit: ArgumentsEdit | None = None
    """Other arguments that this person has agreed to."""
    about: Problem | None = None
    """The error that plugins are asked about."""
    resumes: CallSuspended | None = None
    """Where the attempt goes on: code called a tool there, and its result has come."""
    retry_after: float | None = None
    closed_by: str | None = None
    """Id of the event that closed the attempt."""
    waits: str | None = None
    """Id of the timer before the next attempt."""
    rested: bool = False
    """That timer has fired."""
    child: str | None = None
    """The detached run that answers it; None also where the log is too old to say."""
    parked: int = 0
    """How many attempts found no worker that has the function or tool, or none at all."""
    lapses: int = 0
    """How many attempts before ended because their worker was gone."""
    deaths: int = 0
    """How many of them because it died; of the others, it was stopped."""
    others: int = 0
    """Agent turns: how many attempts were other models', whatever became of them."""
    allowance: Allowance = Allowance()
    """Agent turns: what is set aside for the attempt."""
    price: TurnPrice | None = None
    """Agent turns: what a token of the attempt's model costs, if its worker knows."""
    again: bool = False
    """The run was retried: this attempt does not count any more, and the next one is not asked whether it may."""

    @property
    def open(self) -> bool:
        """Whether a worker, or a person, still owes the answer."""
        return self.closed_by is None

    @property
    def charged(self) -> int:
        """Attempts that count against the user's retries: all but those for which no worker was there.

        A worker that died counts: it may have died of the call.
        """
        return self.attempt - self.parked - (self.lapses - self.deaths) - self.others

    @property
    def may_repeat(self) -> bool:
        """Whether it may be made again though nobody knows what became of it."""
        return self.repeatable or self.kind != "tool"

    @property
    def parked_at(self) -> str | None:
        """The timer that offers it again, if what it lacks is a worker; whoever comes may have what it needs."""
        lacks = self.problem is not None and self.problem.code in MISSING and bool(self.exec)
        return self.waits if lacks else None

    @property
    def service(self) -> str:
        """The service that answers it."""
        return SERVICE_OF[self.kind]

    @property
    def given_up(self) -> bool:
        """Whether the engine closed it because nobody needs it; what it belongs to is about to go."""
        cancelled = self.problem is not None and self.problem.code == CANCELLED
        return cancelled and self.closed_by is not None and not self.again

    @property
    def guarded(self) -> bool:
        """Whether it is closed on its own subject, under a guard."""
        return self.kind not in {"function", "run", "hook"}


@dataclass(frozen=True)
class Timer:
    """A durable timer that has not fired."""

    id: str
    at: str
    purpose: TimerPurpose
    call_id: str | None = None
    exec: str | None = None


@dataclass(frozen=True)
class Waiting:
    """What a waiting run waits for."""

    on: Literal["approval", "signal", "timer", "worker", "retry", "rate_limit", "run"]
    what: str
    """The call or execution."""
    since: str
    until: str | None = None
    reason: str = ""

    def __str__(self) -> str:
        """One sentence for people."""
        until = f" until {self.until}" if self.until else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.on} {self.what} since {self.since}{until}{reason}"


def lapse(
    run_id: str, call: Call, now: str, *, stopped: bool = False, nobody: str = ""
) -> CallLapsed:
    """The end of an attempt whose worker is gone; `nobody` stands for one that the log does not name."""
    stem = f"{run_id}.{call.id}.{call.attempt}"
    return CallLapsed(
        id=f"{stem}.lapsed",
        time=now,
        cause=f"{stem}.claimed",
        call_id=call.id,
        attempt=call.attempt,
        worker=call.worker or nobody,
        stopped=stopped,
    )


def retrying(call: Call, problem: Problem, timer: Timer) -> Waiting:
    """Why a call that failed is made again only when a timer has fired."""
    if problem.code in MISSING:
        turn = call.kind == "agent.turn"  # the model is there, it is the tools that are not
        reason = (
            f"waiting for a tool-runner: {problem.message}"
            if turn
            else f"waiting for {call.kind} {call.name}, no worker has it"
        )
        return Waiting("worker", call.id, call.since, None, reason)
    limited = problem.code.endswith("rate_limit") or problem.code.endswith("rate_limited")
    return Waiting(
        "rate_limit" if limited else "retry", call.id, call.since, timer.at, problem.code
    )
