"""`partsong schema`: the schemas of everything that travels, and whether they may change as they did."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from partsong.cli.group import Group
from partsong.cli.output import EXIT, Output, output_option

if TYPE_CHECKING:
    from partsong.contracts.spec.schemas import Schema

__all__ = ["command"]

_FOLDER = Path("contracts/schemas")
_ASYNCAPI = Path("contracts/asyncapi.yaml")


@click.group(cls=Group)
def command() -> None:
    """The schemas of everything that travels."""


@command.command("list", epilog="Example: partsong schema list -o json")
@output_option
def list_(out: Output) -> None:
    """All schemas of this version."""
    from partsong.contracts.spec.schemas import published

    rows = [
        {
            "kind": schema.kind,
            "version": schema.version,
            "family": schema.family,
            "about": schema.schema.get("description"),
        }
        for schema in published()
    ]
    out.rows(rows, ("kind", "version", "family", "about"))


@command.command(epilog="Example: partsong schema export --check")
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit code 1 if a committed file is not up to date.",
)
@output_option
def export(*, check: bool, out: Output) -> None:
    """Write contracts/schemas/ and contracts/asyncapi.yaml. Older versions of a schema stay as they are."""
    made = dict(_files())
    stale = [path for path, text in made.items() if _text(path) != text]
    stray = list(_stray(made))
    if check:
        for path in (*stale, *stray):
            said = "is not up to date" if path in made else "is a schema of nothing"
            click.echo(f"{path} {said}: run `partsong schema export`", err=True)
        sys.exit(EXIT["failure" if stale or stray else "ok"])
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path], encoding="utf-8")
    for path in stray:
        path.unlink()
    out.say(f"{len(stale)} of {len(made)} files written, {len(stray)} removed")


def _files() -> Iterator[tuple[Path, str]]:
    """Path and text of all that is made."""
    from partsong.cli.asyncapi import as_yaml, asyncapi
    from partsong.contracts.spec.schemas import published

    schemas = published()
    for schema in schemas:
        yield _FOLDER / schema.path, json.dumps(schema.schema, indent=2, ensure_ascii=False) + "\n"
    yield _ASYNCAPI, as_yaml(asyncapi(version("partsong"), schemas))


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _stray(made: dict[Path, str]) -> Iterator[Path]:
    """Files below the folder that are neither made nor an older version of what is made."""
    newest = {path.parent: path.name for path in made}
    for path in sorted(_FOLDER.rglob("*.json")):
        name = newest.get(path.parent)
        if name is None or _number(path.name) > _number(name):
            yield path


def _number(name: str) -> int:
    digits = name.removeprefix("v").removesuffix(".json")
    return int(digits) if digits.isdigit() else sys.maxsize


@command.command(epilog="Example: partsong schema check --against origin/main")
@click.option(
    "--against", required=True, metavar="REF", help="A directory of schemas, or a git revision."
)
@output_option
def check(against: str, out: Output) -> None:
    """Whether the schemas may follow those of REF. Exit code 1 if what was written could not be read any more."""
    from partsong.contracts.events.upcast import UPCASTERS
    from partsong.contracts.spec.compat import incompatible
    from partsong.contracts.spec.schemas import published

    old = dict(_old(against))
    new = {schema.path: schema.schema for schema in published()}
    problems = list(incompatible(old, new, UPCASTERS.keys()))
    rows = [problem.model_dump(include={"code", "where", "message", "fix"}) for problem in problems]
    if rows or not out.plain:
        out.rows(rows, ("where", "message", "fix"))
    out.say(f"{len(old)} schemas of {against}: {len(problems) or 'no'} incompatible changes")
    sys.exit(EXIT["failure" if problems else "ok"])


def _old(ref: str) -> Iterator[tuple[str, Schema]]:
    """The schemas of a directory or a git revision, by path.

    Raises:
        NotFound: there is no such thing, or no schema in it.
    """
    from partsong.contracts.errors import NotFound

    if Path(ref).is_dir():
        texts = {p.relative_to(ref).as_posix(): p.read_text("utf-8") for p in Path(ref).rglob("v*.json")}  # fmt: skip
    else:
        names = _git("ls-tree", "-r", "--name-only", ref, "--", f"{_FOLDER}/").splitlines()
        texts = {
            Path(name).relative_to(_FOLDER).as_posix(): _git("show", f"{ref}:{name}")
            for name in names
        }
    if not texts:
        raise NotFound("schema.none", f"{ref} holds no schemas", where="--against")
    for path, text in sorted(texts.items()):
        yield path, json.loads(text)


def _git(*words: str) -> str:
    from partsong.contracts.errors import NotFound

    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)  # noqa: S603, S607
        said = done.stderr.strip()
    except FileNotFoundError:
        done, said = None, "git is not installed"
    if done is None or done.returncode:
        fix = "give a directory of schemas, or a git revision and run it in the repository's root"
        raise NotFound("schema.no_ref", said, where="--against", fix=fix)
    return done.stdout
