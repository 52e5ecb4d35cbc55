"""`python -m tests.soak`: real processes on a real server, under traffic and harm, then judged from outside."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from partsong.client import Client
from partsong.runtime import clock
from tests.soak.nemesis import Nemesis
from tests.soak.oracle import judge
from tests.soak.processes import Fleet, a_fleet_of
from tests.soak.traffic import Traffic

__all__ = ["Soaked", "main", "soak", "verdict"]

_STILL = 120.0
"""Seconds in which nothing ends, after which what is open counts as stuck."""
_SHOWN = 40


@dataclass(frozen=True)
class Soaked:
    """What a soak has done, and what it has found."""

    runs: int
    harm: int
    """How often something was killed, stopped or spoiled."""
    found: list[str]


def verdict(done: Soaked, *, seed: int, seconds: float) -> str:
    """The last line: whether it passed, and how much of what."""
    said = f"{done.runs} runs, {done.harm} times harm in {seconds:g} s, seed {seed}"
    if not done.found:
        return f"passed: nothing wrong in {said}"
    return f"failed: {len(done.found)} findings in {said}"


def _say(line: str) -> None:
    print(f"{clock.now_text()}  {line}", flush=True)


async def soak(folder: Path, *, seconds: float, seed: int, engines: int, workers: int) -> Soaked:
    """Do harm for some seconds, let all end, and judge."""
    rnd, file = random.Random(seed), folder / "effects"
    fleet = await a_fleet_of(folder, engines, workers)
    try:
        async with Client(fleet.nats.url, timeout=60) as client:
            return await _soaked(rnd, fleet, client, file, seconds)
    finally:
        await fleet.stop()


async def _soaked(
    rnd: random.Random, fleet: Fleet, client: Client, file: Path, seconds: float
) -> Soaked:
    nemesis = Nemesis(random.Random(rnd.random()), fleet, client, _say)
    traffic = Traffic(
        random.Random(rnd.random()), client, lambda: fleet.http_url, str(file), nemesis.spoiled
    )
    going = [asyncio.ensure_future(traffic.run()), asyncio.ensure_future(nemesis.run())]
    done, _ = await asyncio.wait(going, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # neither ends by itself
    traffic.closing.set()
    going[1].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await going[1]
    _say("the harm ends; everything goes on")
    await nemesis.settle()
    left = await traffic.finish(_STILL)
    found = [f"{run_id} ({traffic.asked[run_id]}) does not end" for run_id in sorted(left)]
    _say(f"harm: {dict(nemesis.done)}")
    _say(
        f"{len(traffic.asked)} runs, {len(nemesis.spoiled)} of them spoiled; answers: {dict(traffic.answers)}"
    )
    found += [
        *nemesis.wrong,
        *traffic.wrong,
        *await judge(fleet, client, file, nemesis.spoiled),
    ]
    return Soaked(len(traffic.asked), sum(nemesis.done.values()), found)


def main(arguments: list[str]) -> int:
    """Soak once; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long harm is done")
    parser.add_argument(
        "--seed", type=int, default=1, help="decides what is done, not when it happens"
    )
    parser.add_argument("--engines", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="gateways, and as many tool-runners")
    parser.add_argument(
        "--folder", type=Path, help="where logs and data are kept; otherwise they go"
    )
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="partsong-soak-") as temporary:
        folder = args.folder or Path(temporary)
        options = {"seed": args.seed, "engines": args.engines, "workers": args.workers}
        done = asyncio.run(soak(folder, seconds=args.seconds, **options))
    for line in done.found[:_SHOWN]:
        print(line)
    if (left := len(done.found) - _SHOWN) > 0:
        print(f"and {left} more")
    print(verdict(done, seed=args.seed, seconds=args.seconds))
    return 1 if done.found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
