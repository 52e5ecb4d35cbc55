"""`Plugin`: what a plugin is, and what it is shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, cast, get_args

from pydantic import JsonValue

from partsong.contracts.durations import parse_duration
from partsong.contracts.errors import InvalidInput
from partsong.contracts.talk.hooks import HookOutcome, HookPoint, PluginRef

__all__ = ["POINTS", "Hook", "Method", "Plugin", "PluginKind", "ref_of"]

PluginKind = Literal["guard", "observer"]
POINTS: tuple[HookPoint, ...] = get_args(HookPoint)


@dataclass(frozen=True, slots=True)
class Hook:
    """One moment of a run that a plugin may have something to say about."""

    point: HookPoint
    run_id: str
    subject: str
    """The execution or call that it is about; empty for the run itself."""
    node: str
    data: Mapping[str, JsonValue]
    """What there is to see at this point: `args`, `result`, `messages`, `text`, `state`, `update`, `error`, …"""


Method: TypeAlias = "Callable[[Hook], HookOutcome | Awaitable[HookOutcome | None] | None]"


class Plugin:
    """Base of plugins. A method named like a hook point makes the plugin be asked there.

    It takes a `Hook` and returns an outcome, or None to go on; it may be async. The same question may come twice when a
    process dies in between, so what a plugin does to the world should be safe to repeat.
    """

    kind: ClassVar[PluginKind] = "observer"
    """A guard that raises, is late or is not there vetoes; an observer that does is passed over."""
    order: ClassVar[int] = 0
    """Those with lower numbers are asked first."""
    timeout: ClassVar[float] = 5.0
    """Seconds for one hook; any other duration is read, too."""

    def method(self, point: HookPoint) -> Method | None:
        """What the plugin does at a point."""
        return cast("Method | None", getattr(self, point, None))


def ref_of(name: str, plugin: Plugin | type[Plugin]) -> PluginRef:
    """A plugin as a run knows it.

    Raises:
        InvalidInput: `plugin.no_points`, `duration.invalid`.
    """
    points: tuple[HookPoint, ...] = tuple(
        point for point in POINTS if callable(getattr(plugin, point, None))
    )
    if not points and not callable(getattr(plugin, "on_chunk", None)):
        raise InvalidInput(
            "plugin.no_points",
            f"plugin {name} has no method named like a hook point",
            where=name,
            fix=f"give it one of {', '.join(POINTS)}, on_chunk",
        )
    timeout = parse_duration(plugin.timeout, f"{name}.timeout")
    return PluginRef(
        name=name, points=points, kind=plugin.kind, order=plugin.order, timeout=timeout
    )
