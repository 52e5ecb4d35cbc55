"""`partsong schema`: the schemas of everything that travels, and whether they may change as they did."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
from pydantic import JsonValue

from partsong.cli.output import EXIT, run_async
from partsong.contracts.errors import NotFound

__all__ = ["command"]

_FOLDER = Path("contracts/schemas")
_ASYNCAPI = Path("contracts/asyncapi.yaml")


@click.group()
def command() -> None:
    """The schemas of everything that travels."""


def _files() -> Iterator[tuple[Path, str]]:
    """Path and text of all that is generated."""
    from partsong.cli.asyncapi import as_yaml, asyncapi
    from partsong.contracts.schemas import published

    schemas = published()
    for schema in schemas:
        yield _FOLDER / schema.path, json.dumps(schema.schema, indent=2, ensure_ascii=False) + "\n"
    yield _ASYNCAPI, as_yaml(asyncapi(version("partsong"), schemas))


@command.command()
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit code 1 if a committed file is not up to date.",
)
def export(*, check: bool) -> None:
    """Write contracts/schemas/ and contracts/asyncapi.yaml; versions that are no longer written stay."""
    stale = [
        path
        for path, text in _files()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if check:
        for path in stale:
            click.echo(f"{path} is not up to date: run `partsong schema export`", err=True)
        sys.exit(EXIT["failure"] if stale else 0)
    for path, text in _files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    click.echo(f"{len(stale)} files written", err=True)


@command.command()
@click.option(
    "--against", required=True, metavar="REF", help="A directory of schemas, or a git revision."
)
def check(against: str) -> None:
    """Whether the schemas may follow those of REF. Exit code 1 if old readers or writers would break."""

    async def work() -> int:
        from partsong.contracts.compat import incompatible
        from partsong.contracts.schemas import published
        from partsong.contracts.upcast import UPCASTERS

        new = {schema.path: schema.schema for schema in published()}
        problems = list(incompatible(dict(_old(against)), new, UPCASTERS.keys()))
        for problem in problems:
            click.echo(f"{problem.where}: {problem.message}\n  fix: {problem.fix}", err=True)
        click.echo(f"{len(problems)} incompatible changes since {against}", err=True)
        return EXIT["failure"] if problems else 0

    sys.exit(run_async(work()))


def _old(ref: str) -> Iterator[tuple[str, dict[str, JsonValue]]]:
    """The schemas of a directory or a git revision, by path."""
    if Path(ref).is_dir():
        for path in sorted(Path(ref).rglob("*.json")):
            yield path.relative_to(ref).as_posix(), json.loads(path.read_text(encoding="utf-8"))
        return
    listed = _git("ls-tree", "-r", "--name-only", ref, "--", f"{_FOLDER}/")
    for name in listed.splitlines():
        yield Path(name).relative_to(_FOLDER).as_posix(), json.loads(_git("show", f"{ref}:{name}"))


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)  # noqa: S603, S607
    if done.returncode:
        raise NotFound(
            "schema.no_ref",
            done.stderr.strip(),
            where="--against",
            fix="give a directory or a git revision",
        )
    return done.stdout
