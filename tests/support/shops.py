"""A user's package on disk: functions, tools, methods, partials, and what it imports from elsewhere."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["shop_modules"]

DESK = '''
import functools
from pathlib import Path

from elsewhere_x import Lib, lent, rented

from partsong.agents import Agent
from partsong.tools import tool
from partsong.tools.builtin.calculator import calculator as imported
from partsong.tools.builtin.read_file import file_tool
from partsong.workflow import WorkflowGraph


class Desk(Lib):
    def __init__(self, stock):
        self.stock = stock
        self.drawer = Drawer()

    def lookup(self, state):
        return {"stock": self.stock}

    def count(self, article: str) -> int:
        """How many of an article there are."""
        return self.stock

    def _hidden(self, state):
        return {}

    def __call__(self, state):
        return {"called": self.stock}


class Drawer:
    def empty(self, state):
        return {}


def scaled(state, scale=1):
    return {"x": scale}


def bare(function):
    return lambda state: {"bare": function(state)}


@bare
def wrapped(state):
    return 1


desk = Desk(42)
_secret = Desk(1)
lib = Lib()
tripled = functools.partial(scaled, scale=3)
posted = functools.partial(lent, place="x")


@tool(side_effect="read", idempotent=True)
def stock(article: str) -> int:
    """How many of an article there are."""
    return desk.stock


def plain(article: str) -> str:
    """A plain function of the list."""
    return article


def unlisted(article: str) -> str:
    """No tool."""
    return article


reader = file_tool(Path("."))
tools = [plain]
graph = WorkflowGraph("desk", tools=[file_tool(Path("docs")), desk.count, stock])
graph.add_tool("look", "stock", args={"article": "A-7"})
clerk = Agent("scripted:summary", tools=[tool(name="counted")(desk.count)])
'''

ELSEWHERE = '''
from partsong.tools import tool


class Lib:
    def post(self, state):
        return {}


def lent(state, place=""):
    return {}


@tool
def rented(article: str) -> str:
    """Of another package."""
    return article
'''


@pytest.fixture
def shop_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package `shop_t` with the modules `desk`, `empty` and `both`, and `elsewhere_x`, which it imports."""
    package = tmp_path / "shop_t"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "desk.py").write_text(DESK)
    (package / "empty.py").write_text("NUMBER = 3\n")
    (package / "both.py").write_text(
        "from partsong.tools import tool\n"
        "@tool(name='same')\ndef one(a: str) -> str:\n    'One.'\n    return a\n"
        "@tool(name='same')\ndef two(a: str) -> str:\n    'Two.'\n    return a\n"
    )
    (tmp_path / "elsewhere_x.py").write_text(ELSEWHERE)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    for name in [*sys.modules]:
        if name.partition(".")[0] in {"shop_t", "elsewhere_x"}:
            del sys.modules[name]
