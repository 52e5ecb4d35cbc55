"""Tools of a distribution that is installed: processes find them by their entry points."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["with_tool"]


def with_tool(folder: Path, name: str, where: str) -> dict[str, str]:
    """Install the tool at `module:attribute` into a folder; the environment of a process that is to have it."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[partsong.tools]\n{name} = {where}\n")
    here = str(Path(__file__).parents[2])
    path = os.pathsep.join([str(folder), here, os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "PARTSONG_TOOLS": name}
