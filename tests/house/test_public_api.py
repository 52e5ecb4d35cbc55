"""The public API is what its page says, what the modules offer, and all that the documents import."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.docs.blocks import documents, read
from tests.house import reference
from tests.house.api.classes import Class, read_class
from tests.house.api.page import listed, python_api
from tests.house.api.source import ROOTS, Source
from tests.house.api.table import PUBLIC
from tests.house.sources import ROOT, name_of

SOURCE = Source()
NAMES = listed(SOURCE)
PLACES = {
    (found.module, found.name): found
    for module, names in NAMES.items()
    for name in names
    if (found := SOURCE.find(module, name))
}


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """What `from partsong… import …` takes from where; a plain import takes a module and no name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("partsong"):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((one.name, "") for one in node.names if one.name.startswith("partsong."))


def private(text: str) -> list[str]:
    """Names that a block imports although they are not public."""
    return [
        f"{module}.{name}".rstrip(".")
        for module, name in imports(ast.parse(text))
        if name not in NAMES.get(module, ())
        and f"{module}.{name}".rstrip(".") not in NAMES  # a module as a whole
    ]


def changed(folder: Path, module: str, name: str, old: str, new: str) -> str:
    """The page's difference if one text were another where a public name is made; without a name, in the module."""
    made = SOURCE.find(module, name) if name else None
    inner = (made.module if made else module).replace(".", "/")
    places = [root / f"{inner}{end}" for root in ROOTS for end in (".py", "/__init__.py")]
    path = next(one for one in places if one.is_file())
    text = path.read_text("utf-8")
    assert old in text, f"{path} no longer says {old!r}: plant another breach"
    copy = folder / f"{inner}{'/__init__' if path.stem == '__init__' else ''}.py"
    copy.parent.mkdir(parents=True)
    copy.write_text(text.replace(old, new), "utf-8")
    source = Source(folder, *ROOTS)
    return reference.difference(python_api(SOURCE), python_api(source), "python-api.md")


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_generated_page_says_what_the_source_says(name: str) -> None:
    path = reference.FOLDER / name
    on_disk = path.read_text("utf-8") if path.exists() else ""
    if found := reference.difference(on_disk, reference.PAGES[name](), name):
        pytest.fail(found, pytrace=False)


def test_a_parameter_that_has_another_name_is_reported(tmp_path: Path) -> None:
    found = changed(
        tmp_path, "partsong.plugins.redaction", "redacted", "redacted(value:", "redacted(what:"
    )
    assert "-def redacted(value: JsonValue) -> JsonValue" in found
    assert "+def redacted(what: JsonValue) -> JsonValue" in found
    assert "make reference" in found


def test_a_name_that_is_gone_is_reported(tmp_path: Path) -> None:
    found = changed(tmp_path, "partsong.teams", "", '    "debate",\n', "")
    assert "-### debate" in found


def test_a_field_that_has_to_be_given_now_is_reported(tmp_path: Path) -> None:
    old, new = "retryable: bool = False\n", "retryable: bool\n"
    found = changed(tmp_path, "partsong.contracts.errors", "Problem", old, new)
    assert "-    retryable: bool = False" in found
    assert "+    retryable: bool\n" in found


def test_a_method_that_moves_to_a_private_base_is_no_difference(tmp_path: Path) -> None:
    old = "class PiiRedaction(Plugin):\n"
    new = "class _Base(Plugin):\n    def extra(self) -> None: ...\n\nclass PiiRedaction(_Base):\n"
    found = changed(tmp_path, "partsong.plugins.redaction", "PiiRedaction", old, new)
    assert [line for line in found.splitlines() if line[:1] in "+-" and line[1:2] == " "] == [
        "+    def extra() -> None"
    ]


def test_a_name_that_nothing_makes_is_an_error(tmp_path: Path) -> None:
    module = "partsong.plugins.redaction"
    with pytest.raises(LookupError, match=r"partsong\.plugins\.redaction offers redacted"):
        changed(tmp_path, module, "redacted", "def redacted(", "def _redacted(")


def test_a_difference_is_shown_in_sixty_lines() -> None:
    found = reference.difference("", "line\n" * 500, "page.md")
    assert len(found.splitlines()) == 63
    assert "and 443 lines more" in found


def test_a_name_that_is_served_when_it_is_asked_for_is_found(tmp_path: Path) -> None:
    """All ways of serving a name from elsewhere: a table of modules, of modules with names, and a star."""
    package = tmp_path / "partsong" / "old"
    package.mkdir(parents=True)
    table = '{"Agent": "partsong.agents.agent", "Old": "partsong.agents.roles:AgentRole", "x": "y"}'
    lazy = f"from partsong.teams.plan import *\nH = {table}\ndef __getattr__(name): ...\n"
    (package / "__init__.py").write_text(lazy, "utf-8")
    (package / "y.py").write_text("x = 1\n", "utf-8")
    source = Source(tmp_path, *ROOTS)
    found = {name: source.find("partsong.old", name) for name in ("Agent", "Old", "Plan", "x")}
    assert {name: f"{one.module}.{one.name}" for name, one in found.items() if one} == {
        "Agent": "partsong.agents.agent.Agent",
        "Old": "partsong.agents.roles.AgentRole",
        "Plan": "partsong.teams.plan.Plan",
        "x": "partsong.old.y.x",
    }


@pytest.mark.parametrize("path", documents(ROOT), ids=name_of)
def test_all_that_a_document_imports_is_public(path: Path) -> None:
    found = [
        f"{block.place}: {name}"
        for block in read(path).blocks
        if block.language == "python"
        for name in private(block.text)
    ]
    assert not found, "not in tests/house/api/table.py:\n" + "\n".join(found)


def test_an_import_of_something_private_is_found() -> None:
    text = "from partsong.tools import tool, exact\nimport partsong.log.file\nfrom os import path\n"
    assert private(text) == ["partsong.tools.exact", "partsong.log.file"]
    assert private("from partsong.contracts import events as e\nimport partsong.client\n") == []


@pytest.mark.parametrize("module", PUBLIC)
def test_what_is_read_is_what_runs(module: str) -> None:
    """The page is read from the source; here Python itself says what there is."""
    loaded = importlib.import_module(module)
    wrong = [one for name in NAMES[module] for one in misread(module, name, getattr(loaded, name))]
    assert not wrong, "\n".join(wrong)


def misread(module: str, name: str, real: object) -> Iterator[str]:
    found = SOURCE.find(module, name)
    assert found is not None
    if inspect.isfunction(real) or inspect.isclass(real):
        home = f"{real.__module__}.{real.__qualname__}"
        if home != f"{found.module}.{found.name}":
            yield f"{module}.{name} is {home}, not {found.module}.{found.name}"
    if not isinstance(real, type) or not isinstance(found.nodes[-1], ast.ClassDef):
        return
    said = read_class(SOURCE, found, PLACES)
    if missing := members(real) - set(said.fields) - set(said.methods):
        yield f"{module}.{name} also has {sorted(missing)}"
    if (required := needed(real, said)) is not None and required != said.required:
        yield f"{module}.{name} requires {sorted(required)}, not {sorted(said.required)}"


def members(real: type) -> set[str]:
    """Public names in a class and in its private bases, but for what public bases say."""
    public = [one for one in real.__mro__[1:] if (one.__module__, one.__name__) in PLACES]
    known = {name for base in public for name in dir(base)}
    ours = [
        one
        for one in real.__mro__
        if one is real or (one.__module__.startswith("partsong.") and one not in public)
    ]
    own = {name for one in ours for name in (*vars(one), *inspect.get_annotations(one))}
    return {name for name in own - known if not name.startswith("_") and name != "model_config"}


def needed(real: type, said: Class) -> set[str] | None:
    """Fields that Python wants to be given, as far as the class itself lists them; None if it has no fields."""
    if issubclass(real, BaseModel):
        fields = real.model_fields.items()
        return {name for name, one in fields if one.is_required() and name in said.fields}
    if dataclasses.is_dataclass(real):
        missing = dataclasses.MISSING
        return {
            one.name
            for one in dataclasses.fields(real)
            if one.name in said.fields and one.default is missing and one.default_factory is missing
        }
    return None
