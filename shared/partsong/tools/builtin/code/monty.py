"""The sandbox: pydantic-monty, a Python interpreter with no way out, in a process of its own for each run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from keyword import iskeyword
from typing import TypeAlias, assert_never

from pydantic import JsonValue
from pydantic_monty import (
    CollectStreams,
    FunctionSnapshot,
    FutureSnapshot,
    Monty,
    MontyComplete,
    MontyCrashedError,
    MontyError,
    MontyRuntimeError,
    MontySession,
    MontySyntaxError,
    NameLookupSnapshot,
    __version__,
)

from partsong.contracts.errors import InvalidInput, PartsongError
from partsong.tools.builtin.code import problems
from partsong.tools.builtin.code.limits import Limits
from partsong.tools.builtin.code.outcome import Finished, Outcome, Paused
from partsong.tools.builtin.code.snapshot import Snapshot
from partsong.tools.builtin.code.source import OUTSIDE, SHOW, shims, with_value

__all__ = ["Sandbox"]

_Step: TypeAlias = FunctionSnapshot | NameLookupSnapshot | FutureSnapshot | MontyComplete
_Answer: TypeAlias = Callable[[FunctionSnapshot], _Step]

_GRACE = 1.0
"""Seconds after which an interpreter that does not notice its own limit is killed."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Runs code until it ends or calls one of the functions; whoever gets the pause makes the call.

    Blocks its thread while code runs. Sleeping takes no time, and random begins with the same seed: code that is run
    again and gets the same results makes the same calls, unless it reads the clock.
    """

    limits: Limits = field(default_factory=Limits)
    functions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What the code may call, and the names of the parameters of each, in order."""

    def __post_init__(self) -> None:
        """Refuse functions that code cannot call.

        Raises:
            InvalidInput: `code.bad_function`.
        """
        for name in self.functions:
            if not name.isidentifier() or iskeyword(name) or name.startswith("_"):
                raise InvalidInput(
                    "code.bad_function",
                    f"{name!r} is no name for a function in code",
                    where="functions",
                    fix="give the tool a name of letters, digits and _ that begins with a letter",
                )

    def start(self, code: str) -> Outcome:
        """Run code from its beginning.

        Raises:
            InvalidInput: `code.too_long`, `code.syntax`, `code.unsupported`, `code.raised`, `code.limit`.
            Unavailable: `code.crashed`.
        """
        self.limits.check(code)
        functions = {name: tuple(parameters) for name, parameters in self.functions.items()}
        with _session(self.limits) as session:
            run = _Run(session, self.limits, Snapshot(__version__, functions, "", 0, b""))
            return run.outcome(lambda: run.begin(code))

    def resume(self, snapshot: bytes, result: JsonValue) -> Outcome:
        """Go on from a pause with the result of the call.

        Raises:
            InvalidInput: as `start`, and `code.bad_snapshot`.
            Conflict: `code.snapshot_version`.
            Unavailable: `code.crashed`.
        """
        return self._answered(snapshot, lambda step: step.resume({"return_value": result}))

    def refuse(self, snapshot: bytes, why: str) -> Outcome:
        """Go on from a pause without a result: in the code, the call raises `RuntimeError`, which it may handle.

        Raises:
            InvalidInput: as `start`, and `code.bad_snapshot`.
            Conflict: `code.snapshot_version`.
            Unavailable: `code.crashed`.
        """
        return self._answered(snapshot, lambda step: step.resume({"exception": RuntimeError(why)}))

    def _answered(self, snapshot: bytes, answer: _Answer) -> Outcome:
        before = Snapshot.load(snapshot, __version__)
        with _session(self.limits) as session:
            run = _Run(session, self.limits, before)
            return run.outcome(lambda: run.load(answer))


@contextmanager
def _session(limits: Limits) -> Iterator[MontySession]:
    """An interpreter that has run nothing, and is gone afterwards."""
    with (
        Monty(
            min_processes=1,
            max_processes=1,
            request_timeout=limits.seconds + 2 * _GRACE,
            feed_duration_limit_grace=_GRACE,
        ) as pool,
        pool.checkout(
            limits={
                "max_feed_duration_secs": limits.seconds,
                "max_memory": limits.memory,
                "max_recursion_depth": limits.depth,
                "max_suspensions": 1000,
            },
            os_policy={"sleep": "zero", "random_start": {"seed": 0}},
        ) as session,
    ):
        yield session


class _Run:
    """One stretch: from the beginning or a pause, to the end or the next pause."""

    def __init__(self, session: MontySession, limits: Limits, before: Snapshot) -> None:
        self._session, self._limits, self._before = session, limits, before
        self._streams = CollectStreams(max_bytes=limits.output)

    def begin(self, code: str) -> _Step:
        """Take up new code."""
        self._session.feed_run(shims(self._before.functions))
        return self._session.feed_start(with_value(code), print_callback=self._streams)

    def load(self, answer: _Answer) -> _Step:
        """Take up where the pause was."""
        step = self._session.load_snapshot(self._before.state, print_callback=self._streams)
        assert isinstance(step, FunctionSnapshot)  # noqa: S101  # nothing else is dumped
        return answer(step)

    def outcome(self, take_up: Callable[[], _Step]) -> Outcome:
        """Run to the end or the next pause; every error of the sandbox becomes one of ours."""
        try:
            step = take_up()
            while True:
                found = self._next(step)
                if isinstance(found, Finished | Paused):
                    return found
                step = found
        except MontyError as error:
            raise self._explained(error) from None

    def _next(self, step: _Step) -> Outcome | _Step:
        match step:
            case MontyComplete():
                return self._finished()
            case FunctionSnapshot() if step.is_os_function:
                return step.resume_not_handled()
            case FunctionSnapshot():
                return self._called(step)
            case NameLookupSnapshot():
                return step.resume()
            case FutureSnapshot():
                raise problems.unsupported("waiting for several tools at once")
            case _:
                assert_never(step)

    def _called(self, step: FunctionSnapshot) -> Outcome | _Step:
        """A call of something the sandbox does not know. Its arguments are not touched: the shim has written them."""
        name = str(step.function_name).removeprefix(OUTSIDE)
        parameters = self._before.functions.get(name)
        if parameters is None or name == step.function_name:
            return step.resume({"exception": NameError(f"name {name!r} is not defined")})
        try:
            args = _named(parameters, self._written())
        except (TypeError, ValueError) as error:
            return step.resume({"exception": TypeError(f"{name}(): {error}")})
        calls = self._before.calls + 1
        if calls > self._limits.calls:
            raise problems.limit(
                f"more than {self._limits.calls} tool calls", self._limits, self._printed
            )
        pause = replace(self._before, printed=self._printed, calls=calls, state=step.dump())
        return Paused(name, args, pause.dump())

    def _finished(self) -> Finished:
        printed = self._printed
        self._session.feed_run(SHOW, print_callback=self._streams)
        try:
            return Finished(self._written(), printed)
        except ValueError as error:
            raise problems.raised(f"the value cannot be shown: {error}", printed) from None

    @property
    def _printed(self) -> str:
        """What the code has printed since its beginning."""
        return self._before.printed + "".join(
            text for stream, text in self._streams.output if stream == "stdout"
        )

    def _written(self) -> JsonValue:
        """The last value that was written for us.

        Raises:
            ValueError: it is nested too deeply, or holds an enormous number, or nothing was written.
        """
        text = "".join(text for stream, text in self._streams.output if stream == "stderr")
        try:
            value: JsonValue = json.loads(text.rstrip("\n").rpartition("\n")[2], parse_constant=str)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        return value

    def _explained(self, error: MontyError) -> PartsongError:
        if isinstance(error, MontySyntaxError):
            return problems.syntax(error.display())
        if isinstance(error, MontyCrashedError):
            if error.timed_out:
                return problems.limit("it took too long", self._limits, self._printed)
            return problems.crashed(str(error))
        inner = error.exception()
        if _lacking(inner):
            return problems.unsupported(str(inner))
        match inner:
            case TimeoutError() | MemoryError() | RecursionError():
                return problems.limit(str(error), self._limits, self._printed)
            case _:
                said = error.display() if isinstance(error, MontyRuntimeError) else str(error)
                return problems.raised(said, self._printed)


def _lacking(inner: BaseException) -> bool:
    """Whether the sandbox's Python does not have what the code uses."""
    kind = type(inner).__name__
    return kind.startswith("NotImplemented") or isinstance(inner, ModuleNotFoundError)


def _named(parameters: tuple[str, ...], written: JsonValue) -> dict[str, JsonValue]:
    """The arguments by name, as a Python call would bind them."""
    match written:
        case [list(positional), dict(named)]:
            pass
        case _:
            raise TypeError("no arguments were written")
    if len(positional) > len(parameters):
        raise TypeError(f"takes {len(parameters)} arguments but {len(positional)} were given")
    bound = dict(zip(parameters, positional, strict=False))
    if twice := bound.keys() & named.keys():
        raise TypeError(f"got two values for {', '.join(sorted(twice))}")
    if unknown := named.keys() - set(parameters):
        raise TypeError(f"has no parameter {', '.join(sorted(unknown))}")
    return bound | named
