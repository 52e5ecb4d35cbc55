"""A bare environment: what `pip install partsong` without an extra brings, made without a network.

It is a virtual environment of its own, so that processes which Partsong starts are as bare as the one that starts them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from tests.house.distribution import roots
from tests.house.sources import ROOT

__all__ = ["bare_environment"]


def bare_environment(folder: Path, *more: str) -> Path:
    """The interpreter of an environment with this checkout's Partsong, what it requires, and the packages `more`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    command = (python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    site = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    for found in {one.metadata["Name"]: one for one in _closure(("partsong", *more))}.values():
        for top in _tops(found):
            if not (site / top.name).exists():
                (site / top.name).symlink_to(top)
    (site / "checkout.pth").write_text("".join(f"{ROOT / root}\n" for root in _sources()))
    return python


def _sources() -> list[str]:
    return [str(Path(root).parent) for root in roots()]


def _closure(names: tuple[str, ...], seen: frozenset[str] = frozenset()) -> Iterator[Distribution]:
    for name in names:
        if name in seen:
            continue
        found = distribution(name)
        yield found
        inner = [
            match[0]
            for text in found.requires or []
            if ";" not in text and (match := re.match(r"[\w.-]+", text))
        ]
        yield from _closure(tuple(inner), seen | {name})


def _tops(found: Distribution) -> Iterator[Path]:
    """The files and folders right below site-packages that belong to it; of Partsong only what it says of itself."""
    own = found.metadata["Name"] == "partsong"
    for name in sorted({one.parts[0] for one in found.files or []} - {"..", "__pycache__"}):
        if not own or name.endswith(".dist-info"):
            yield Path(str(found.locate_file(name)))
