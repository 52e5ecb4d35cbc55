"""YAML 1.2 with the types of JSON.

`on`, `off`, `yes` and `no` are words, not truth values, for `on` is a field of every conditional edge; dates are text;
and a key that stands twice is an error instead of a silent loss. What is written here reads the same under YAML 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml
from pydantic import JsonValue

from partsong.contracts.foreign.size import at_most
from partsong.runtime.visible import visible

__all__ = ["LARGEST", "compose", "dump", "load"]

LARGEST = 16 * 1024 * 1024
"""Bytes of a document with its aliases written out: nine lines whose aliases name each other are a gigabyte."""

_CORE = {
    "null": (r"(~|null|Null|NULL|)$", "~nN"),
    "bool": (r"(true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)$", "-+0123456789"),
    "float": (r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", "-+.0123456789"),
}
_RESOLVERS = {  # by the first character; yaml's own form
    first: [
        (f"tag:yaml.org,2002:{tag}", re.compile(pattern))
        for tag, (pattern, firsts) in _CORE.items()
        if first in firsts
    ]
    for first in ["", *{first for _, firsts in _CORE.values() for first in firsts}]
}


class _Loader(yaml.SafeLoader):
    """Reads the core schema of YAML 1.2: what JSON has, and nothing else."""

    yaml_implicit_resolvers = _RESOLVERS

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002  # yaml's signature
    ) -> dict[Hashable, Any]:
        """A mapping whose keys are text, each there once."""
        seen: set[object] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                said = f"the key {name!r} is not text: put it into quotes"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            if name in seen:
                said = f"the key {name!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Puts into quotes whatever a reader of YAML 1.1 or of 1.2 might take for something else than text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # yaml's own name
        first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *_RESOLVERS.get(first, [])]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_RESOLVERS}
    }

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # yaml's signature
        """Write what is there twice twice: anchors are not for people."""
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Text; what steers a terminal, and a "next line", is in double quotes, where it can be escaped."""
        style = '"' if visible(data) != data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def load(text: str) -> JsonValue:
    """The document as plain data.

    Raises:
        yaml.YAMLError: it is none, or its aliases make it larger than `LARGEST`; most say where.
    """
    value: JsonValue = yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
    if not at_most(value, LARGEST):
        said = f"with its aliases written out it is larger than {LARGEST:,} bytes, or holds itself"
        raise yaml.YAMLError(said)
    return value


def compose(text: str) -> yaml.Node | None:
    """The document as nodes that know their lines.

    Raises:
        yaml.YAMLError: it is none.
    """
    return yaml.compose(text, _Loader)


def dump(value: object) -> str:
    """Plain data as a document, keys in their order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
