"""`read_file`: a part of a text file below one directory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, BinaryIO, TypeAlias

from pydantic import Field

from partsong.contracts.errors import InvalidInput
from partsong.tools.builtin.encodings import decoded, detected
from partsong.tools.builtin.jail import DENIED, Jail
from partsong.tools.tool import Tool, tool

__all__ = ["ROOT_SETTING", "FileTool", "file_tool", "read_file"]

ROOT_SETTING = "PARTSONG_FILES_ROOT"
"""The directory whose files models may read; without it, none."""

FileTool: TypeAlias = Tool[..., str]

_SAMPLE = 65_536
_SHOWN = 20_000
"""Characters at a time: less than a tool may return, so that what follows them is not cut."""


def file_tool(
    root: Path | None = None, *, deny: Iterable[str] = DENIED, limit: int = 10_000_000
) -> FileTool:
    """The tool with a root of its own; without one, `PARTSONG_FILES_ROOT` is read at each call.

    `deny` are names that no path may go through; lines are counted in files of at most `limit` bytes.
    """
    closed = tuple(deny)

    @tool(side_effect="read", idempotent=True, timeout=30)
    def read_file(
        path: Annotated[str, Field(examples=["reports/2026.md"])],
        first_line: Annotated[int, Field(ge=1)] = 1,
        lines: Annotated[int, Field(ge=1, le=5_000)] = 400,
        first_byte: Annotated[int, Field(ge=0)] | None = None,
        length: Annotated[int, Field(ge=1, le=_SHOWN)] = 8_000,
    ) -> str:
        """Read a part of a text file: some lines, or, with first_byte, some bytes.

        Args:
            path: From the root of readable files, without a slash at its beginning.
            first_line: The first one is 1.
            lines: How many.
            first_byte: The first one is 0; for files too large to count lines in.
            length: How many bytes.
        """
        with Jail(root or _from_environment(), deny=closed).open(path) as file:
            size = os.fstat(file.fileno()).st_size
            encoding = _encoding(path, file.read(_SAMPLE))
            if first_byte is not None:
                return _bytes(path, file, size, encoding, (first_byte, length))
            if size > limit:
                raise _too_large(path, size, limit)
            file.seek(0)
            return _lines(path, decoded(file.read(limit)), encoding, (first_line, lines))

    return read_file


def _encoding(path: str, sample: bytes) -> str:
    if (encoding := detected(sample)) is not None:
        return encoding
    raise InvalidInput("file.binary", f"{path} is not text", where="args.path")


def _lines(path: str, text: str, encoding: str, wanted: tuple[int, int]) -> str:
    all_lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
    first, count = wanted
    if first > max(1, len(all_lines)):
        raise InvalidInput(
            "file.past_the_end",
            f"{path} has {len(all_lines):,} lines, none at {first:,}",
            where="args.first_line",
        )
    taken: list[str] = []
    room = _SHOWN
    for line in all_lines[first - 1 : first - 1 + count]:
        if taken and len(line) >= room:
            break
        taken.append(line if len(line) < room else f"{line[:room]} [cut: {len(line):,} characters]")
        room -= len(line) + 1
        if room <= 0:
            break
    last = first + len(taken) - 1
    head = f"[{path}: lines {first}-{last} of {len(all_lines)}, {encoding}]"
    more = f"[go on with first_line={last + 1}]" if last < len(all_lines) else ""
    return "\n".join([head, *taken, *([more] if more else [])])


def _bytes(path: str, file: BinaryIO, size: int, encoding: str, wanted: tuple[int, int]) -> str:
    first, length = wanted
    if encoding.startswith(("utf-16", "utf-32")):
        raise InvalidInput(
            "file.wide",
            f"{path} is {encoding}, in which bytes are no characters",
            where="args.first_byte",
            fix="read it by lines",
        )
    if first >= max(1, size):
        raise InvalidInput(
            "file.past_the_end",
            f"{path} has {size:,} bytes, none at {first:,}",
            where="args.first_byte",
        )
    file.seek(first)
    data = file.read(length)
    if detected(data) is None:
        raise InvalidInput(
            "file.binary", f"{path} is not text from byte {first:,} on", where="args.first_byte"
        )
    end = first + len(data)
    head = f"[{path}: bytes {first}-{end - 1} of {size}, {encoding}]"
    more = f"\n[go on with first_byte={end}]" if end < size else ""
    return f"{head}\n{data.decode(encoding, 'replace')}{more}"


def _too_large(path: str, size: int, limit: int) -> InvalidInput:
    return InvalidInput(
        "file.too_large",
        f"{path} has {size:,} bytes; lines are counted in files of at most {limit:,}",
        where="args.path",
        fix="read it by bytes: first_byte=0, length=8000",
    )


def _from_environment() -> Path:
    if root := os.environ.get(ROOT_SETTING, ""):
        return Path(root)
    raise InvalidInput(
        "file.no_root",
        "no directory of readable files has been set",
        where=ROOT_SETTING,
        fix=f"set {ROOT_SETTING}=/srv/documents for the tool-runner",
        fault="platform",
    )


read_file = file_tool()
