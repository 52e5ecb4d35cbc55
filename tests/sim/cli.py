"""The command line of the simulation."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from partsong.cli.failures import report
from partsong.cli.graph_file import read_graph
from partsong.cli.options import parse_inputs
from partsong.cli.output import Output
from partsong.contracts.errors import InvalidInput
from tests.sim.graphs import shortened
from tests.sim.plan import Knobs, OwnGraph
from tests.sim.simulation import Outcome, simulate

__all__ = ["main", "own_graph", "smaller"]

_CHUNK = 25
_SHOWN = 5
"""Findings printed of one seed."""


def main(arguments: list[str]) -> int:
    """Play seeds; 1 if any found something, 2 if there is something wrong with the graph."""
    args = _parse(arguments)
    try:
        own = own_graph(args.graph, args.input)
    except InvalidInput as error:
        return report(error, Output())
    knobs = Knobs(
        engines=args.engines,
        runs=args.runs,
        faults=args.faults,
        chaos=not args.no_chaos,
        skew=not args.no_skew,
        own=own,
    )
    if args.seed is not None:
        return _one(args.seed, knobs, trace=args.trace, shrink=args.shrink)
    return _many(range(args.first, args.first + args.seeds), knobs, args.jobs, args.most)


def count(said: str) -> int:
    """A number of things that there must be: of none of them nothing would be played, and all would be well."""
    if (found := int(said)) < 1:
        raise argparse.ArgumentTypeError(f"{said} is less than 1")
    return found


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happens")
    parser.add_argument(
        "--shrink", action="store_true", help="with --seed: look for less that fails"
    )
    parser.add_argument("--seeds", type=count, default=1_000, help="play so many")
    parser.add_argument("--first", type=int, default=0, help="beginning with this one")
    parser.add_argument("--jobs", type=count, default=os.cpu_count() or 1, help="so many at once")
    parser.add_argument("--most", type=count, default=10, help="stop after so many that fail")
    parser.add_argument("--engines", type=count, help="hold the number of engines fixed")
    parser.add_argument("--runs", type=count, help="hold the number of runs fixed")
    parser.add_argument("--faults", type=int, help="no more faults than this")
    parser.add_argument(
        "--no-chaos", action="store_true", help="messages are neither lost nor late"
    )
    parser.add_argument("--no-skew", action="store_true", help="all clocks are right")
    parser.add_argument("--graph", type=Path, help="a graph of your own, as YAML or JSON")
    parser.add_argument(
        "-i", "--input", action="append", default=[], metavar="K=V|@FILE",
        help="with --graph: what its runs are started with; may be repeated",
    )  # fmt: skip
    return parser.parse_args(arguments)


def own_graph(path: Path | None, pairs: Sequence[str]) -> OwnGraph | None:
    """The user's graph and input, if one is given.

    Raises:
        InvalidInput: what is wrong with the file, and where, or with the input.
    """
    given = parse_inputs(tuple(pairs))
    if path is None:
        if pairs:
            said = f"{pairs[0]!r} is for the runs of a graph of yours, and none is given"
            raise InvalidInput("input.malformed", said, where="-i", fix="add --graph FILE")
        return None
    inputs = [word for pair in pairs for word in ("-i", pair)]
    return OwnGraph(shortened(read_graph(path)), given, ("--graph", str(path), *inputs))


def _one(seed: int, knobs: Knobs, *, trace: bool, shrink: bool) -> int:
    outcome = simulate(seed, knobs, trace=trace)
    if shrink and outcome.findings:
        outcome = smaller(outcome)
    for line in outcome.trace:
        print(line)
    _report(outcome)
    print(
        f"log {outcome.digest}, {outcome.records} records, {outcome.seconds:.1f} s of simulated time"
    )
    return 1 if outcome.findings else 0


def _many(seeds: range, knobs: Knobs, jobs: int, most: int) -> int:
    began, failed, done = time.monotonic(), 0, 0
    for outcomes in _played(seeds, knobs, jobs):
        done += len(outcomes)
        for outcome in outcomes:
            if outcome.findings:
                failed += 1
                _report(smaller(outcome))
        rate = done / (time.monotonic() - began)
        print(f"{done}/{len(seeds)} seeds, {failed} failed, {rate:.0f}/s", flush=True)
        if failed >= most:
            break
    return 1 if failed else 0


def _played(seeds: range, knobs: Knobs, jobs: int) -> Iterator[list[Outcome]]:
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    if jobs == 1:
        yield from (_chunk(chunk, knobs) for chunk in chunks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(_chunk, chunks, [knobs] * len(chunks))
        finally:
            pool.shutdown(cancel_futures=True)


def _chunk(seeds: Iterable[int], knobs: Knobs) -> list[Outcome]:
    return [simulate(seed, knobs) for seed in seeds]


def smaller(outcome: Outcome) -> Outcome:
    """Less of the same seed that fails still: fewer engines, runs and faults, a better network."""
    found = True
    while found:
        found = False
        for knobs in _less(outcome):
            tried = simulate(outcome.seed, knobs)
            if tried.findings:
                outcome, found = tried, True
                break
    return outcome


def _less(outcome: Outcome) -> Iterator[Knobs]:
    knobs = outcome.knobs
    if knobs.skew:
        yield replace(knobs, skew=False)
    if knobs.chaos:
        yield replace(knobs, chaos=False)
    for faults in range(8 if knobs.faults is None else knobs.faults):
        yield replace(knobs, faults=faults)
    for runs in range(1, 6 if knobs.runs is None else knobs.runs):
        yield replace(knobs, runs=runs)
    for engines in range(1, 4 if knobs.engines is None else knobs.engines):
        yield replace(knobs, engines=engines)


def _report(outcome: Outcome) -> None:
    if not outcome.findings:
        return
    print(f"FAILED  {outcome.line}")
    for finding in outcome.findings[:_SHOWN]:
        print(f"    {finding}")
    if (left := len(outcome.findings) - _SHOWN) > 0:
        print(f"    and {left} more")
