"""`partsong version`."""

from __future__ import annotations

import click

from partsong.cli.output import Output, output_option

__all__ = ["command"]


@click.command(epilog="Example: partsong version -o json")
@output_option
def command(out: Output) -> None:
    """Print the versions of Partsong and Python."""
    import platform
    from importlib.metadata import version

    out.record({"partsong": version("partsong"), "python": platform.python_version()})
