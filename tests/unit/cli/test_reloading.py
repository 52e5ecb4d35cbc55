"""What is watched of the code that is loaded: the package and what lies beside a module, not what is installed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from partsong.cli.reloading import SourceWatch


def a_project(folder: Path) -> None:
    for name in ("shop.py", "prices.py", "web/pages.py", ".venv/lib/x.py", "web/__pycache__/y.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("A = 1\n")
    (folder / "env" / "lib").mkdir(parents=True)
    (folder / "env" / "pyvenv.cfg").touch()
    (folder / "env" / "lib" / "z.py").touch()


def named(watch: SourceWatch, folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in watch.files)


def test_what_lies_beside_a_module_is_watched_too(tmp_path: Path) -> None:
    a_project(tmp_path)
    found = named(SourceWatch(["shop"], tmp_path), tmp_path)
    assert found == ["prices.py", "shop.py", "web/pages.py"]


def test_of_a_package_all_is_watched_and_nothing_around_it(tmp_path: Path) -> None:
    a_project(tmp_path)
    (tmp_path / "web" / "__init__.py").touch()
    found = named(SourceWatch(["web.pages"], tmp_path), tmp_path)
    assert found == ["web/__init__.py", "web/pages.py"]


def test_what_is_installed_or_not_there_is_not_watched(tmp_path: Path) -> None:
    assert SourceWatch(["pytest", "no_such_module_at_all"], tmp_path).files == []


async def test_changes_come_together_once_it_is_quiet(tmp_path: Path) -> None:
    a_project(tmp_path)
    changes = SourceWatch(["shop"], tmp_path).changes()
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    (tmp_path / "shop.py").write_text("A = 22\n")
    (tmp_path / "new.py").touch()
    (tmp_path / "prices.py").unlink()
    async with asyncio.timeout(30):
        assert [str(path) for path in await waiting] == ["new.py", "prices.py", "shop.py"]
    await changes.aclose()
