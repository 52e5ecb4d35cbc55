"""Plays cases in processes of their own: one that crashes, hangs or eats all memory is a finding, and the others go on.

    python -m tests.fuzz.apart SEED KIND…    # reads names of cases, one a line; says each before it is played

How long a case may take is measured by what the largest ordinary request takes in the same process, in processor time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from partsong.contracts.wire.requests import parse_request

__all__ = ["Finding", "play"]

_AS_LONG_AS = 25
"""A case takes no more than so many of the largest ordinary requests, to read and to pass the gate."""
_MEMORY = 3 * 1024**3
_GROWTH = 500 * 1024
"""KiB that all cases of a process may leave behind."""
_SILENCE = 300.0
"""Seconds without a word after which a process hangs, though it uses no processor."""


@dataclass(frozen=True)
class Finding:
    """What is wrong in a case."""

    case: str
    said: list[str] = field(default_factory=list)


async def play(seed: int, cases: Sequence[str]) -> AsyncIterator[Finding]:
    """Play cases one after the other, each once; a finding for each, with nothing said if all was well."""
    left = list(cases)
    while left:
        player = await _started(seed, {case.partition("/")[0] for case in left})
        try:
            async for finding in _played(player, left):
                del left[: left.index(finding.case) + 1]
                yield finding
        finally:
            with contextlib.suppress(ProcessLookupError):
                player.kill()
            await player.wait()


async def _started(seed: int, kinds: set[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(seed), *sorted(kinds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # what its log says is another suite's
        limit=2**20,
    )


async def _played(
    player: asyncio.subprocess.Process, cases: Sequence[str]
) -> AsyncIterator[Finding]:
    """Findings until the process has ended; of the case at which it died, that."""
    assert player.stdin is not None
    assert player.stdout is not None
    telling = asyncio.ensure_future(_tell(player.stdin, cases))
    now = cases[0]
    try:
        while True:
            line = await asyncio.wait_for(player.stdout.readline(), _SILENCE)
            if line.startswith(b"> "):
                now = line[2:].decode().strip()
            elif line:
                yield Finding(now, json.loads(line))
            else:
                break
    except TimeoutError:
        yield Finding(now, ["it does not end, and takes no processor time"])
        return
    finally:
        telling.cancel()
    if (code := await player.wait()) != 0:
        yield Finding(now, [_death(code)])


async def _tell(ear: asyncio.StreamWriter, cases: Sequence[str]) -> None:
    with contextlib.suppress(ConnectionError):
        ear.write("".join(f"{case}\n" for case in cases).encode())
        await ear.drain()
        ear.close()


def _death(code: int) -> str:
    if code == -signal.SIGPROF:
        return f"it takes more than {_AS_LONG_AS} times what the largest request takes"
    return f"its process dies with code {code}"


# --- in the process -----------------------------------------------------------------------------------------------


def _ordinary() -> float:
    """Seconds of processor time for the largest ordinary request."""
    rows = [{"n": n, "name": f"row {n}", "price": n / 7} for n in range(15_000)]
    body = json.dumps({"id": "q", "graph": "g", "input": {"rows": rows}}).encode()
    times = []
    for _ in range(3):
        began = time.process_time()
        parse_request("run", body)
        times.append(time.process_time() - began)
    return min(times)


def _serve(seed: int, kinds: Sequence[str]) -> None:
    from tests.fuzz.answers import load
    from tests.fuzz.kinds import found_in

    if "answer" in kinds:
        load()
    for kind in kinds:  # what is loaded late is loaded now
        found_in(seed, f"{kind}/0")
    signal.signal(
        signal.SIGPROF, signal.SIG_DFL
    )  # it ends the process, whatever library is at work
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most, said = _AS_LONG_AS * _ordinary(), sys.stdout
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for line in sys.stdin:
        case = line.strip()
        print(f"> {case}", file=said, flush=True)
        signal.setitimer(signal.ITIMER_PROF, most)
        found = found_in(seed, case)
        signal.setitimer(signal.ITIMER_PROF, 0)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if grown > _GROWTH:
            found.append(f"the process has grown by {grown // 1024} MiB")
            before += grown
        print(json.dumps(found), file=said, flush=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2:])
