"""`python -m bench`: measure the quality bars and print them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness import Options, measure, names
from bench.table import show
from partsong.contracts.errors import InvalidInput

_RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, keep `bench/results/latest.json`; 1 if a measurement broke, 2 for a wrong name."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help=", ".join(names())
    )
    parser.add_argument("--quick", action="store_true", help="less of everything: rough figures")
    parser.add_argument("--no-peers", action="store_true", help="leave the others out")
    parser.add_argument(
        "--folder", type=Path, help="where the stores live (default: a temporary folder)"
    )
    given = parser.parse_args(arguments)
    options = Options(
        only=frozenset(given.only),
        quick=given.quick,
        peers=not given.no_peers,
        folder=given.folder,
    )
    try:
        result = measure(options)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    show(result, Console())
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / "latest.json").write_text(result.model_dump_json(indent=2) + "\n", "utf-8")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
