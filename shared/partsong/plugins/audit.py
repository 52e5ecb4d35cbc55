"""`AuditWebhook`: tells another system of every run, tool call and error, signed, and without holding the run up."""

from __future__ import annotations

import json
import os
from typing import ClassVar

from partsong.contracts.errors import InvalidInput
from partsong.plugins.plugin import Hook, Plugin

__all__ = ["URL_SETTING", "AuditWebhook"]

URL_SETTING = "PARTSONG_AUDIT_URL"


class AuditWebhook(Plugin):
    """An observer: if the other system is away, the run goes on, and the log says that it was not told."""

    order: ClassVar[int] = 100
    timeout: ClassVar[float] = 10.0

    def __init__(self, url: str | None = None) -> None:
        """Without a URL, the environment's PARTSONG_AUDIT_URL.

        Raises:
            InvalidInput: `plugin.bad_setting` if there is none.
        """
        self._url = url or os.environ.get(URL_SETTING, "")
        if not self._url:
            raise InvalidInput(
                "plugin.bad_setting",
                f"{URL_SETTING} is not set",
                where=URL_SETTING,
                fix="set it to the URL that audit records go to",
            )

    async def before_run(self, hook: Hook) -> None:
        """A run begins."""
        await self._tell(hook)

    async def after_run(self, hook: Hook) -> None:
        """A run has ended."""
        await self._tell(hook)

    async def after_tool_call(self, hook: Hook) -> None:
        """A tool was called."""
        await self._tell(hook)

    async def on_error(self, hook: Hook) -> None:
        """Something failed."""
        await self._tell(hook)

    async def _tell(self, hook: Hook) -> None:
        from partsong.runtime import clock
        from partsong.tools.net.egress import http_from_env
        from partsong.tools.net.webhook import SECRET_SETTING, deliver

        body = {"type": f"partsong.{hook.point}", "data": dict(hook.data)}
        about = f"{hook.run_id}/{hook.subject or 'run'}/{hook.point}".replace(".", ":")
        await deliver(
            self._url,
            json.dumps(body, ensure_ascii=False).encode(),
            secret=os.environ.get(SECRET_SETTING) or None,
            id=about[:256],
            timestamp=int(clock.now().timestamp()),
            http=http_from_env(),
        )
