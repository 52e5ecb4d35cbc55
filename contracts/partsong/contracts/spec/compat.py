"""May this schema take that one's place? The rules by which contracts grow.

The log is kept for ever, so one rule stands above all: **what an old schema admits, its successor must admit, and it
must mean the same.** Hence

    allowed   a new kind; a new field that may be missing; a wider type, enumeration, union or bound
    refused   a kind or field that is gone; another type; a field that is now required; fewer values; a tighter bound;
              another default, because what is default is not written and would change its meaning in every old record

unless the kind has a new version number, and upcasters lead from the old version to it.

The comparison knows the JSON Schema that pydantic makes. Of a keyword it does not know it says so: never silently fine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.spec.schemas import Schema

__all__ = ["incompatible"]

_ABOUT = {"$schema", "$id", "$defs", "title", "description", "default", "examples", "deprecated"}
_ABOUT |= {"ge", "gt"}  # pydantic's notes of bounds that it checks by itself: no JSON Schema
_KNOWN = _ABOUT | {
    "$ref", "additionalProperties", "anyOf", "const", "discriminator", "enum", "exclusiveMaximum", "exclusiveMinimum",
    "format", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties",
    "minimum", "oneOf", "pattern", "patternProperties", "properties", "propertyNames", "required", "type",
}  # fmt: skip
_CHOICES = ("$ref", "anyOf", "oneOf")
_OF_OBJECTS = {
    "properties", "patternProperties", "required", "additionalProperties", "propertyNames",
}  # fmt: skip
_SAME = ("pattern", "format")
_BOUNDS = ("Length", "Items", "Properties")
_LIMITS = {word for word in _KNOWN if word.startswith(("min", "max", "exclusive"))}
_NEW_VERSION = "keep what was there, or raise the version and add an upcaster"


def incompatible(
    old: Mapping[str, Schema], new: Mapping[str, Schema], upcasters: Collection[tuple[str, int]]
) -> Iterator[Problem]:
    """Why the schemas `new` may not follow `old`; both by path (`run.started/v1.json`).

    `upcasters` are the (kind, version) pairs that can be read as version + 1.
    """
    newest = {_kind(path): _version(path) for path in sorted(new, key=_version)}
    for path, schema in sorted(old.items()):
        kind, version = _kind(path), _version(path)
        if (now := newest.get(kind)) is None:
            yield _refused("schema.removed", path, f"{kind} is gone", "put it back")
        elif now < version:
            said = f"{kind} was at version {version}, now it is at {now}"
            yield _refused("schema.removed", path, said, "versions only grow")
        elif now == version:
            yield from _narrower(schema, new[path], _Place(path, schema, new[path]))
        else:
            for step in range(version, now):
                if (kind, step) not in upcasters:
                    said = f"{kind} is at version {now}, and nothing turns version {step} into {step + 1}"
                    fix = f"add UPCASTERS[({kind!r}, {step})] to contracts/events/upcast.py"
                    yield _refused("schema.no_upcaster", path, said, fix)


def _kind(path: str) -> str:
    return path.rpartition("/")[0]


def _version(path: str) -> int:
    return int(path.rpartition("/v")[2].removesuffix(".json"))


def _refused(code: str, where: str, message: str, fix: str = _NEW_VERSION) -> Problem:
    return Problem(code=code, message=message, where=where, fix=fix)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in two documents we are; `open` are the pairs of definitions that are being compared further up."""

    name: str
    old: Schema
    new: Schema
    open: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    def at(self, part: str) -> _Place:
        return _Place(f"{self.name}{part}", self.old, self.new, self.open)

    def refuse(self, code: str, message: str) -> Problem:
        return _refused(f"schema.{code}", self.name, message)


def _narrower(old: JsonValue, new: JsonValue, place: _Place) -> Iterator[Problem]:
    """Everything that `old` admits and `new` does not."""
    pair = (_ref(old), _ref(new))
    if pair in place.open:
        return
    if any(pair):
        place = _Place(place.name, place.old, place.new, place.open | {pair})
    before, after = _resolved(old, place.old), _resolved(new, place.new)
    if unknown := _unknown(old) | _unknown(new) | _unknown(before) | _unknown(after):
        if before != after or "$ref" in str(before):
            yield place.refuse("unknown_keyword", f"cannot compare {', '.join(sorted(unknown))}")
        return
    branches, targets = _branches(before, place.old), _branches(after, place.new)
    if len(branches) == len(targets) == 1:
        yield from _leaf(branches[0], targets[0], place)
        return
    for branch in branches:
        yield from _one_of(branch, targets, place)


def _unknown(schema: JsonValue) -> set[str]:
    """Keywords that this module cannot weigh: its own vocabulary ends there, or they stand beside alternatives."""
    if not isinstance(schema, dict):
        return set()
    if any(word in schema for word in _CHOICES):
        return schema.keys() - _ABOUT - {*_CHOICES, "discriminator"}
    return schema.keys() - _KNOWN


def _one_of(old: Schema, targets: list[Schema], place: _Place) -> Iterator[Problem]:
    """Nothing, if one of the targets admits all of `old`; else what is wrong with the one most like it."""
    likely = sorted(targets, key=lambda target: not _same_tag(old, target))
    first: list[Problem] | None = None
    for target in likely:
        found = list(_leaf(old, target, place))
        if not found:
            return
        first = found if first is None and _same_tag(old, target) else first
    if first is not None:
        yield from first
        return
    name = old.get("title") or old.get("type") or old.get("const") or old.get("enum")
    yield place.refuse("narrowed", f"{name} is not admitted any more")


def _same_tag(old: Schema, new: Schema) -> bool:
    """Whether two branches are the same member of a tagged union, or simply have the same name."""
    if "title" in old or "title" in new:
        return old.get("title") == new.get("title")
    return old.get("type") == new.get("type")


def _leaf(old: Schema, new: Schema, place: _Place) -> Iterator[Problem]:
    """Compare two schemas without alternatives."""
    yield from _types(old, new, place)
    yield from _values(old, new, place)
    yield from _limits(old, new, place)
    if _OF_OBJECTS & (old.keys() | new.keys()):
        yield from _fields(old, new, place)
    if "items" in new:
        yield from _narrower(old.get("items", {}), new.get("items", {}), place.at("[]"))


def _types(old: Schema, new: Schema, place: _Place) -> Iterator[Problem]:
    was, now = old.get("type"), new.get("type")
    if now is None or was == now or (was, now) == ("integer", "number"):
        return
    if was is None and (values := _allowed(old)) is not None and all(_is(v, now) for v in values):
        return
    yield place.refuse("type_changed", f"it was {was or 'anything'}, now it is {now}")


def _values(old: Schema, new: Schema, place: _Place) -> Iterator[Problem]:
    was, now = _allowed(old), _allowed(new)
    if now is None:
        return
    if was is None:
        yield place.refuse("narrowed", f"any value was possible, now only {now}")
    elif gone := [value for value in was if value not in now]:
        yield place.refuse("narrowed", f"{gone} is not possible any more, only {now}")


def _limits(old: Schema, new: Schema, place: _Place) -> Iterator[Problem]:
    for word in _SAME:
        if word in new and new[word] != old.get(word):
            said = f"{word} was {old.get(word, 'free')}, now it is {new[word]}"
            yield place.refuse("narrowed", said)
    if not _LIMITS & new.keys():
        return
    for name in ("imum", *_BOUNDS):
        for side, sign in (("min", 1), ("max", -1)):
            was, now = _bound(old, side + name, sign), _bound(new, side + name, sign)
            if now is not None and (was is None or now > was):
                said = f"{side}{name} was {_shown(was, sign)}, now it is {_shown(now, sign)}"
                yield place.refuse("narrowed", said)


def _bound(schema: Schema, word: str, sign: int) -> tuple[float, bool] | None:
    """The limit, so that a greater one is tighter; an exclusive one is tighter than the same inclusive."""
    exclusive = f"exclusive{word[0].upper()}{word[1:]}"
    found = [
        (value * sign, name == exclusive)
        for name in (word, exclusive)
        if isinstance(value := schema.get(name), int | float)
    ]
    return max(found, default=None)


def _shown(bound: tuple[float, bool] | None, sign: int) -> str:
    return "free" if bound is None else f"{bound[0] * sign:g}" + (" exclusive" if bound[1] else "")


def _fields(old: Schema, new: Schema, place: _Place) -> Iterator[Problem]:
    before, after = _object(old.get("properties")), _object(new.get("properties"))
    for name, schema in before.items():
        there = place.at(f".{name}")
        if name not in after:
            yield there.refuse("removed", f"field {name} is gone")
            continue
        yield from _default(schema, after[name], there, missing=name not in _names(old, "required"))
        yield from _narrower(schema, after[name], there)
    for name in sorted(_names(new, "required") - _names(old, "required")):
        said = "may not be missing any more" if name in before else "is new and may not be missing"
        yield place.at(f".{name}").refuse("required", f"field {name} {said}")
    patterns = _object(old.get("patternProperties"))
    for pattern, schema in _object(new.get("patternProperties")).items():
        yield from _narrower(patterns.get(pattern, True), schema, place.at(".*"))
    for word, part in (("additionalProperties", ".*"), ("propertyNames", " (names)")):
        yield from _narrower(old.get(word, True), new.get(word, True), place.at(part))


def _default(old: JsonValue, new: JsonValue, place: _Place, *, missing: bool) -> Iterator[Problem]:
    """A default must stay, where records may lack the field."""
    was, now = _object(old).get("default", ...), _object(new).get("default", ...)
    if missing and was is not ... and was != now:
        said = f"its default was {was!r}, now it is " + ("not said" if now is ... else repr(now))
        yield place.refuse("default_changed", said)


def _ref(schema: JsonValue) -> str:
    return str(schema.get("$ref", "")) if isinstance(schema, dict) else ""


def _resolved(schema: JsonValue, document: Schema) -> Schema:
    """The schema itself instead of a reference to it; `true` admits everything, `false` nothing."""
    if isinstance(schema, bool):
        return {} if schema else {"enum": []}
    found = _object(schema)
    while ref := found.get("$ref"):
        found = _object(_object(document.get("$defs"))[str(ref).rpartition("/")[2]])
    return found


def _branches(schema: Schema, document: Schema) -> list[Schema]:
    """The alternatives of a schema, its own if it has none."""
    parts = schema.get("anyOf", schema.get("oneOf"))
    if not isinstance(parts, list):
        return [schema]
    return [leaf for part in parts for leaf in _branches(_resolved(part, document), document)]


def _allowed(schema: Schema) -> list[JsonValue] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


_PYTHON: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
    "null": type(None),
}  # fmt: skip


def _is(value: JsonValue, kind: JsonValue) -> bool:
    return isinstance(value, _PYTHON[str(kind)]) and (kind == "boolean") == isinstance(value, bool)


def _object(value: JsonValue) -> Schema:
    return value if isinstance(value, dict) else {}


def _names(schema: Schema, word: str) -> set[str]:
    names = schema.get(word)
    return {str(name) for name in names} if isinstance(names, list) else set()
