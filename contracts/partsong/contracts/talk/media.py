"""Media: images, sounds and files, which no model is given yet. Each is said to have been left out; none vanishes.

A picture in base64 is a hundred thousand tokens that no model can see in. So where one stands in what a model is to
read, its kind and its size take its place. The log keeps what was there.
"""

from __future__ import annotations

import re

from pydantic import JsonValue

__all__ = ["kind_of", "left_out", "size_of", "without_media"]

_SHORTEST = 200
"""Signs of base64 below which nobody minds."""
_DATA_URL = re.compile(
    rf"data:((?:image|audio|video|font|application)/[\w.+-]+)(?:;[\w.=+-]+)*;base64,([A-Za-z0-9+/_-]{{{_SHORTEST},}}=*)"
)
_BARE = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{200,}={0,2}")
_KINDS = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp or sound",
    "JVBERi0": "application/pdf",
    "UEsDB": "application/zip",
    "SUQz": "audio/mpeg",
    "T2dnUw": "audio/ogg",
    "SUkqA": "image/tiff",
}
"""How base64 of a kind begins."""
_MAGIC = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp or sound",
    b"%PDF": "application/pdf",
    b"PK\x03\x04": "application/zip",
    b"ID3": "audio/mpeg",
    b"OggS": "audio/ogg",
}
_LARGE = 4096
"""Signs of base64 that are data whatever they begin with, if they look like it."""
_MIXED = 40
"""So many different signs has base64 of that length, and no sequence of genes and no row of one letter."""


def left_out(kind: str, size: int | None = None) -> str:
    """The words in the place of something that no model is given."""
    about = f"{kind}, {size:,} bytes" if size is not None else kind
    what = next((w for w in ("image", "audio", "video") if kind.startswith(w)), "file")
    return f"[{what} left out: {about}; media are not supported yet]"


def kind_of(data: bytes) -> str:
    """What the bytes are, by how they begin."""
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "bytes")


def without_media(value: JsonValue) -> JsonValue:
    """The value with its media left out and said."""
    match value:
        case str():
            return _text(value)
        case list():
            return [without_media(inner) for inner in value]
        case dict():
            return {key: without_media(inner) for key, inner in value.items()}
        case _:
            return value


def _text(text: str) -> str:
    if len(text) < _SHORTEST:
        return text
    text = _DATA_URL.sub(lambda found: left_out(found[1], size_of(found[2])), text)
    return _BARE.sub(_blob, text)


def _blob(found: re.Match[str]) -> str:
    said = found[0]
    for begins, kind in _KINDS.items():
        if said.startswith(begins):
            return left_out(kind, size_of(said))
    mixed = len(said) >= _LARGE and len(set(said[:_LARGE])) >= _MIXED
    return left_out("base64", size_of(said)) if mixed else said


def size_of(encoded: str) -> int:
    """Bytes that base64 stands for."""
    return len(encoded.rstrip("=")) * 3 // 4
