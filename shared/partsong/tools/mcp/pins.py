"""What the tools of MCP servers said of themselves when they were allowed, as hashes in a file.

A server that is seen for the first time is allowed as it is: the operator has named it. From then on a tool that is new,
or says something else, waits until the operator allows it again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from partsong.contracts.errors import InvalidInput

__all__ = ["FILE", "Pins", "hash_of"]

FILE = "mcp.json"
"""In the data directory."""

_Content = dict[str, dict[str, str]]
_CONTENT = TypeAdapter(_Content)


def hash_of(said: Mapping[str, JsonValue]) -> str:
    """The hash of everything that a server says of a tool."""
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class Pins:
    """The allowed hashes by server and tool; without a path they are kept for this process only."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._kept: _Content = {}

    def allowed(self, server: str) -> Mapping[str, str] | None:
        """The hashes by tool; None for a server that was never allowed.

        Raises:
            InvalidInput: `mcp.bad_pins`, the file has been damaged.
        """
        return self._read().get(server)

    def allow(self, server: str, hashes: Mapping[str, str]) -> None:
        """Allow these tools of a server, and no others.

        Raises:
            InvalidInput: `mcp.bad_pins`.
        """
        content = {**self._read(), server: dict(hashes)}
        if self._path is None:
            self._kept = content
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        written.write_text(json.dumps(content, indent=2, sort_keys=True), "utf-8")
        written.replace(self._path)

    def _read(self) -> _Content:
        if self._path is None:
            return self._kept
        try:
            return _CONTENT.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValidationError as error:
            raise InvalidInput(
                "mcp.bad_pins",
                f"{self._path} does not hold hashes by server and tool",
                where=str(self._path),
                fix="look at what has changed it; without it, every server is allowed as it is now",
                fault="platform",
            ) from error
