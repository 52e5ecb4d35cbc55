"""The way out: the HTTP client as the operator has set it up, loaded when the first request is made."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from partsong.contracts.errors import Unavailable
from partsong.tools.net.addresses import ALLOW_SETTING

if TYPE_CHECKING:
    from partsong.tools.net.safe_http import SafeHttp

__all__ = ["http_from_env"]


def http_from_env(*allow: str, timeout: float = 20.0) -> SafeHttp:
    """A client that may also reach what the setting `PARTSONG_HTTP_ALLOW` names, and `allow`.

    Raises:
        InvalidInput: `settings.invalid`.
        Unavailable: `http.not_installed`.
    """
    if find_spec("httpx2") is None:
        raise Unavailable(
            "http.not_installed",
            "httpx2 is not installed",
            where="tools",
            fix="pip install 'partsong[tools]'",
        )
    from partsong.tools.net.safe_http import SafeHttp

    named = [part for part in os.environ.get(ALLOW_SETTING, "").split(",") if part.strip()]
    return SafeHttp(allow=[*named, *allow], timeout=timeout)
