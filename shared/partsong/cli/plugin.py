"""`partsong plugin`: see the plugins of this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from partsong.cli.group import Group
from partsong.cli.output import Output, output_option

__all__ = ["command"]


@click.group(cls=Group)
def command() -> None:
    """See the plugins that are asked at hook points."""


@command.command("list", epilog="Example: partsong plugin list --plugin pii-redaction")
@click.option(
    "--plugin", "names", multiple=True, metavar="NAME",
    help="Entry point or module:Class; may be repeated.  [env: PARTSONG_PLUGINS]",
)  # fmt: skip
@output_option
def list_(names: tuple[str, ...], out: Output) -> None:
    """The plugins that are asked, in their order; and those that installed packages offer."""
    from partsong.plugins.shelf import GROUP, SETTING, Shelf
    from partsong.runtime.entry_points import offered

    given = [one.strip() for one in os.environ.get(SETTING, "").split(",") if one.strip()]
    sys.path.insert(0, str(Path.cwd()))  # as services do, and `partsong tool`
    used = {ref.name: ref for ref in Shelf.load(names or given).refs}
    rows: list[dict[str, object]] = [
        {
            "name": name,
            "asked": "yes",
            "kind": ref.kind,
            "order": ref.order,
            "points": ", ".join(ref.points),
        }
        for name, ref in used.items()
    ]
    there = sorted(offered(GROUP))
    idle: list[dict[str, object]] = [
        {"name": name, "asked": "no"} for name in there if name not in used
    ]
    out.rows([*rows, *idle], ("name", "asked", "kind", "order", "points"))
