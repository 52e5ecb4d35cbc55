"""A platform of the example's own, for as long as it runs: `partsong up` as a child process, in a folder that goes away."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "platform"]

ROOT = Path(__file__).parents[1]


@asynccontextmanager
async def platform(data: Path, load: str) -> AsyncIterator[dict[str, Any]]:
    """Runs a platform on the folder `data` with the functions of the module `load`; yields what its ready file says."""
    ready = data / "ready.json"
    command = [
        sys.executable,
        "-m",
        "partsong.cli.main",
        "up",
        "--data",
        str(data),
        "--http-port",
        "0",
    ]
    command += ["--load", load, "--ready-file", str(ready)]
    up = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(60):
            while not ready.exists():
                if up.returncode is not None:
                    raise SystemExit(
                        f"partsong up ended with {up.returncode}; its logs are in {data / 'logs'}"
                    )
                await asyncio.sleep(0.05)
        yield json.loads(ready.read_text())
    finally:
        if up.returncode is None:
            up.send_signal(signal.SIGINT)
        await up.wait()
