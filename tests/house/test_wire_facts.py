"""Facts of the wire stand once: names of headers and of services are written in the one module that is for them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from partsong.contracts import events
from partsong.contracts.events import EVENTS, WRITERS, EventBase
from partsong.contracts.services import APPROVAL, SERVICES
from tests.house.sources import LANGUAGE_AND_MEANS, PLAYERS, modules, name_of, parse

HEADER = re.compile(r"(?:Nats|Partsong)-[A-Z][A-Za-z]*(?:-[A-Z][A-Za-z]*)*")
SERVICE_NAMES = set(SERVICES) - {APPROVAL}
"""`approval` is also a kind of node, of call and of waiting, and a command."""
HOMES = {"header": "wire/headers.py", "service": "contracts/services.py"}


def facts(tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    """Texts of a module that are a fact of the wire, each with its kind and line; docstrings are prose."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in prose:
            continue
        value = node.value.decode(errors="replace") if isinstance(node.value, bytes) else node.value
        match value:
            case str() as text if HEADER.match(text):
                yield "header", text, node.lineno
            case str() as text if text in SERVICE_NAMES:
                yield "service", text, node.lineno


def test_names_of_headers_and_services_are_written_once() -> None:
    found = [
        f"{name_of(path)}:{line}: {text!r} is written in {HOMES[kind]} already"
        for path in modules(*LANGUAGE_AND_MEANS, *PLAYERS)
        for kind, text, line in facts(parse(path))
        if not path.as_posix().endswith(HOMES[kind])
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('STATUS = "Partsong-Status"', "header"),
        ('headers = {"Nats-Msg-Id": "1"}', "header"),
        ('raw = b"Nats-Msg-Id: 1"', "header"),
        ('line = f"Partsong-Seen: {seq}"', "header"),
        ('if service == "tool-runner": ...', "service"),
    ],
)
def test_a_second_place_is_found(line: str, kind: str) -> None:
    assert [found for found, _, _ in facts(ast.parse(line))] == [kind]


def test_prose_may_name_them() -> None:
    assert not [*facts(ast.parse('"""The header `Nats-Msg-Id`."""\nx = 1\n"tool-runner"'))]


def test_each_class_of_events_names_its_writer() -> None:
    assert {model: vars(model)["writer"] for model in EVENTS.values()} == WRITERS
    assert set(WRITERS.values()) == set(SERVICES)


def test_each_class_of_events_is_in_the_union() -> None:
    named = {
        node.name
        for path in modules("contracts")
        if path.parent.name == "events"
        for node in parse(path).body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "EventBase" for base in node.bases)
    }
    assert named == {model.__name__ for model in EVENTS.values()}
    assert named <= set(events.__all__)


def test_a_class_of_events_without_a_writer_is_named() -> None:
    with pytest.raises(TypeError, match="Orphaned names no service as its `writer`"):
        type("Orphaned", (EventBase,), {})
