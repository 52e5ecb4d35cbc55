"""`partsong new`: a project that runs."""

from __future__ import annotations

from pathlib import Path

import click

from partsong.cli.output import Output, output_option

__all__ = ["TEMPLATES", "command"]

TEMPLATES = ("workflow", "agent")
"""Folders of `templates/`, beside what all projects have in common."""


@click.command(epilog="Example: partsong new my-shop --template agent")
@click.argument("name")
@click.option(
    "--template", type=click.Choice(TEMPLATES), default="workflow", show_default=True,
    help="What the project begins with.",
)  # fmt: skip
@output_option
def command(name: str, template: str, out: Output) -> None:
    """Make a project that runs.

    In a new folder NAME: a graph, its test, and how to run them.
    """
    from importlib.metadata import version

    from partsong.cli.scaffold import package_of, project
    from partsong.contracts.errors import Conflict
    from partsong.runtime.extras import lacking

    folder = Path(name)
    title = folder.resolve().name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(
            "project.exists",
            f"{folder} is there already, and not empty",
            where="NAME",
            fix="give another name, or empty it; nothing was written",
        )
    written = project(title, template, version("partsong"))
    for path, text in written.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    if out.plain:
        package = package_of(title)
        click.echo("\n".join(str(folder / path) for path in sorted(written)))
        if lacking("up"):
            out.say("\nNeeds: pip install 'partsong[up]' pytest pytest-asyncio")
        out.say(f"\nNext: cd {folder} && python -m {package}, python -m pytest, see README.md")
    else:
        out.record({"folder": str(folder), "template": template, "files": sorted(written)})
