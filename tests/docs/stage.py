"""The stage one document plays on: a folder, an environment, and one session each of Python and of the shell."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from tests.docs.blocks import Block
from tests.docs.prompt import Prompt, python_of, unpasteable

__all__ = ["LANGUAGES", "BlockFailed", "Stage", "reader"]

COMMAND_SECONDS = 120
OUTPUT_MARK = "#> "
_PROGRAM = 'if __name__ == "__main__":'
# Drawn, not run: GitHub and the site draw a diagram only under this name.
DIAGRAM = re.compile(
    r"\s*(flowchart|graph|sequenceDiagram|stateDiagram(-v2)?|classDiagram|gantt)\b"
)
LANGUAGES = ("python", "bash", "console", "yaml", "json", "jsonl", "toml", "mermaid", "text")


NO_KEYS = dict.fromkeys(
    ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY"), ""
)
"""Whoever runs the tests pays nobody: documents are answered by the scripted provider."""


def reader(home: Path, commands: Path) -> dict[str, str]:
    """The environment of a reader who has activated the one with these commands."""
    return {
        **NO_KEYS,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }


class BlockFailed(AssertionError):
    """A block does not do what the document says."""

    def __init__(self, block: Block, message: str) -> None:
        super().__init__(f"{block.place}: {message}")


class Stage:
    """Runs a document's blocks in order; what one leaves behind, the next one finds."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._environment.pop("PYTHONPATH", None)  # a reader has nothing but the folder
        self._prompt: Prompt | None = None
        self._memory = os.devnull  # of the shell: its variables

    @contextlib.contextmanager
    def entered(self) -> Iterator[Stage]:
        """Play on the stage; its Python session ends with it."""
        with tempfile.NamedTemporaryFile() as memory:
            self._memory = memory.name
            try:
                yield self
            finally:
                if self._prompt is not None:
                    self._prompt.close()

    def run(self, block: Block) -> None:
        """Run or parse one block.

        Raises:
            BlockFailed: it did not do what the document says.
        """
        if block.title:
            self._write(block.title, block)
        match block.language:
            case "python" if block.title and _PROGRAM in block.text:
                self._compare(block, self._program(block, block.title))
            case "python" if block.title:
                compile(block.text, block.place, "exec", dont_inherit=True)
            case "python":
                self._python(block)
            case "bash":
                self._shell(block, block.text)
            case "console":
                self._console(block)
            case "yaml" | "json" | "jsonl" | "toml" | "mermaid":
                _parse(block)
            case "text":
                pass
            case other:
                known = ", ".join(LANGUAGES)
                raise BlockFailed(block, f"unknown info string {other!r}, expected one of {known}")

    def _write(self, title: str, block: Block) -> None:
        target = (self._folder / title).resolve()
        if not target.is_relative_to(self._folder.resolve()):
            raise BlockFailed(block, f"title {title!r} is outside the document's folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text, "utf-8")

    def _python(self, block: Block) -> None:
        """Paste a block into the page's session of `python -m asyncio`."""
        if complaint := unpasteable(block.text):
            raise BlockFailed(block, complaint)
        if self._prompt is None:
            self._prompt = Prompt(self._folder, self._environment)
        printed, well = self._prompt.paste(block.text)
        if not well:
            raise BlockFailed(block, printed)
        self._compare(block, printed)

    def _program(self, block: Block, file: str) -> str:
        """Run a block that was written to a file as a reader does, who has nothing but the folder; what it prints."""
        done = subprocess.run(
            [python_of(self._environment), file],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise BlockFailed(
                block, f"exit code {done.returncode} from python {file}\n{done.stderr}"
            )
        return done.stdout

    @staticmethod
    def _compare(block: Block, printed: str) -> None:
        promised = [
            line.lstrip().removeprefix(OUTPUT_MARK)
            for line in block.text.splitlines()
            if line.lstrip().startswith(OUTPUT_MARK)
        ]
        if promised and not _matches("\n".join(promised), printed):
            raise BlockFailed(block, _disagreement("\n".join(promised), printed))

    def _console(self, block: Block) -> None:
        sessions = list(_commands(block))
        if not sessions:
            raise BlockFailed(
                block, "a console block needs at least one line that starts with '$ '"
            )
        for command, promised in sessions:
            printed = self._shell(block, command)
            if promised.strip() and not _matches(promised, printed):
                raise BlockFailed(block, f"$ {command}\n{_disagreement(promised, printed)}")

    def _shell(self, block: Block, script: str) -> str:
        """Run commands as a terminal does: a variable that one of them sets, the next ones see."""
        memory = shlex.quote(self._memory)
        script = f"set -a\n. {memory}\n{script}\nexport -p > {memory}"
        try:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BlockFailed(
                block, f"still running after {COMMAND_SECONDS} s: {script}"
            ) from error
        if done.returncode:
            raise BlockFailed(block, f"exit code {done.returncode} from {script}\n{done.stdout}")
        return done.stdout


def _parse(block: Block) -> None:
    try:
        match block.language:
            case "yaml":
                list(yaml.safe_load_all(block.text))
            case "json":
                json.loads(block.text)
            case "jsonl":
                [json.loads(line) for line in block.text.splitlines() if line.strip()]
            case "toml":
                tomllib.loads(block.text)
            case _:
                if not DIAGRAM.match(block.text):
                    raise BlockFailed(block, "not a diagram that mermaid knows")
    except (yaml.YAMLError, ValueError) as error:
        raise BlockFailed(block, f"not {block.language}: {error}") from error


def _commands(block: Block) -> Iterator[tuple[str, str]]:
    """Each `$ command` (with `> ` continuations) and the output the document shows for it."""
    command: list[str] = []
    promised: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            if command:
                yield "\n".join(command), "\n".join(promised)
            command, promised = [line[2:]], []
        elif line.startswith("> ") and command and not promised:
            command.append(line[2:])
        elif command:
            promised.append(line)
        elif line.strip():
            raise BlockFailed(block, f"output before the first command: {line!r}")
    if command:
        yield "\n".join(command), "\n".join(promised)


def _matches(promised: str, printed: str) -> bool:
    """Equal but for runs of white space; `...` or `…` stands for anything."""
    words = " ".join(promised.split()).replace("…", "...")
    pattern = ".*".join(re.escape(part.strip()) for part in words.split("..."))
    return re.fullmatch(pattern, " ".join(printed.split()), re.DOTALL) is not None


def _disagreement(promised: str, printed: str) -> str:
    return f"the document shows\n{promised.rstrip()}\nbut this was printed\n{printed.rstrip()}"
