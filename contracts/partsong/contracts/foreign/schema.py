"""JSON Schema within bounds: what a schema may be, what a check costs, and whether a value fits (draft 2020-12).

A Rust implementation (jsonschema-rs) does the work: patterns take time linear in the text, nothing is fetched, and a
reference that leads nowhere is refused when the schema is. It does not bound how often references double, how many
findings a value has (10 million, for one of 10,000 items), nor what a pattern of many states takes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.foreign.parts import parts_of, patterns_in, references_in
from partsong.contracts.foreign.size import at_most, depth_within, size_within

if TYPE_CHECKING:
    from jsonschema_rs import RegexOptions, Validator

__all__ = ["LARGEST", "MOST_PARTS", "Finding", "Place", "check", "cost", "findings", "require"]

Place: TypeAlias = tuple[str | int, ...]
_Schema: TypeAlias = dict[str, JsonValue] | bool

LARGEST = 64 * 1024
"""Bytes of a schema as JSON."""
_DEEPEST = 64
"""Levels of a schema."""
MOST_PARTS = 10_000
"""Parts of a schema in which every reference is replaced by what it refers to."""
_MOST_LARGE_PATTERNS = 16
"""Patterns that compile to more than 10 KiB; one that takes a megabyte takes 20 ms to compile."""

_LARGE_PATTERN = 1024 * 1024
_SMALL_PATTERN = 10 * 1024
"""Bytes of a compiled pattern: all that one may take, and what one of some 500 states takes, 1.5 ms for 4 KB of text."""

_SMALL = 256 * 1024
"""Bytes of a value that is checked in passing."""
_WORK = 2_000_000
"""Bytes of a value times parts of its schema: 20 ms."""
_PATTERN = 64
"""A pattern takes as long as so many parts."""
_SAID = 64_000
"""Bytes of a value times parts of its schema up to which it may fit none of several alternatives: everything is then said
that is wrong with each of them, 15 ms."""
_LISTED = 100_000
"""Bytes times parts up to which all findings are listed, for the list is made before the first can be read."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What does not fit, and where in the value."""

    place: Place
    said: str


def check(schema: JsonValue) -> None:
    """Refuse what is no JSON Schema, or more than the bounds.

    Raises:
        InvalidInput: `schema.invalid`.
        Unavailable: `jsonschema.not_installed`.
    """
    _bounded(schema)
    if (refused := _compiled(_text(schema)).refused) is not None:
        raise refused


def require() -> None:
    """Refuse to go on where nothing can be compared with a JSON Schema.

    Raises:
        Unavailable: `jsonschema.not_installed`, naming the extra.
    """
    try:
        import jsonschema_rs  # noqa: F401
    except ImportError as error:
        raise _not_installed("jsonschema-rs", error) from error


def _not_installed(package: str, error: ImportError) -> Unavailable:
    return Unavailable(
        "jsonschema.not_installed",
        f"a JSON Schema needs the package '{package}': {error}",
        fix="pip install 'partsong[engine]'",
    )


def cost(schema: JsonValue, value: JsonValue) -> int | None:
    """What a check costs at most, in units of some 10 ns; None if that is too much to be done in passing."""
    compiled = _compiled(_text(schema))
    if compiled.validator is None or compiled.parts is None or compiled.large_patterns:
        return None
    each = compiled.parts + _PATTERN * compiled.patterns
    size = size_within(value, min(_SMALL, _WORK // each))
    if size is None:
        return None
    many = compiled.alternatives and size * compiled.parts > _SAID
    return size * each if not many or _fits(compiled.validator, value) else None


def _fits(validator: Validator, value: JsonValue) -> bool:
    try:
        return validator.is_valid(value)
    except ValueError:  # no JSON; nothing else is said of it then
        return True


def findings(schema: JsonValue, value: JsonValue, most: int = 1) -> list[Finding]:
    """What does not fit, at most so much; of a large value, only the first.

    Raises:
        InvalidInput: `schema.invalid`.
    """
    compiled = _compiled(_text(schema))
    if compiled.validator is None:
        if compiled.refused is not None and not compiled.backtracks:
            raise compiled.refused
        return _otherwise(schema, value, most)
    try:
        if compiled.validator.is_valid(value):
            return []
        if most > 1 and at_most(value, _LISTED // (compiled.parts or _LISTED)):
            return [_finding(x) for x in islice(compiled.validator.iter_errors(value), most)]
        compiled.validator.validate(value)
    except ValueError as error:
        return [_finding(error)]
    return []


@dataclass(frozen=True, slots=True)
class _Compiled:
    validator: Validator | None
    """None if it has a pattern that takes a backtracking engine."""
    refused: InvalidInput | None
    parts: int | None
    """None if there is no telling: a schema that contains itself is as large as the value is deep."""
    patterns: int
    large_patterns: int
    alternatives: bool = False
    """Whether it may have `anyOf` or `oneOf`."""
    backtracks: bool = False
    """Whether nothing but a pattern keeps it from being used."""


def _text(schema: JsonValue) -> str:
    return json.dumps(schema, sort_keys=True)


def _bounded(schema: JsonValue) -> None:
    if not isinstance(schema, dict | bool):
        raise _invalid(f"it is a {type(schema).__name__}, a JSON Schema is an object")
    if not depth_within(schema, _DEEPEST):
        raise _invalid(
            f"it is nested more than {_DEEPEST} levels deep", "put the inner parts into $defs"
        )
    if not at_most(schema, LARGEST):
        raise _invalid(f"it is larger than {LARGEST:,} bytes")


@lru_cache(maxsize=512)
def _compiled(text: str) -> _Compiled:
    require()
    schema: _Schema = json.loads(text)
    if isinstance(schema, dict) and schema.get("$schema") not in _DRAFTS:
        schema.pop("$schema", None)  # read as 2020-12
    parts, patterns = parts_of(schema), patterns_in(schema)
    large = [pattern for pattern in patterns if not _compiles(pattern, _SMALL_PATTERN)]
    refused: InvalidInput | None = None
    if parts is not None and parts > MOST_PARTS:
        refused = _invalid(
            f"with its references resolved it has more than {MOST_PARTS:,} parts",
            "let fewer parts refer to others that refer to others",
        )
    if len(large) > _MOST_LARGE_PATTERNS:
        refused = _invalid(
            f"{len(large)} of its patterns are large, {_MOST_LARGE_PATTERNS} may be: {large[0]!r:.60}"
        )
        return _Compiled(None, refused, parts, len(patterns), len(large))
    try:
        validator = _validator(schema)
    except ValueError as error:
        why = _why(error, schema)
        backtracks = _NOT_LINEAR in str(why)
        return _Compiled(None, why, parts, len(patterns), len(large), backtracks=backtracks)
    alternatives = '"anyOf"' in text or '"oneOf"' in text
    return _Compiled(validator, refused, parts, len(patterns), len(large), alternatives)


def _validator(schema: _Schema) -> Validator:
    from jsonschema_rs import validator_for

    return validator_for(
        schema, pattern_options=_regex(_LARGE_PATTERN), validate_formats=False, offline=True
    )


def _compiles(pattern: str, size: int) -> bool:
    from jsonschema_rs import validator_for

    try:
        validator_for({"pattern": pattern}, pattern_options=_regex(size), offline=True)
    except ValueError:
        return False
    return True


def _regex(size: int) -> RegexOptions:
    from jsonschema_rs import RegexOptions

    return RegexOptions(size_limit=size, dfa_size_limit=_LARGE_PATTERN)


_DRAFTS = frozenset(
    f"{scheme}://json-schema.org/{draft}{end}"
    for scheme in ("http", "https")
    for draft in (
        "draft-04/schema",
        "draft-06/schema",
        "draft-07/schema",
        "draft/2019-09/schema",
        "draft/2020-12/schema",
    )
    for end in ("", "#")
)
_REGEX = 'is not a "regex"'
_NOT_LINEAR = "is no pattern that can be matched in linear time"


def _why(error: ValueError, schema: _Schema) -> InvalidInput:
    from jsonschema_rs import ValidationError

    if not isinstance(error, ValidationError):
        return _invalid("it has a text that is none of Unicode")
    said, place = error.message, ".".join(map(str, error.instance_path))
    if error.kind.name == "$ref":
        place, to = next(
            ((at, to) for at, to in references_in(schema) if to.lstrip("#") in said), ("", "")
        )
        return _invalid(
            f"{to or said!r:.200} does not lead to a part of it",
            "refer to what stands in the schema itself: nothing is fetched",
            place,
        )
    if said.endswith(_REGEX):
        return _invalid(
            f"{said.removesuffix(_REGEX).strip():.80} {_NOT_LINEAR}",
            "without lookaround and backreferences, and with at most a few thousand repetitions",
            place,
        )
    return _invalid(f"{said:.200}", where=place)


def _invalid(said: str, fix: str | None = None, where: str = "") -> InvalidInput:
    return InvalidInput(
        "schema.invalid", f"not a JSON Schema that can be used: {said}", where=where, fix=fix
    )


def _finding(error: ValueError) -> Finding:
    from jsonschema_rs import ValidationError

    if not isinstance(error, ValidationError):  # a lone surrogate, or what is no JSON at all
        return Finding((), f"it is no JSON value: {error!s:.200}")
    return Finding(tuple(error.instance_path), error.message[:300])


def _otherwise(schema: JsonValue, value: JsonValue, most: int) -> list[Finding]:
    """By a validator that knows lookaround: for graphs that were begun when that was allowed, and where it can be stopped.

    Raises:
        InvalidInput: `schema.invalid`.
        Unavailable: `jsonschema.not_installed`.
    """
    try:
        from jsonschema import Draft202012Validator
        from referencing import Registry
        from referencing.exceptions import Unresolvable
    except ImportError as error:
        raise _not_installed("jsonschema", error) from error

    validator = Draft202012Validator(json.loads(_text(schema)), registry=Registry())
    try:
        found = list(islice(validator.iter_errors(value), most))
    except (Unresolvable, RecursionError, ValueError) as error:
        raise _invalid(f"{error!s:.200}") from None
    return [Finding(tuple(error.absolute_path), error.message[:300]) for error in found]
