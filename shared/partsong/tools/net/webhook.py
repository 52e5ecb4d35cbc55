"""Webhooks, signed as standardwebhooks.com says: id, time and body under one HMAC."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.function_results import NodeContext
from partsong.runtime import clock
from partsong.tools.net.egress import http_from_env
from partsong.tools.tool import tool

if TYPE_CHECKING:
    from partsong.tools.net.safe_http import SafeHttp

__all__ = ["SECRET_SETTING", "deliver", "send_webhook"]

SECRET_SETTING = "PARTSONG_WEBHOOK_SECRET"  # noqa: S105
"""What webhooks are signed with: `whsec_…`; two, separated by a space, while one replaces the other."""

_ID = re.compile(r"[!-\-/-~]{1,256}")  # a full stop would let one signature fit two messages


async def deliver(
    url: str, payload: bytes, *, secret: str | None, id: str, timestamp: int, http: SafeHttp
) -> None:
    """Make one attempt; the receiver has it when this returns.

    `id` is the same for every attempt, so that receivers can tell a repeat; `timestamp` (seconds) is the attempt's own.
    Redirects count as refusals.

    Raises:
        InvalidInput: `webhook.refused` by the receiver for good, `webhook.bad_id`, `webhook.bad_secret`, or what
            `SafeHttp.post` refuses; no further attempt would help.
        Unavailable: `webhook.unavailable`, or what `SafeHttp.post` could not reach; worth another attempt, later.
    """
    if not _ID.fullmatch(id):
        raise InvalidInput(
            "webhook.bad_id",
            f"{id!r:.80} is no webhook id: 1 to 256 visible characters, no full stop",
            where="id",
        )
    headers = {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
    }
    if secret is not None:
        headers["webhook-signature"] = _signatures(secret, f"{id}.{timestamp}.".encode() + payload)
    answer = await http.post(url, payload, headers=headers)
    answer.expect_success("webhook", "the receiver")


def _signatures(secrets: str, content: bytes) -> str:
    return " ".join(
        f"v1,{base64.b64encode(hmac.new(_key(one), content, hashlib.sha256).digest()).decode()}"
        for one in secrets.split()
    )


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) >= 24:
        return key
    raise InvalidInput(
        "webhook.bad_secret",
        "the secret that webhooks are signed with is not at least 24 bytes in base64",
        where=SECRET_SETTING,
        fix="set it to whsec_$(openssl rand -base64 32)",
        fault="platform",
    ) from None


@tool(side_effect="write", idempotent=True, timeout=30)
async def send_webhook(
    url: Annotated[str, Field(description="Where to send it.")],
    payload: Annotated[dict[str, JsonValue], Field(description="What to send.")],
    context: NodeContext,
    id: Annotated[
        str, Field(description="The same for every attempt; without one, the call's own.")
    ] = "",
) -> str:
    """Send a JSON object to a URL, signed with the operator's secret."""
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    await deliver(
        url,
        body,
        secret=os.environ.get(SECRET_SETTING) or None,
        id=id or context.idempotency_key.replace(".", ":"),
        timestamp=int(clock.now().timestamp()),
        http=http_from_env(),
    )
    return "delivered"
