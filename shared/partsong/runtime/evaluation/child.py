"""Answers questions, one per line of standard input, each within a limit of processor time and memory.

It is a process of its own because neither library lets go of the interpreter's lock, so that no thread could stop
them, and because what runs out of memory in C++ or Rust takes its process with it. The limit is of processor time, not
of the clock's: on a busy machine an answer comes later, it does not become another.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys

from pydantic import JsonValue

from partsong.contracts.errors import PartsongError
from partsong.contracts.foreign.question import question_of

__all__ = ["BUDGET", "MEMORY", "main"]

BUDGET = 0.25
"""Seconds of processor time for one answer."""
_READING = 5.0
"""Seconds of processor time to read a question: it is at most as large as a state."""
MEMORY = 768 * 1024 * 1024
"""Bytes of address space."""


def main() -> None:
    """Answer until nobody asks any more."""
    # It ends this process, whatever library is at work.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(limit, (most, most))
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_PROF, _READING)
        said = json.dumps(_answered(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(said.encode() + b"\n")
        sys.stdout.buffer.flush()


def _answered(line: bytes) -> dict[str, JsonValue]:
    try:
        question = question_of(line)
        signal.setitimer(signal.ITIMER_PROF, BUDGET)
        answer = question.answer()
        signal.setitimer(signal.ITIMER_PROF, _READING)
    except PartsongError as error:
        return {"problem": error.problem.model_dump(mode="json")}
    except MemoryError:
        return {"over": f"it takes more than {MEMORY // 1024**2} MiB"}
    except Exception as error:
        return {"over": f"{type(error).__name__}: {error!s:.200}"}
    return {"answer": answer}


if __name__ == "__main__":
    main()
