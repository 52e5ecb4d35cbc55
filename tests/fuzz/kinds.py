"""The kinds of cases that are played in one process, how often each is played, and what is known to be wrong still."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.fuzz import pure
from tests.fuzz.answers import answer
from tests.fuzz.draw import Draw
from tests.fuzz.runs import outcome, run

__all__ = ["KINDS", "KNOWN", "SHARES", "cases", "found_in"]

KINDS: dict[str, Callable[[Draw], Iterator[str]]] = {
    "request": pure.request,
    "graph": pure.graph,
    "value": pure.value,
    "schema": pure.schema,
    "cel": pure.cel,
    "record": pure.record,
    "text": pure.text,
    "run": run,
    "outcome": outcome,
    "answer": answer,
}
SHARES = {
    "request": 24, "graph": 17, "value": 8, "schema": 8, "cel": 12, "record": 12, "text": 4, "run": 8, "outcome": 4, "answer": 3,
}  # fmt: skip
"""Of a hundred; what costs more is played less often."""

KNOWN: dict[str, str] = {}
"""What is wrong today, and a case of seed 1 that shows it: it is not counted, and noticed when it has been mended."""


def cases(count: int) -> list[str]:
    """The names of so many cases: `request/0`, …; the kinds take turns."""
    whole, numbers = sum(SHARES.values()), dict.fromkeys(SHARES, 0)
    names: list[str] = []
    for at in range(1, count + 1):
        kind = max(SHARES, key=lambda kind: SHARES[kind] * at / whole - numbers[kind])
        names.append(f"{kind}/{numbers[kind]}")
        numbers[kind] += 1
    return names


def found_in(seed: int, case: str) -> list[str]:
    """What is wrong in one case; an error that is none of ours is."""
    try:
        return [*KINDS[case.partition("/")[0]](Draw(f"{seed} {case}"))]
    except Exception as error:
        return [f"{type(error).__name__}: {error!s:.300}", *_where(error)]


def _where(error: Exception) -> Iterator[str]:
    """The frames of ours, the innermost first."""
    trace, frames = error.__traceback__, list[str]()
    while trace is not None:
        code = trace.tb_frame.f_code
        if "partsong" in code.co_filename or "fuzz" in code.co_filename:
            frames.append(f"    {code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    yield from frames[:-4:-1]
