"""Watching the code that a tool-runner has loaded, so that who writes it need not start anything again.

Files are looked at, not the kernel asked: a few hundred of them cost a millisecond, and it works on every file system.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path

__all__ = ["SourceWatch"]

_LOOK = 0.4
"""Seconds between two looks."""
_MOST = 5_000
"""Files that are watched: whoever loads a module of their home directory watches no more of it."""
_FOREIGN = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "build", "dist"})

_Look = dict[Path, tuple[int, int]]


class SourceWatch:
    """The Python files of modules, and of what lies beside them."""

    def __init__(self, modules: Iterable[str], folder: Path) -> None:
        """`folder` is where modules are looked for first: the current directory of a tool-runner."""
        self._folder = folder
        self._roots = sorted(set(_roots(modules, folder)))

    @property
    def files(self) -> list[Path]:
        """What is watched now."""
        return list(self._look())

    async def changes(self) -> AsyncGenerator[list[Path], None]:
        """What has changed, come or gone, once it is quiet: an editor writes several files one after the other."""
        seen = self._look()
        while True:
            await asyncio.sleep(_LOOK)
            now = await asyncio.to_thread(self._look)
            if now == seen:
                continue
            while (later := await self._later()) != now:
                now = later
            changed = sorted(
                path for path in seen.keys() | now.keys() if seen.get(path) != now.get(path)
            )
            seen = now
            yield [_shown(path, self._folder) for path in changed]

    async def _later(self) -> _Look:
        await asyncio.sleep(_LOOK / 4)
        return await asyncio.to_thread(self._look)

    def _look(self) -> _Look:
        found: _Look = {}
        for path in _python_files(self._roots):
            try:
                about = path.stat()
            except OSError:  # gone since it was listed
                continue
            found[path] = about.st_mtime_ns, about.st_size
            if len(found) >= _MOST:
                break
        return found


def _roots(modules: Iterable[str], folder: Path) -> Iterator[Path]:
    """Where the code of modules lies, and what they import of their neighbours; not what is installed."""
    for module in modules:
        top = module.partition(".")[0].partition(":")[0]
        spec = PathFinder.find_spec(top, [str(folder)]) or PathFinder.find_spec(top)
        if spec is None:
            continue
        places = list(spec.submodule_search_locations or ())
        places = places or ([str(Path(spec.origin).parent)] if spec.origin else [])
        for place in places:
            if not _FOREIGN & set(Path(place).parts):
                yield Path(place)


def _python_files(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        for place, folders, files in os.walk(root):
            folders[:] = [
                name
                for name in folders
                if name not in _FOREIGN
                and not name.startswith(".")
                and not (Path(place) / name / "pyvenv.cfg").exists()
            ]
            yield from (Path(place) / name for name in files if name.endswith(".py"))


def _shown(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else path
