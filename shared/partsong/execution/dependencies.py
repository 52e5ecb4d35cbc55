"""Dependencies of a call: made before it, cleaned up after it, each once.

Those of an async function are made where it runs, in its event loop. A sync function's are made in its thread, so what is
bound to a thread (a connection of SQLite) is used and closed where it was opened; but for those that are awaited, which
are made in an event loop, as is what they need.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any

from partsong.contracts.errors import PartsongError
from partsong.contracts.graph.depends import Dependency
from partsong.contracts.graph.function_results import NodeContext
from partsong.execution.core.problems import DependencyFailed
from partsong.execution.core.signature import source_of

__all__ = ["given"]

_Made = dict[object, object]
"""By maker, or by its id where it has no hash: what it has made for this call."""
_Call = Callable[[Mapping[str, object]], object]


def given(
    needs: tuple[Dependency, ...], call: _Call, context: NodeContext, *, is_async: bool
) -> tuple[Callable[[], object], bool]:
    """What makes a call with its dependencies, and whether that is to be awaited. `call` gets them by parameter."""
    if is_async:
        return lambda: _awaited(needs, call, context), True
    if any(one.waits for one in needs):
        return lambda: _threaded(needs, call, context), True
    return lambda: _called(needs, call, context, {}), False


def _called(
    needs: tuple[Dependency, ...], call: _Call, context: NodeContext, made: _Made
) -> object:
    """All of it in this thread."""
    left: list[BaseException] = []
    with ExitStack() as stack:
        values = {one.parameter: _sync(one, context, stack, made) for one in needs}
        try:
            return call(values)
        except BaseException as error:
            left.append(error)
            raise
    raise left[0]  # a generator has swallowed it, and there is no result


async def _awaited(needs: tuple[Dependency, ...], call: _Call, context: NodeContext) -> object:
    """All of it in this loop."""
    made: _Made = {}
    left: list[BaseException] = []
    async with AsyncExitStack() as stack:
        values = {one.parameter: await _async(one, context, stack, made) for one in needs}
        try:
            value = call(values)
            return await value if inspect.isawaitable(value) else value
        except BaseException as error:
            left.append(error)
            raise
    raise left[0]


async def _threaded(needs: tuple[Dependency, ...], call: _Call, context: NodeContext) -> object:
    """What is awaited, in this loop; the others, and the call, in a thread."""
    waited = tuple(one for one in needs if one.waits)
    rest = tuple(one for one in needs if not one.waits)

    def with_all(values: Mapping[str, object], made: _Made) -> object:
        return _called(rest, lambda more: call({**values, **more}), context, made)

    made: _Made = {}
    left: list[BaseException] = []
    async with AsyncExitStack() as stack:
        values = {one.parameter: await _async(one, context, stack, made) for one in waited}
        try:
            return await _in_thread(lambda: with_all(values, made))
        except BaseException as error:
            left.append(error)
            raise
    raise left[0]


def _sync(one: Dependency, context: NodeContext, stack: ExitStack, made: _Made) -> object:
    key = _key(one)
    if one.use_cache and key in made:
        return made[key]
    values: dict[str, Any] = {n.parameter: _sync(n, context, stack, made) for n in one.needs}
    if one.context is not None:
        values[one.context] = context
    if one.way == "generator":
        value = _entered(one, lambda: stack.enter_context(_cleaned(one, values)))
    else:
        value = _entered(one, lambda: one.make(**values))
    made[key] = value
    return value


async def _async(
    one: Dependency, context: NodeContext, stack: AsyncExitStack, made: _Made
) -> object:
    key = _key(one)
    if one.use_cache and key in made:
        return made[key]
    values: dict[str, Any] = {n.parameter: await _async(n, context, stack, made) for n in one.needs}
    if one.context is not None:
        values[one.context] = context
    try:
        match one.way:
            case "generator":
                value: object = stack.enter_context(_cleaned(one, values))
            case "async generator":
                value = await stack.enter_async_context(_cleaned_async(one, values))
            case "sync" | "async":
                value = one.make(**values)
                if inspect.isawaitable(value):
                    value = await value
    except (PartsongError, DependencyFailed):
        raise
    except Exception as error:
        raise _failed(one) from error
    made[key] = value
    return value


def _key(one: Dependency) -> object:
    return one.make if isinstance(one.make, Hashable) else id(one.make)


def _failed(one: Dependency) -> DependencyFailed:
    return DependencyFailed(one.name, source_of(one.make))


def _entered(one: Dependency, make: Callable[[], object]) -> object:
    try:
        return make()
    except (PartsongError, DependencyFailed):
        raise
    except Exception as error:
        raise _failed(one) from error


@contextmanager
def _cleaned(one: Dependency, values: Mapping[str, Any]) -> Iterator[object]:
    """A generator's value; what its clean-up raises is its own failure, what the call raised is not."""
    manager: Any = contextmanager(one.make)(**values)  # type: ignore[arg-type]
    value = manager.__enter__()
    try:
        yield value
    except BaseException as error:
        failed = error
        if not _entered(one, lambda: _exited(manager, failed)):
            raise
    else:
        _entered(one, lambda: manager.__exit__(None, None, None))


def _exited(manager: Any, error: BaseException) -> object:
    try:
        return manager.__exit__(type(error), error, error.__traceback__)
    except BaseException as raised:
        if raised is error:
            return False
        raise


@asynccontextmanager
async def _cleaned_async(one: Dependency, values: Mapping[str, Any]) -> AsyncIterator[object]:
    manager: Any = asynccontextmanager(one.make)(**values)  # type: ignore[arg-type]
    value = await manager.__aenter__()
    failed: BaseException | None = None
    try:
        yield value
    except BaseException as error:
        failed = error
    try:
        cause = (type(failed), failed, failed.__traceback__) if failed else (None, None, None)
        swallowed = await manager.__aexit__(*cause)
    except (PartsongError, DependencyFailed):
        raise
    except Exception as error:
        if error is failed:
            raise
        raise _failed(one) from error
    if failed is not None and not swallowed:
        raise failed


async def _in_thread(function: Callable[[], object]) -> object:
    """A thread of its own, and a daemon: one that is stuck keeps neither the loop nor the process."""
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    waiter: asyncio.Future[object] = loop.create_future()

    def answer(value: object, error: BaseException | None) -> None:
        if waiter.done():
            return
        if error is None:
            waiter.set_result(value)
        elif isinstance(error, StopIteration):  # which no future takes
            waiter.set_exception(RuntimeError(f"StopIteration: {error.value!r}"))
        else:
            waiter.set_exception(error)

    def run() -> None:
        value, failed = None, None
        try:
            value = context.run(function)
        except BaseException as error:  # whatever it is, the call has ended, and somebody waits
            failed = error
        try:
            loop.call_soon_threadsafe(answer, value, failed)
        except RuntimeError:  # the loop is closed, and nobody waits
            return

    threading.Thread(target=run, name="partsong-call-given", daemon=True).start()
    return await waiter
