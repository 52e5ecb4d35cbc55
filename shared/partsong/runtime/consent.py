"""Consent: an approver of the user's is asked, and nothing but a clear yes is one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from partsong.contracts.durations import format_duration
from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.graph.function_results import Approved, Edited, Rejected

__all__ = ["Answer", "Verdict", "consent", "reason_of"]

Question = TypeVar("Question")

Verdict: TypeAlias = Approved | Edited | Rejected
Answer: TypeAlias = bool | Approved | Edited | Rejected
"""What an approver may return; nothing else is an answer."""


async def consent(
    approve: Callable[[Question], Awaitable[Answer] | Answer],
    question: Question,
    about: str,
    within: float | None = None,
) -> Verdict:
    """Ask a callback, `async` or not, whether something `about` which it is asked may be done, `within` so many seconds.

    Raises:
        InvalidInput: `approval.unclear`: it returned neither a boolean nor a decision. What is merely truthy, like "no",
            is no yes.
        Unavailable: `approval.failed`: it raised; `approval.expired`: it took too long.
    """
    try:
        answer: object = approve(question)
        if inspect.isawaitable(answer):
            answer = await _awaited(answer, about, within)
    except (asyncio.CancelledError, KeyboardInterrupt, _Expired):
        raise
    except BaseException as error:  # some libraries panic outside Exception
        raise Unavailable(
            "approval.failed",
            f"nobody could be asked about {about}: the callback raised {type(error).__name__}: {_text(error)}",
            where=about,
            fix="mend the callback given as `approve`; what it was asked about has not been done",
            fault="caller",
        ) from error
    if isinstance(answer, bool):
        return Approved() if answer else Rejected()
    if isinstance(answer, Approved | Edited | Rejected):
        return answer
    raise InvalidInput(
        "approval.unclear",
        f"the callback asked about {about} returned {_shown(answer)}, which is neither yes nor no",
        where=about,
        fix="return True, False, Approved(…), Rejected(…) or Edited(…) from the callback given as `approve`",
    )


def reason_of(decision: Verdict) -> str | None:
    """The reason of a decision as a log can hold it; one that is no text is written as Python shows it."""
    reason: object = decision.reason
    if reason is None:
        return None
    return (
        (reason if isinstance(reason, str) else _shown(reason))
        .replace("\0", "")
        .encode(errors="replace")
        .decode()
    )


class _Expired(Unavailable):
    """Nobody has decided in time."""


async def _awaited(answer: Awaitable[object], about: str, within: float | None) -> object:
    clock = asyncio.timeout(within)
    try:
        async with clock:
            return await answer
    except TimeoutError:
        if not clock.expired():
            raise
        raise _Expired(
            "approval.expired",
            f"nobody has decided about {about} within {format_duration(within or 0)}",
            where=about,
            fix="give people more time: `approval_deadline`",
            fault="caller",
        ) from None


def _shown(answer: object) -> str:
    """The answer as its type shows it, which code of the user's may not let itself be."""
    try:
        return f"{answer!r:.60}"
    except Exception:
        return f"a {type(answer).__name__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be read)"
