"""`partsong version`, and `partsong --version` in one line."""

from __future__ import annotations

import click

from partsong.cli.output import Output, output_option

__all__ = ["command", "version_option"]


def _versions() -> dict[str, str | None]:
    import platform
    from importlib.metadata import version

    from partsong.runtime.nats.binary import nats_server_version

    return {
        "partsong": version("partsong"),
        "python": platform.python_version(),
        "nats_server": nats_server_version(),
    }


@click.command(epilog="Example: partsong version -o json")
@output_option
def command(out: Output) -> None:
    """Print the versions of Partsong, Python and nats-server."""
    out.record(_versions())


def _show(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:  # noqa: FBT001  # click's signature
    if not wanted or ctx.resilient_parsing:
        return
    found = _versions()
    server = f"nats-server {found['nats_server']}" if found["nats_server"] else "no nats-server"
    click.echo(f"partsong {found['partsong']} (Python {found['python']}, {server})")
    ctx.exit()


def version_option() -> click.Option:
    """`--version`, which prints the same in one line and ends."""
    return click.Option(
        ["-V", "--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show,
        help="Print the versions in one line.",
    )
