"""Redacted arguments of a call: taken out of the vault for it alone, and forgotten once it was made."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from partsong.contracts.errors import NotFound
from partsong.contracts.events import CallCompleted, CallFailed, CallSuspended
from partsong.contracts.talk.redaction import placeholder, token_in
from partsong.contracts.wire.work import Resume, ToolWork
from partsong.runtime.vault import Vault, new_token
from partsong.tools.pausing import Stopped
from partsong.tools.tool import AnyTool

_ASKED_FOR = re.compile(r"/[cn][0-9]+$")
"""Ids of calls that a turn or code has made, not a node."""

__all__ = ["Suspended", "forget", "opened", "snapshot_of", "suspended", "tokens_in"]


def tokens_in(tool: AnyTool, work: ToolWork) -> dict[str, str]:
    """The tokens of redacted arguments, by name. What a model or code asks for has some; a state that has is forged."""
    if (
        not tool.redact
        or _ASKED_FOR.search(work.call_id) is None
        or not isinstance(work.args, dict)
    ):
        return {}
    found = ((key, token_in(work.args.get(key))) for key in tool.redact)
    return {key: token for key, token in found if token is not None}


async def opened(tool: AnyTool, work: ToolWork, vault: Vault) -> JsonValue:
    """The arguments with their values.

    Raises:
        NotFound: `tool.redacted_gone`.
        Unavailable: the vault did not answer.
    """
    tokens = tokens_in(tool, work)
    if not tokens or not isinstance(work.args, dict):
        return work.args
    values = {key: await _value(token, vault, key) for key, token in tokens.items()}
    return {**work.args, **values}


@dataclass(frozen=True, slots=True)
class Suspended:
    """Code that waits for a tool, as the log keeps it."""

    tool: str
    args: dict[str, JsonValue]
    snapshot: str
    """Base64, or what stands in its place."""


async def suspended(
    stopped: Stopped, hidden: frozenset[str], work: ToolWork, vault: Vault
) -> Suspended:
    """Code that waits, without values of redacted arguments: what it holds itself is out of sight from then on."""
    snapshot = base64.b64encode(stopped.snapshot).decode()
    args = dict(stopped.args)
    secret = hidden & args.keys()
    if secret or (work.resume is not None and token_in(work.resume.snapshot) is not None):
        args |= {key: await _kept(args[key], vault) for key in sorted(secret)}
        snapshot = await _kept(snapshot, vault)
    return Suspended(stopped.tool, args, snapshot)


async def snapshot_of(resume: Resume, vault: Vault) -> bytes:
    """Where code has stopped.

    Raises:
        NotFound: `tool.redacted_gone`.
        Unavailable: the vault did not answer.
    """
    token = token_in(resume.snapshot)
    snapshot = resume.snapshot if token is None else await _value(token, vault, "resume.snapshot")
    return base64.b64decode(str(snapshot))


async def forget(
    tool: AnyTool, work: ToolWork, result: CallCompleted | CallFailed | CallSuspended, vault: Vault
) -> None:
    """Forget what nobody needs after this attempt: one that a person is asked about, or whose code waits, goes on."""
    goes_on = isinstance(result, CallSuspended) or (
        isinstance(result, CallFailed) and result.unapproved is not None
    )
    tokens = set[str]() if goes_on else set(tokens_in(tool, work).values())
    if work.resume is not None and (token := token_in(work.resume.snapshot)) is not None:
        tokens.add(token)
    if tokens:
        await vault.drop(tokens)


async def _kept(value: JsonValue, vault: Vault) -> str:
    token = new_token()
    await vault.put(token, json.dumps(value).encode())
    return placeholder(token)


async def _value(token: str, vault: Vault, where: str) -> JsonValue:
    kept = await vault.get(token)
    if kept is None:
        raise NotFound(
            "tool.redacted_gone",
            f"the value of {where}, which is redacted, is not kept any more",
            where=where,
            fix="make the call anew with the value itself: it is forgotten once its call was made, after a month, and with "
            "the process that runs a graph by itself",
        )
    return cast("JsonValue", json.loads(kept))
