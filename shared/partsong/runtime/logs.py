"""Structured logs on stderr: an event in few words, then key=value, always with the run's id where there is one."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from textwrap import indent

from partsong.runtime import clock
from partsong.runtime.visible import escaped, visible

__all__ = ["current_run", "current_trace", "set_up"]

current_run: ContextVar[str] = ContextVar("current_run", default="")
"""The run that the running task works for."""
current_trace: ContextVar[str] = ContextVar("current_trace", default="")
"""Its trace id."""

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Formatter(logging.Formatter):
    def __init__(self, service: str, *, as_json: bool) -> None:
        super().__init__()
        self._service, self._json = service, as_json

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            key: value for key, value in vars(record).items() if key not in _PLAIN
        }
        for key, var in (("run", current_run), ("trace", current_trace)):
            if (value := var.get()) and key not in fields:
                fields[key] = value
        error = self.formatException(record.exc_info) if record.exc_info else ""
        told = fields.get("traceback")  # of what was raised elsewhere
        if isinstance(told, str) and not self._json:
            error = error or str(fields.pop("traceback"))
        head = {
            "time": clock.now_text(),
            "level": record.levelname.lower(),
            "service": self._service,
        }
        if self._json:
            fields |= {"error": error} if error else {}
            return json.dumps({**head, "event": record.getMessage(), **fields}, default=str)
        pairs = "".join(f" {key}={_word(value)}" for key, value in fields.items())
        event = visible(record.getMessage(), lines=False)
        line = f"{head['time']} {head['level']:<7} {self._service} {event}{pairs}"
        # No line of a traceback looks like one of ours: what was raised may be anybody's text.
        return f"{line}\n{indent(visible(error), '    ')}" if error else line


def _word(value: object) -> str:
    """A value as it stands after its key: in quotes if it would not be one word."""
    text = str(value)
    plain = text and not any(c.isspace() or c in '="' for c in text)
    return visible(text, lines=False) if plain else escaped(json.dumps(text, ensure_ascii=False))


def set_up(service: str, *, level: str = "INFO", form: str = "text") -> None:
    """Send this process's logs to stderr, once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(service, as_json=form == "json"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpx2", "httpcore", "nats", "aiosqlite", "faststream"):
        logging.getLogger(noisy).setLevel("WARNING")
