"""What a run may be asked for, checked before anything is changed."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from partsong.contracts.deadlines import BAD_DEADLINE, parse_deadline, seconds_after
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import Parent, RunOptions
from partsong.contracts.wire.work import child_of, child_of_v0
from partsong.engine.calls.calls import LATEST, later

__all__ = ["check_deadline", "check_options", "resolved"]

_LONGEST_URL = 2000
_MOST_STEPS = 1_000_000


def check_options(run_id: str, options: RunOptions) -> None:
    """Refuse options that could never be met.

    Raises:
        InvalidInput: `run.too_many_steps`, `run.not_the_child`, `run.bad_deadline`, `webhook.bad_url`.
    """
    if options.max_steps > _MOST_STEPS:
        raise InvalidInput(
            "run.too_many_steps",
            f"max_steps is {options.max_steps}, at most {_MOST_STEPS} are accepted",
            where="options.max_steps",
            fix="let the work go on in another run: everything that a run does is read when it is taken up",
        )
    check_deadline(options)
    if options.parent is not None:
        _parent(run_id, options.parent)
    if options.webhook is not None:
        _webhook(options.webhook)


def check_deadline(options: RunOptions) -> None:
    """Refuse a deadline that is none, or later than a timer can wait for.

    Raises:
        InvalidInput: `run.bad_deadline`.
    """
    if options.deadline is None or seconds_after(options.deadline) is not None:
        return
    moment = parse_deadline(options.deadline, "options.deadline")
    if datetime.fromisoformat(moment) >= LATEST:
        raise InvalidInput(
            BAD_DEADLINE,
            f"{moment!r:.60} is no moment before {LATEST.year}",
            where="options.deadline",
            fix="give RFC 3339, for example 2030-01-31T18:00:00Z",
        )


def resolved(options: RunOptions, now: str) -> tuple[RunOptions, float | None]:
    """The options with a moment as their deadline; and the seconds it was made of, if it was a duration."""
    after = seconds_after(options.deadline) if options.deadline is not None else None
    if after is None:
        return options, None
    return options.model_copy(update={"deadline": later(now, after)}), after


def _parent(run_id: str, parent: Parent) -> None:
    if run_id not in {child := child_of(parent), child_of_v0(parent)}:
        raise InvalidInput(
            "run.not_the_child",
            f"run {parent.run_id} waits for {child} at {parent.call_id}, not for {run_id}",
            where="options.parent",
            fix="leave `parent` out: detached subgraphs set it",
        )


def _webhook(url: str) -> None:
    """The URL's form; whether it may be reached is asked when it is called."""
    try:
        parts = urlsplit(url)
        port_fits = parts.port != 0
    except ValueError as error:
        raise _bad_url(str(error)) from error
    if len(url) > _LONGEST_URL:
        raise _bad_url(f"it has {len(url)} characters, at most {_LONGEST_URL} are accepted")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise _bad_url("it holds characters that no URL has")
    if parts.scheme not in {"http", "https"}:
        raise _bad_url(f"its scheme is {parts.scheme or 'missing'}, not http or https")
    if not parts.hostname or not port_fits:
        raise _bad_url("it names no host and port")
    if parts.username is not None or parts.password is not None:
        raise _bad_url("it carries a user name or a password")


def _bad_url(why: str) -> InvalidInput:
    return InvalidInput(
        "webhook.bad_url",
        f"no webhook can be sent there: {why}",
        where="options.webhook",
        fix="give a URL like https://example.com/hooks/partsong",
    )
