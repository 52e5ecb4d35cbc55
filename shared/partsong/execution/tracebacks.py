"""The traceback of what a user's code raised, as Python shows it, without the frames that called it, and bounded.

What was raised may be anybody's object: of it only its class, its text, its notes and what it came from are asked, each
of which may fail. Values of variables are never shown, and of sources the line that `linecache` has.
"""

from __future__ import annotations

import linecache
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import dropwhile, islice, starmap
from types import FrameType

from partsong.contracts.errors import Problem
from partsong.execution.core.problems import headline, writable

__all__ = ["traceback_of", "with_traceback"]

_FRAMES = 20
"""Frames that are shown of all exceptions together."""
_ERRORS = 6
"""Exceptions that are shown, causes and parts of groups among them."""
_BYTES = 8192
_LINE = 200
_MESSAGE = 1000
_CAUSES = 1000
"""Causes that are looked through, to say how many are left out."""
_OURS = ("partsong.execution.", "partsong.tools.tool", "partsong.tools.pausing", "asyncio.")
"""Modules whose frames stand above those of the code that is called."""
_IMPORTS = "<frozen importlib"
_BECAUSE = "The above exception was the direct cause of the following exception:"
_WHILE = "During handling of the above exception, another exception occurred:"


@dataclass(frozen=True, slots=True)
class _Shown:
    """An exception with what stands before it."""

    error: BaseException
    depth: int
    """How many groups it is in."""
    before: str = ""


def traceback_of(
    error: BaseException, hide: Callable[[str], str] = lambda text: text
) -> str | None:
    """The traceback; None if no frame of foreign code is in it. `hide` takes out of texts what nobody may see."""
    try:
        found = list(_found(error))
        most = max(_FRAMES // len(found), 1)
        parts = [_one(shown, most, hide) for shown in found]
    except KeyboardInterrupt:
        raise
    except BaseException as broken:  # of a class that does not let itself be asked
        return f"(the traceback cannot be shown: {type(broken).__name__})"
    if not any(framed for framed, _ in parts):
        return None
    return _cut("\n".join(text for _, text in parts))


def with_traceback(
    problem: Problem, error: BaseException | None, hide: Callable[[str], str] = lambda text: text
) -> Problem:
    """The problem with the traceback of what it comes from, if that has one."""
    text = None if error is None else traceback_of(error, hide)
    return problem if text is None else problem.model_copy(update={"traceback": text})


def _found(error: BaseException) -> Iterator[_Shown]:
    """The exceptions to show, causes first, as Python has them."""
    chain = list(_chain(error))
    shown = chain[: _ERRORS // 2]
    if left := len(chain) - len(shown):
        first = shown[-1]
        said = f"({left} earlier exceptions are not shown)"
        shown[-1] = _Shown(first.error, first.depth, said)
    yield from reversed(shown)
    yield from _parts(error, 1, _ERRORS - len(shown))


def _chain(error: BaseException) -> Iterator[_Shown]:
    """An exception, then its cause, and so on."""
    seen = set[int]()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(seen) < _CAUSES:
        seen.add(id(current))
        cause, why = _attribute(current, "__cause__"), _BECAUSE
        if cause is None and not vars(BaseException)["__suppress_context__"].__get__(current):
            cause, why = _attribute(current, "__context__"), _WHILE
        last = cause is None or id(cause) in seen
        yield _Shown(current, 0, "" if last else why)
        current = cause


def _attribute(error: BaseException, name: str) -> BaseException | None:
    """What the interpreter has noted, whatever a class of the user's makes of the attribute."""
    found = vars(BaseException)[name].__get__(error)
    return found if isinstance(found, BaseException) else None


def _parts(error: BaseException, depth: int, most: int) -> Iterator[_Shown]:
    """The exceptions in a group, groups in it opened."""
    if not isinstance(error, BaseExceptionGroup) or depth > _ERRORS:
        return
    for index, part in enumerate(error.exceptions, 1):
        if most <= 0:
            said = f"({len(error.exceptions) - index + 1} more are not shown)"
            yield _Shown(_Left(said), depth)
            return
        yield _Shown(part, depth, f"---------------- {index} ----------------")
        inner = list(_parts(part, depth + 1, most - 1))
        yield from inner
        most -= 1 + len(inner)


class _Left(Exception):  # stands for what is not shown
    pass


def _one(shown: _Shown, most: int, hide: Callable[[str], str]) -> tuple[bool, str]:
    """Whether there are frames, and the lines of one exception."""
    if isinstance(shown.error, _Left):
        return False, f"  {'| ' * shown.depth}{shown.error}"
    frames = list(_frames(shown.error, most))
    lines = [shown.before, ""] if shown.before and not shown.depth else []
    lines += [shown.before] if shown.depth else []
    if frames:
        lines += ["Traceback (most recent call last):", *map(hide, frames)]
    lines += map(hide, _place_of_syntax(shown.error))
    lines.append(_bounded(hide(headline(shown.error)), _MESSAGE))
    lines += [_bounded(hide(note), _MESSAGE) for note in _notes(shown.error)]
    if not shown.depth:
        return bool(frames), "\n".join(lines) + "\n"
    edge = f"  {'| ' * shown.depth}"
    return bool(frames), "\n".join(f"{edge}{line}" for text in lines for line in text.split("\n"))


def _frames(error: BaseException, most: int) -> Iterator[str]:
    """The frames of foreign code; of many, those where it began and those where it ended."""
    walked = dropwhile(lambda step: _ours(step[0]), traceback.walk_tb(error.__traceback__))
    foreign = (step for step in walked if not step[0].f_code.co_filename.startswith(_IMPORTS))
    first = list(islice(foreign, most // 2))
    last, count = deque[tuple[FrameType, int]](maxlen=most - most // 2), 0
    for step in foreign:
        last.append(step)
        count += 1
    yield from starmap(_frame, first)
    if left := count - len(last):
        yield f"  [{left} more frames]"
    yield from starmap(_frame, last)


def _ours(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__")
    return isinstance(name, str) and name.startswith(_OURS)


def _frame(frame: FrameType, line: int) -> str:
    code = frame.f_code
    file, name = _bounded(code.co_filename, 2 * _LINE), _bounded(code.co_name, _LINE)
    place = f'  File "{file}", line {line}, in {name}'
    source = linecache.getline(code.co_filename, line, frame.f_globals).strip()
    return f"{place}\n    {_bounded(source, _LINE)}" if source else place


def _place_of_syntax(error: BaseException) -> Iterator[str]:
    """Where a source that was imported is wrong: its own line has no frame."""
    if isinstance(error, SyntaxError):
        name, line = error.filename, error.lineno
        if isinstance(name, str) and isinstance(line, int):
            yield f'  File "{_bounded(name, 2 * _LINE)}", line {line}'
            if source := linecache.getline(name, line).strip():
                yield f"    {_bounded(source, _LINE)}"


def _notes(error: BaseException) -> list[str]:
    notes = vars(BaseException)["__dict__"].__get__(error).get("__notes__")
    return (
        [writable(note) for note in notes[:3] if isinstance(note, str)]
        if isinstance(notes, list)
        else []
    )


def _bounded(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _cut(text: str) -> str:
    """At most so many bytes, the beginning and the end of them."""
    raw = writable(text).strip("\n").encode()
    if len(raw) <= _BYTES:
        return raw.decode()
    half = _BYTES // 2 - 16
    head, tail = raw[:half].decode(errors="ignore"), raw[-half:].decode(errors="ignore")
    return f"{head}\n  […]\n{tail}"
