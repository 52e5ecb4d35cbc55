"""The wheel of this checkout, built and installed where nothing else of Partsong is: what a stranger has."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from tests.house.sources import ROOT

__all__ = ["installed"]


def installed(work: Path) -> Path:
    """The commands of a new environment. What Partsong stands on is taken from this one, so nothing is downloaded."""
    built = WheelBuilder(str(ROOT)).build(directory=str(work / "dist"), versions=["standard"])
    wheel = Path(next(iter(built)))
    folder = work / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    commands = folder / "bin"
    uv = Path(sys.executable).with_name("uv")
    install: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        folder,
    ]
    done = subprocess.run([*install, wheel], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    for found in Path(sysconfig.get_path("purelib")).iterdir():
        own = found.name.lower().lstrip("_").startswith(("partsong", "editable"))
        if not own and found.suffix != ".pth" and not (packages / found.name).exists():
            (packages / found.name).symlink_to(found)
    server = Path(sys.executable).with_name("nats-server")
    if server.exists():  # the one that `partsong[up]` brings
        (commands / server.name).symlink_to(server)
    return commands
