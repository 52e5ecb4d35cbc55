"""Who speaks in the examples: a model, if there is a key in the environment, else a script; and a person, at a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from partsong.testing import ScriptedModel
from partsong.testing.scripted import Answer

__all__ = ["KEYS", "agree", "models"]

KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY")


class _Script(ScriptedModel):
    """A model that has the same answers whatever it is asked; a run that ends early need not hear all of them."""

    def _unfinished(self) -> None:
        return None


@contextmanager
def models(**scripts: list[Answer]) -> Iterator[dict[str, str]]:
    """A model's name for each part: empty, which is the one of the key in the environment, or that of a script."""
    if any(os.environ.get(key) for key in KEYS):
        yield dict.fromkeys(scripts, "")
        return
    print("There is no key in the environment: a script answers, always the same.\n")
    scripted = {
        part: _Script(*answers, model=f"script:{part}") for part, answers in scripts.items()
    }
    for model in scripted.values():
        model.__enter__()
    try:
        yield {part: model.model for part, model in scripted.items()}
    finally:
        for model in scripted.values():
            model.__exit__(None, None, None)


def agree(question: str, *, alone: bool = True) -> bool:
    """A person's answer, at a terminal; where there is none, `alone` decides, and that is said."""
    if not sys.stdin.isatty():
        print(
            f"{question} There is no terminal, so the example decides by itself: {'yes' if alone else 'no'}."
        )
        return alone
    return input(f"{question} [y/n] ").strip().lower().startswith("y")
