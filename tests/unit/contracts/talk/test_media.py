"""Media in texts: what is one is left out and said, and what only looks like one stays."""

from __future__ import annotations

import base64
import random

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.contracts.talk.media import kind_of, left_out, without_media
from partsong.contracts.talk.messages import messages_of

NOISE = random.Random(7).randbytes(6000)


def _encoded(begins: bytes) -> str:
    return base64.b64encode(begins + NOISE).decode()


@pytest.mark.parametrize(
    ("begins", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"%PDF-1.7", "application/pdf"),
        (b"", "base64"),
    ],
)
def test_a_blob_is_said_by_its_kind_and_size(begins: bytes, kind: str) -> None:
    size = len(begins + NOISE)
    blob = _encoded(begins)
    assert without_media(f"Look: {blob}!") == f"Look: {left_out(kind, size)}!"
    url = f"data:image/png;base64,{blob}"
    assert without_media({"a": [url, 1]}) == {"a": [left_out("image/png", size), 1]}
    assert "not supported yet" in left_out(kind)
    assert kind_of(begins + NOISE) == (kind if kind != "base64" else "bytes")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "words " * 2000,
        "x" * 10_000,
        "ACGT" * 3000,
        "/usr/share/" + "folder/" * 40,
        "https://example.org/" + "a1B2" * 60,
        "data:text/plain;base64," + "aGVsbG8g" * 30,
        "data:image/png;base64,iVBORw0KGgo=",
        '{"sum": "' + "0123456789abcdef" * 4 + '"}',
    ],
)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert without_media(text) == text


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "image_url", "image_url": "https://x/y.png"}]},
        {"role": "assistant", "parts": [{"kind": "image", "data": "…"}]},
        {"role": "painter", "text": "hello"},
        "hello",
    ],
)
def test_a_message_of_another_form_is_refused_with_its_place(message: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        messages_of([message], "state.talk")
    problem = caught.value.problem
    assert problem.code == "agent.bad_history"
    assert problem.message.startswith("state.talk.0")
    assert "images and files are not supported" in (problem.fix or "")
