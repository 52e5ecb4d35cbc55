"""A line of a backup says of itself whether it is what was written."""

from __future__ import annotations

import json

import pytest

from partsong.log.backup_lines import line_of, raw_of
from partsong.log.walk import Raw

TEXT = Raw(7, "partsong.log.3.r_1.fact", "r_1.c.1", b'{"sum":"1","a":"\xc3\xa4"}', {"sum": "b"}, "2026-01-01T00:00:00Z")  # fmt: skip
BYTES = Raw(8, "partsong.log.3.r_1.engine", "r_1.2", b"\xff\x00", {})


@pytest.mark.parametrize("raw", [TEXT, BYTES])
def test_a_record_comes_back_and_no_flipped_bit_of_it_does(raw: Raw) -> None:
    line = line_of(raw)
    assert raw_of(line) == raw
    seen = 0
    for place in range(len(line) - 1):
        for bit in range(8):
            flipped = bytearray(line)
            flipped[place] ^= 1 << bit
            try:
                assert raw_of(bytes(flipped)) == raw, "only the sum's own name may be lost unseen"
            except ValueError:
                seen += 1
    assert seen > 8 * (len(line) - 1 - len('"sum"') - 1)


def test_a_line_of_before_has_no_sum_and_is_read() -> None:
    said = {"seq": 7, "subject": TEXT.subject, "id": TEXT.id, "at": TEXT.at, "body": TEXT.body.decode()}  # fmt: skip
    assert raw_of(json.dumps({**said, "headers": {"sum": "b"}}).encode()) == TEXT


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[]", r"a record, found is \[\]"),
        ('{"seq": 0}', "a sequence from 1 as 'seq', found is 0"),
        ('{"seq": 1, "id": "a", "body": ""}', "a text as 'subject', found is None"),
        ('{"seq": 1, "subject": "a", "id": "a", "base64": "?"}', "base64"),
        ('{"seq": 1, "subject": "a", "id": "a", "body": "", "headers": []}', "headers of texts"),
        ("[" * 100_000, "a record as JSON"),
    ],
)
def test_what_is_no_record_is_refused_in_words(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        raw_of(line.encode())
