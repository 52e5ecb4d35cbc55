"""Where `partsong.__version__` comes from, for a checkout has no `partsong/__init__.py`: it would hide two of three roots.

A wheel is one root, so it gets one, and `py.typed` beside it. A checkout's environment gets a line that is run when Python
starts, and makes the module of the namespace with the version in it; its path stays that of a namespace.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = '''\
"""Durable multi-agent orchestration on NATS."""

__all__ = ["__version__"]

__version__ = "{version}"
'''
STARTUP = (
    "import sys, importlib.util as u; s = u.find_spec('partsong'); m = s and u.module_from_spec(s); "
    "s and (vars(m).update(__version__='{version}', __doc__='PYTEST_DONT_REWRITE'), sys.modules.setdefault('partsong', m))\n"
)  # the mark: pytest warns of a plugin's package that was imported before it could rewrite it; nothing in it asserts


class WheelHook(BuildHookInterface[Any]):
    """Adds what is not in the tree."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files, and say where they go."""
        self._folder = tempfile.TemporaryDirectory()
        if version == "editable":
            line = self._written("startup.pth", STARTUP.format(version=self.metadata.version))
            build_data["force_include_editable"][line] = "_partsong_version.pth"
            return
        package = self._written("__init__.py", PACKAGE.format(version=self.metadata.version))
        build_data["force_include"][package] = "partsong/__init__.py"
        build_data["force_include"][self._written("py.typed", "")] = "partsong/py.typed"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002  # hatchling's signature
        """Remove them."""
        self._folder.cleanup()

    def _written(self, name: str, text: str) -> str:
        path = Path(self._folder.name, name)
        path.write_text(text, "utf-8")
        return str(path)
