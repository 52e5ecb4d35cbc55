"""What several agents say at the same time, so that it can be read: a line belongs to one of them.

While one speaks alone, a terminal shows each word as it comes. As soon as another one speaks, and wherever a program or a
file reads, whole lines are shown, each behind the name of who says it.
"""

from __future__ import annotations

from collections.abc import Callable

from partsong.contracts.talk.chunks import TERMINAL, Chunk

__all__ = ["Voices"]

_Voice = tuple[str, int]

_LONGEST = 160
"""Characters of a line that goes on, after which it is shown in pieces: a paragraph may have no end."""


class Voices:
    """Puts the text of calls into lines. `write` is given what is to be shown, line ends included."""

    def __init__(self, write: Callable[[str], None], *, live: bool) -> None:
        """`live`: words are shown as they come while nobody else speaks."""
        self._write, self._live = write, live
        self._said: dict[_Voice, str] = {}
        """What each one who speaks has said of its line, and is not shown yet."""
        self._begun: _Voice | None = None
        """Whose line is on the screen, and not at its end."""

    def take(self, chunk: Chunk) -> None:
        """Take what comes."""
        voice = chunk.call_id, chunk.attempt
        for earlier in [said for said in self._said if said[0] == voice[0] and said[1] < voice[1]]:
            self._end(earlier)  # its worker is gone: it ends where it was broken off
        if chunk.kind == "text":
            self._say(voice, chunk.text)
        elif isinstance(chunk, TERMINAL):
            self._end(voice)

    def close(self) -> None:
        """Show what nobody has ended, as when a run was cancelled."""
        for voice in list(self._said):
            self._end(voice)

    def _say(self, voice: _Voice, text: str) -> None:
        *lines, rest = (self._said.get(voice, "") + text).split("\n")
        for line in lines:
            self._show(voice, line, ends=True)
        self._said[voice] = rest
        if self._live and len(self._said) == 1:
            self._show(voice, rest, ends=False)
            self._said[voice] = ""
        while len(self._said[voice]) > _LONGEST:
            rest = self._said[voice]
            cut = rest.rfind(" ", 1, _LONGEST) + 1 or _LONGEST
            self._show(voice, rest[:cut].rstrip(" "), ends=True)
            self._said[voice] = rest[cut:]

    def _end(self, voice: _Voice) -> None:
        rest = self._said.pop(voice, "")
        if rest:
            self._show(voice, rest, ends=True)
        elif self._begun == voice:
            self._write("\n")
            self._begun = None

    def _show(self, voice: _Voice, text: str, *, ends: bool) -> None:
        """Show a part of somebody's line, behind its name unless it goes on with what is on the screen."""
        if self._begun not in {None, voice}:
            self._write("\n")
            self._begun = None
        if text or (ends and self._begun is None):
            self._write(text if self._begun == voice else f"{_name(voice)} {text}")
            self._begun = voice
        if ends:
            self._write("\n")
            self._begun = None


def _name(voice: _Voice) -> str:
    call_id, attempt = voice
    again = f", attempt {attempt}" if attempt > 1 else ""
    return f"[{call_id}{again}]"
