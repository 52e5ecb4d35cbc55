"""The command line of the fuzz: what is played, how far it is, and the command that plays a case again."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from partsong.runtime import clock
from tests.fuzz import live
from tests.fuzz.apart import Finding, play
from tests.fuzz.kinds import KINDS, KNOWN, cases, found_in
from tests.fuzz.oracle import judge, memory_of

__all__ = ["again", "apart", "main", "platform"]

_LIVE = 0.25
"""The share of the cases that is played on a platform of processes."""
_MOST = 20
"""Findings after which it stops."""


def again(seed: int, case: str) -> str:
    """The command that plays a case again."""
    return f".venv/bin/python -m tests.fuzz --seed {seed} --case {case}"


async def apart(seed: int, names: Sequence[str], jobs: int) -> AsyncIterator[Finding]:
    """Play cases in so many processes; what is known is not said again."""
    done: asyncio.Queue[Finding | None] = asyncio.Queue()

    async def some(share: Sequence[str]) -> None:
        try:
            async for finding in play(seed, share):
                done.put_nowait(finding)
        finally:
            done.put_nowait(None)

    tasks = [asyncio.ensure_future(some(names[job::jobs])) for job in range(jobs)]
    try:
        left = jobs
        while left:
            finding = await done.get()
            if finding is None:
                left -= 1
            else:
                new = [said for said in finding.said if said not in KNOWN]
                yield Finding(finding.case, new)
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def platform(folder: Path, seed: int, names: Sequence[str]) -> list[str]:
    """Play cases on a platform, beside honest runs; what is wrong."""
    async with live.a_field(folder, seed) as field:
        await field.prepare()
        await field.beside("ordinary requests", field.ordinary())
        before = {name: memory_of(pid) for name, pid in field.pids.items()}
        told = _Progress("on the platform", len(names))
        await field.beside("cases", field.play(names, lambda _name: told.one_more()))
        found = await judge(field, before)
        times = {what: len(spans) for what, spans in field.times.items()}
        print(
            f"on the platform: {len(names)} cases, {field.due.total()} requests to answer, honest runs: {times}, "
            f"beside cases {field.slower():.1f} times as long",
            flush=True,
        )
    return found


def main(arguments: list[str]) -> int:
    """Play; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=2000, help="so many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that play")
    parser.add_argument("--case", help="play this one only, here: KIND/NUMBER")
    parser.add_argument("--live", type=float, default=_LIVE, help="share of them on a platform")
    args = parser.parse_args(arguments)
    if args.case is not None:
        return _one(args.seed, args.case)
    os.environ.setdefault("SSL_CERT_DIR", tempfile.gettempdir())  # nobody here speaks TLS
    print(f"seed {args.seed}, {args.cases} cases", flush=True)
    failed = asyncio.run(_all(args.seed, args.cases, args.jobs, args.live))
    print(f"{'failed' if failed else 'passed'}: {failed} findings, seed {args.seed}")
    return 1 if failed else 0


async def _all(seed: int, count: int, jobs: int, share: float) -> int:
    there = round(count * share)
    told, failed = _Progress("in one process", count - there), 0
    async for finding in apart(seed, cases(count - there), jobs):
        told.one_more()
        if finding.said:
            failed += 1
            _report(seed, finding.case, finding.said)
        if failed >= _MOST:
            return failed
    if there:
        with tempfile.TemporaryDirectory(prefix="partsong-fuzz-") as folder:
            found = await platform(Path(folder) / "field", seed, live.cases(there))
        for said in found:
            print(
                f"FAILED  .venv/bin/python -m tests.fuzz --seed {seed} --cases {count} --live {share:g}\n    {said}"
            )
        failed += len(found)
    return failed


def _one(seed: int, case: str) -> int:
    if case.partition("/")[0] not in KINDS:
        with tempfile.TemporaryDirectory(prefix="partsong-fuzz-") as folder:
            found = asyncio.run(platform(Path(folder) / "field", seed, [case]))
    else:
        found = found_in(seed, case)
    for said in found:
        print(said)
    print(f"{len(found)} findings in {case}, seed {seed}")
    return 1 if found else 0


def _report(seed: int, case: str, found: Sequence[str]) -> None:
    print(f"FAILED  {again(seed, case)}", *(f"    {said}" for said in found), sep="\n", flush=True)


class _Progress:
    """Says now and then how far it is."""

    def __init__(self, where: str, whole: int) -> None:
        self._where, self._whole, self._done = where, whole, 0
        self._began = clock.monotonic()
        self._step = max(1, whole // 10)

    def one_more(self) -> None:
        self._done += 1
        if self._done % self._step == 0:
            rate = self._done / (clock.monotonic() - self._began)
            print(f"{self._where}: {self._done}/{self._whole}, {rate:.0f}/s", flush=True)
