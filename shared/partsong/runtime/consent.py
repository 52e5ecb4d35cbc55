"""Consent: an approver of the user's is asked, and nothing but a clear yes is one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.graph.function_results import Edited

__all__ = ["consent"]

Question = TypeVar("Question")
Answer = TypeVar("Answer", bound=bool | Edited)


async def consent(
    approve: Callable[[Question], Awaitable[Answer] | Answer], question: Question, about: str
) -> bool | Edited:
    """Ask a callback, `async` or not, whether something `about` which it is asked may be done.

    Raises:
        InvalidInput: `approval.unclear`: it returned neither True, False nor an `Edited`. What is merely truthy, like
            "no", is no yes.
        Unavailable: `approval.failed`: it raised.
    """
    try:
        answer: object = approve(question)
        if inspect.isawaitable(answer):
            answer = await answer
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:  # some libraries panic outside Exception
        raise Unavailable(
            "approval.failed",
            f"nobody could be asked about {about}: the callback raised {type(error).__name__}: {error}",
            where=about,
            fix="mend the callback given as `approve`; what it was asked about has not been done",
            fault="caller",
        ) from error
    if isinstance(answer, bool | Edited):
        return answer
    raise InvalidInput(
        "approval.unclear",
        f"the callback asked about {about} returned {answer!r:.60}, which is neither yes nor no",
        where=about,
        fix="return True, False or an Edited from the callback given as `approve`",
    )
