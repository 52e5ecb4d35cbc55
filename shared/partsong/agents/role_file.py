"""A role's YAML: read safely, with errors that name file and line."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, NotFound
from partsong.contracts.foreign.size import at_most

__all__ = ["read_role"]

_LARGEST = 1024 * 1024
"""Bytes of a role: nine lines of YAML whose aliases name each other are a gigabyte."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, which YAML would lose silently."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002  # yaml's signature
    ) -> dict[Hashable, Any]:
        """A mapping whose keys are there once."""
        seen: set[object] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                said = f"the key {name!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


def read_role(source: str | Path) -> tuple[JsonValue, str, dict[str, int]]:
    """What the YAML holds, where it stands, and the lines of its fields.

    Raises:
        NotFound: `role.no_file`.
        InvalidInput: `role.bad_yaml`.
    """
    if isinstance(source, str) and (": " in source or "\n" in source):
        text, place = source, "the text"
    else:
        text, place = _read(Path(source)), str(source)
    try:
        value: JsonValue = yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        said = error.problem or str(error)
        raise InvalidInput("role.bad_yaml", said, where=f"{place}{line}") from error
    except yaml.YAMLError as error:
        raise InvalidInput("role.bad_yaml", str(error), where=place) from error
    if not at_most(value, _LARGEST):
        said = f"with its aliases written out it is larger than {_LARGEST:,} bytes, or holds itself"
        raise InvalidInput("role.bad_yaml", said, where=place)
    return value, place, _lines(text)


def _lines(text: str) -> dict[str, int]:
    node = yaml.compose(text, _Loader)
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return {key.value: key.start_mark.line + 1 for key, _ in pairs}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise NotFound(
            "role.no_file",
            f"cannot read {path}: {error}",
            where=str(path),
            fix="give the path of a YAML file",
        ) from error
