"""Event loops for user coroutines, each in a thread of its own: the service's loop runs none of their code.

A coroutine that does not give way (`time.sleep`, a long computation) blocks its loop. That is noticed within about a
second and reported with the function's name, once; calls that wait there and have not begun go to another loop, and so
do new ones until the first loop answers again. So there is one loop as long as nobody blocks it, and what a module keeps
for its loop, like a pool of connections, serves every call.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import PurePath
from typing import NamedTuple

from partsong.execution.outcome import Outcome, Raised, Value
from partsong.runtime import clock
from partsong.runtime.heartbeat.held import HeldCalls

__all__ = ["CallName", "UserCall", "UserLoops"]

_log = logging.getLogger("partsong.tool_runner")

_LOOK = 0.25
_PATIENCE = 4
"""Looks without an answer after which a loop counts as blocked: looks, not seconds, for a process that stands still looks at nothing."""
_FAREWELL = 1.0


class CallName(NamedTuple):
    """What is called, and for which run."""

    function: str = ""
    run_id: str = ""
    call_id: str = ""


_current: contextvars.ContextVar[CallName] = contextvars.ContextVar("user_call")
"""The call that a task works for, also one that a user's function has started."""


class UserCall:
    """One coroutine in a loop of user code, seen from the service's loop."""

    def __init__(
        self, make: Callable[[], object], then: Callable[[Outcome], None], name: CallName
    ) -> None:
        self.name, self._make, self._then = name, make, then
        self._home = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._context.run(_current.set, name)
        self._lock = threading.Lock()
        self._loop: _Loop | None = None
        self.task: asyncio.Task[None] | None = None
        self._cancelled = self._done = False
        self._before = 0.0
        """Seconds that its loop had lost when it was put there, or lost by its own fault."""
        self._ended: asyncio.Future[None] | None = None

    @property
    def begun(self) -> bool:
        """Whether any of its code has run."""
        return self.task is not None

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when it has ended; made only if somebody wants to know."""
        if self._ended is None:
            self._ended = self._home.create_future()
            if self._done:
                self._ended.set_result(None)
        return self._ended

    @property
    def held_up(self) -> bool:
        """Whether another call blocks its loop right now."""
        loop = self._loop
        return loop is not None and not loop.answers and loop.running is not self.task

    @property
    def stolen(self) -> float:
        """Seconds in which its loop could not run it, because another call blocked it."""
        loop = self._loop
        if loop is None:
            return 0.0
        now = clock.monotonic() - loop.since if self.held_up else 0.0
        return loop.lost - self._before + now

    def blame(self, seconds: float) -> None:
        """It has blocked its loop itself."""
        self._before += seconds

    def put(self, loop: _Loop) -> bool:
        """Have a loop run it, and no other one any more; False if it has begun in another one."""
        with self._lock:
            if self.task is not None:
                return False
            self._loop, self._before = loop, loop.lost
        loop.post(self._begin, loop)
        return True

    def cancel(self) -> None:
        """Cancel it; what never began ends at once."""
        with self._lock:
            self._cancelled = True
            task, loop = self.task, self._loop
        if task is None or loop is None:
            self._finish(Raised(asyncio.CancelledError()))
        else:
            loop.post(task.cancel)

    def _begin(self, loop: _Loop) -> None:
        """In the user loop's thread."""
        with self._lock:
            if self._loop is loop and self.task is None and not self._cancelled:
                self.task = loop.loop.create_task(self._run(), context=self._context)

    async def _run(self) -> None:
        outcome: Outcome
        try:
            value = self._make()
            if inspect.isawaitable(value):
                value = await value
        except BaseException as error:  # whatever it is, the call has ended, and somebody waits
            outcome = Raised(error)
        else:
            outcome = Value(value)
        try:
            self._home.call_soon_threadsafe(self._finish, outcome)
        except RuntimeError:  # the service's loop is closed, and nobody waits
            return

    def _finish(self, outcome: Outcome) -> None:
        if self._done:
            return
        self._done = True
        if self._loop is not None:
            self._loop.calls.discard(self)
        if self._ended is not None:
            self._ended.set_result(None)
        self._then(outcome)


class _Loop:
    """One loop and its thread. All but `_serve` and `_pulse` is called in the service's loop."""

    def __init__(self, number: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.calls: set[UserCall] = set()
        self.blocked: CallName | None = None
        self.culprit: UserCall | None = None
        self.since = self.lost = 0.0
        """When it was asked last, and the seconds in which it was blocked before."""
        self.looks = 0
        """How often it has been looked at since it was asked, and had not answered."""
        self._asked = self._answered = 0
        self._closing = False
        self.thread = threading.Thread(
            target=self._serve, name=f"partsong-user-{number}", daemon=True
        )
        self.thread.start()

    def post(self, function: Callable[..., object], *args: object) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(function, *args)

    @property
    def answers(self) -> bool:
        """Whether it has answered the last question."""
        return self._asked == self._answered

    @property
    def running(self) -> asyncio.Task[object] | None:
        """The task whose code runs right now."""
        return asyncio.current_task(self.loop)

    def ask(self) -> None:
        """Ask for a sign of life, or see that there was none."""
        if not self.answers:
            self.looks += 1
            return
        self._asked += 1
        self.looks, self.since = 0, clock.monotonic()
        self.post(self._pulse)

    def _pulse(self) -> None:
        self._answered += 1

    def look_inside(self) -> tuple[CallName, str]:
        """The call whose code runs, and the line it is at."""
        frame = sys._current_frames().get(self.thread.ident or 0)  # noqa: SLF001
        at = ""
        if frame is not None:
            code = frame.f_code
            at = f"{PurePath(code.co_filename).name}:{frame.f_lineno} in {code.co_name}"
        task, begun = self.running, [call for call in self.calls if call.begun]
        context = getattr(task, "get_context", None)  # since Python 3.12
        name = context().get(_current) if context is not None else None
        mine = [call for call in begun if task is not None and call.task is task]
        mine = mine or [call for call in begun if call.name == name] or begun
        if len(mine) == 1:
            self.culprit = mine[0]
            return mine[0].name, at
        return name or CallName(" or ".join(sorted({one.name.function for one in mine}))), at

    def close(self) -> None:
        self._closing = True
        self.post(self.loop.stop)

    def _serve(self) -> None:
        while not self._closing:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                _log.exception("a task of user code would have ended the process")
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=_FAREWELL))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


class UserLoops:
    """Runs coroutines of user code. Use it from one event loop, the service's."""

    def __init__(self, held: HeldCalls | None = None) -> None:
        """`held` carries the name of a function that blocks its loop into the heartbeats."""
        self._held = held or HeldCalls()
        self._loops: list[_Loop] = []
        self._looking: asyncio.TimerHandle | None = None

    def start(
        self, make: Callable[[], object], then: Callable[[Outcome], None], name: CallName
    ) -> UserCall:
        """Call `make` in a loop of user code and await what it returns; here, `then` gets the outcome.

        The coroutine sees the caller's context variables.
        """
        call = UserCall(make, then, name)
        self._put(call)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(_LOOK, self._look)
        return call

    async def close(self) -> None:
        """Cancel what is left and end the threads; one that is blocked is left behind."""
        if self._looking is not None:
            self._looking.cancel()
        for loop in self._loops:
            loop.close()
        free = [loop.thread for loop in self._loops if loop.blocked is None]
        await asyncio.gather(*(asyncio.to_thread(thread.join, 2 * _FAREWELL) for thread in free))

    def _put(self, call: UserCall) -> bool:
        loop = next((one for one in self._loops if one.blocked is None), None)
        if loop is None:
            loop = _Loop(len(self._loops) + 1)
            self._loops.append(loop)
        loop.calls.add(call)
        if call.put(loop):
            return True
        loop.calls.discard(call)
        return False

    def _look(self) -> None:
        """See which loops answer, as long as there are calls or a loop is blocked."""
        for loop in tuple(self._loops):
            if loop.blocked is not None and loop.answers:
                self._is_free(loop, loop.blocked)
            elif loop.blocked is None and not loop.answers and loop.looks >= _PATIENCE:
                self._is_blocked(loop)
            if loop.calls or not loop.answers:
                loop.ask()
        self._looking = None
        if any(loop.calls or not loop.answers for loop in self._loops):
            self._looking = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def _is_blocked(self, loop: _Loop) -> None:
        loop.blocked, at = loop.look_inside()
        function, run_id, call_id = loop.blocked
        _log.warning(
            "function blocks its event loop; what does not await belongs into a function without async",
            extra={"function": function, "run": run_id, "call": call_id, "at": at},
        )
        self._held.block(*loop.blocked)
        for call in tuple(loop.calls):
            if not call.begun and self._put(call):
                loop.calls.discard(call)

    def _is_free(self, loop: _Loop, name: CallName) -> None:
        seconds = clock.monotonic() - loop.since
        _log.warning(
            "event loop of user code answers again",
            extra={
                "function": name.function,
                "run": name.run_id,
                "call": name.call_id,
                "seconds": round(seconds, 1),
            },
        )
        loop.lost += seconds
        if loop.culprit is not None:
            loop.culprit.blame(seconds)
        loop.blocked = loop.culprit = None
        others = [one.blocked for one in self._loops if one.blocked is not None]
        self._held.block(*(others[0] if others else CallName()))
