"""The shelf: the plugins that a process has, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, cast

from partsong.contracts.errors import InvalidInput, NotFound
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.talk.hooks import PluginRef
from partsong.plugins.plugin import Plugin, ref_of
from partsong.runtime.entry_points import load

__all__ = ["GROUP", "SETTING", "Shelf", "Watch"]

Watch: TypeAlias = "Callable[[str, str, Chunk], None]"
"""Takes the run's id, the node and a chunk."""

GROUP = "partsong.plugins"
"""Entry points of this group lead to a `Plugin` class or object."""
SETTING = "PARTSONG_PLUGINS"
"""Names of entry points, or `module:Class`, separated by commas: these plugins and no others."""


class Shelf:
    """Plugins by name; nothing is loaded that was not asked for by name."""

    def __init__(self, plugins: Mapping[str, Plugin]) -> None:
        self._plugins = dict(plugins)

    @classmethod
    def load(cls, names: Iterable[str]) -> Shelf:
        """The plugins of these names.

        Raises:
            NotFound: `plugin.unknown`, `plugin.no_entry_point`.
            InvalidInput: `plugin.bad`, `plugin.bad_entry_point`, `plugin.no_points`.
        """
        return cls({name: _made(name, _found(name)) for name in dict.fromkeys(names)})

    @classmethod
    def of(cls, plugins: Iterable[Plugin]) -> Shelf:
        """Plugins as objects; each is called like its class."""
        return cls({f"{type(one).__module__}:{type(one).__qualname__}": one for one in plugins})

    @property
    def refs(self) -> tuple[PluginRef, ...]:
        """All of them as runs know them, in the order in which they are asked."""
        found = [ref_of(name, plugin) for name, plugin in self._plugins.items()]
        asked = [ref for ref in found if ref.points]
        return tuple(sorted(asked, key=lambda ref: (ref.order, ref.name)))

    @property
    def watchers(self) -> dict[str, Watch]:
        """What plugins with a method `on_chunk(run_id, node, chunk)` do with chunks."""
        found = {name: getattr(plugin, "on_chunk", None) for name, plugin in self._plugins.items()}
        return {name: cast("Watch", watch) for name, watch in found.items() if callable(watch)}

    def get(self, name: str) -> Plugin | None:
        """The plugin of this name."""
        return self._plugins.get(name)


def _found(name: str) -> object:
    module, colon, attribute = name.partition(":")
    if not colon:
        return load(GROUP, name, where=SETTING)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise NotFound(
            "plugin.unknown", f"{name}: {error}", where=SETTING, fix="correct the name"
        ) from error


def _made(name: str, found: object) -> Plugin:
    if isinstance(found, type) and issubclass(found, Plugin):
        found = found()
    if not isinstance(found, Plugin):
        raise InvalidInput(
            "plugin.bad",
            f"{name} leads to a {type(found).__name__}, not to a Plugin",
            where=SETTING,
            fix="derive the class from partsong.plugins.Plugin",
        )
    ref_of(name, found)
    return found
