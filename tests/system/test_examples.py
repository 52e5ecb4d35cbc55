"""The examples, run as a user runs them: one command, no key, from the checkout."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import ROOT

EXAMPLES = {
    "rag": ("read  0.32  returns.md", "when your parcel is here (returns.md)"),
    "support": ("decides by itself: yes", "done   80.0 euros are on their way."),
    "code_review": ("security  The name is put into the query", "do not merge"),
    "pipeline": ("ship A-3", "A-1 for 20, A-2 for 35, A-3 for 5; 60 euros"),
    "scheduled_report": ("schedule orders-report: every 1s", "has one more report"),
    "release_notes": ("the demo decides by itself: approve", "identical state"),
    "plan_and_edit": ("Carry it out?", "The page is written."),
}
HELPERS = {"on_the_bus", "voices"}
WORDS = {
    "scheduled_report": ("--every", "1s", "--output", "{folder}/reports.md"),
    "release_notes": ("--output", "{folder}/release_notes.md"),
    "plan_and_edit": ("--file", "{folder}/plan.json"),
}
TYPED = {"plan_and_edit": "yes\n"}


def environment() -> dict[str, str]:
    unwanted = ("PARTSONG_", "ANTHROPIC_", "OPENAI_", "GOOGLE_", "GEMINI_", "COV_")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def words(name: str, folder: Path, *more: str) -> list[str]:
    given = (word.format(folder=folder) for word in WORDS.get(name, ()))
    return [sys.executable, "-m", f"examples.{name}", *given, *more]


def run(name: str, folder: Path, *more: str, code: int = 0) -> str:
    done = subprocess.run(
        words(name, folder, *more),
        cwd=ROOT,
        env=environment(),
        input=TYPED.get(name, ""),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def at_a_terminal(name: str, folder: Path, typed: str, *more: str) -> str:
    """What an example prints to a person who types that."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    try:
        done = subprocess.run(
            words(name, folder, *more),
            cwd=ROOT,
            env=environment(),
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_without_a_key(tmp_path: Path, name: str) -> None:
    said = run(name, tmp_path)
    for line in EXAMPLES[name]:
        assert line in said


def test_every_example_is_run_here_and_stands_in_the_documents() -> None:
    found = {path.stem for path in (ROOT / "examples").iterdir() if not path.name.startswith("__")}
    assert found - HELPERS == EXAMPLES.keys()
    page, notes = (ROOT / "docs/examples.md").read_text("utf-8"), (ROOT / "examples/__init__.py").read_text("utf-8")  # fmt: skip
    for name in EXAMPLES:
        assert f"python -m examples.{name}" in page
        assert f"\n{name} " in notes
    assert "docs/examples.md" in (ROOT / "README.md").read_text("utf-8")


def test_a_saga_that_fails_is_undone(tmp_path: Path) -> None:
    lines = run("pipeline", tmp_path, "--broken", code=1).splitlines()
    back = [
        line for line in lines if line.startswith("give back")
    ]  # in no order: orders end as they come
    assert set(back) == {f"give back {euros} euros" for euros in (99, 5, 35, 20)}
    assert len(back) == 4
    assert "A-4 is sold out" in lines[-1]


def test_documents_of_ones_own_are_read(tmp_path: Path) -> None:
    (tmp_path / "bees.md").write_text("Bees sleep at night.\n\nHoney never spoils.\n", "utf-8")
    said = run("rag", tmp_path, "Does honey spoil?", "--docs", str(tmp_path))
    assert "bees.md: Honey never spoils." in said
    assert "returns.md: " not in said


@pytest.mark.parametrize(
    ("typed", "said"), [("y\n", "80.0 euros are on their way."), ("n\n", "Nothing is paid back.")]
)
def test_a_person_at_the_terminal_decides(tmp_path: Path, typed: str, said: str) -> None:
    assert said in at_a_terminal("support", tmp_path, typed)


@pytest.mark.parametrize(("typed", "written"), [("y\n", True), ("n\n", False)])
def test_the_demo_asks_the_person_at_the_terminal(
    tmp_path: Path, typed: str, written: bool
) -> None:
    said = at_a_terminal("release_notes", tmp_path, typed)
    assert "Publish them? [y/n]" in said
    assert ("nothing was written" in said) is not written
    assert (tmp_path / "release_notes.md").exists() is written
    assert "decides by itself" not in said


def test_what_the_examples_write_is_ignored_by_git() -> None:
    files = ("release_notes.md", "plan.json", "reports.md")
    done = subprocess.run(("git", "check-ignore", *files), cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode == 128:
        pytest.skip("not a checkout")
    assert done.stdout.split() == list(files)
