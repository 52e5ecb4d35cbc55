"""`python -m partsong.testing.fake_llm`: prints where it listens, and serves until it is interrupted."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress

from partsong.testing.fake_llm.server import FakeLLM


async def _main(host: str, port: int) -> None:
    async with FakeLLM(host=host, port=port) as llm:
        sys.stdout.write(f"{llm.url}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m partsong.testing.fake_llm", description=__doc__
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: loopback only)"
    )
    parser.add_argument("--port", type=int, default=0, help="port (default: a free one)")
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(given.host, given.port))
