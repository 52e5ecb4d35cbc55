"""Blocking calls of what is asynchronous, for scripts and notebooks: a coroutine is run to its end in a loop of its own.

A notebook's kernel has a loop in which its cells run, so there the coroutine gets a thread. Elsewhere a loop that runs
is a program's own, which a blocking call would stop: that is an error with what to write instead.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from partsong.contracts.errors import InvalidInput

__all__ = ["blocking"]

T = TypeVar("T")


def blocking(what: Callable[[], Coroutine[Any, Any, T]], *, name: str, instead: str) -> T:
    """Runs a coroutine to its end and gives its result; Ctrl-C cancels it and waits for its end.

    Raises:
        InvalidInput: `sync.running_loop`, an event loop runs in this thread, and it is not a notebook's.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(what())
    if not _in_a_notebook():
        raise InvalidInput(
            "sync.running_loop",
            f"{name} blocks, and an event loop runs in this thread, which would stand still",
            where=name,
            fix=f"in a coroutine write: await {instead}",
        )
    return _in_a_thread(what)


def _in_a_notebook() -> bool:
    """Whoever types a cell cannot end the kernel's loop first."""
    shell, marimo = sys.modules.get("IPython"), sys.modules.get("marimo")
    if shell is not None and shell.get_ipython() is not None:
        return True
    return marimo is not None and bool(marimo.running_in_notebook())


def _in_a_thread(what: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """With the caller's context variables; all is closed in the loop where it was opened, before this returns."""
    context, outcome = contextvars.copy_context(), Future[T]()
    interrupted, running = threading.Event(), list[Callable[[], object]]()

    async def main() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101  # this is one
        running.append(lambda: loop.call_soon_threadsafe(task.cancel))
        if interrupted.is_set():  # before there was anything to cancel
            raise asyncio.CancelledError
        return await what()

    def work() -> None:
        try:
            with asyncio.Runner() as runner:
                result = runner.run(main(), context=context)
        except BaseException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    thread = threading.Thread(target=work, name="partsong blocking", daemon=True)
    try:
        thread.start()
        return outcome.result()
    except KeyboardInterrupt:
        interrupted.set()
        for cancel in running:
            with suppress(RuntimeError):  # it has ended
                cancel()
        raise
    finally:
        with suppress(RuntimeError):  # it was interrupted before it began
            thread.join()
