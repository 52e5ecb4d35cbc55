"""URLs of requests: read by one parser, for the check and for the connection alike, so that the two cannot disagree."""

from __future__ import annotations

import re

import httpx2

from partsong.contracts.errors import InvalidInput

__all__ = ["charset_of", "host_of", "origin", "parsed", "port_of", "redirected"]

_HOST = re.compile(r"[A-Za-z0-9._:-]+")


def parsed(url: str) -> httpx2.URL:
    """The URL, if a request may have it: http or https, a host, no user name.

    Raises:
        InvalidInput: `http.bad_url`.
    """
    try:
        target = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise _bad(str(error)) from error
    if target.scheme not in ("http", "https"):
        raise _bad(f"{target.scheme[:20] or 'no scheme'}: only http and https are open")
    if not _HOST.fullmatch(host_of(target)):
        raise _bad("it names no host")
    if target.userinfo:
        raise _bad("it carries a user name or a password")
    return target


def redirected(source: httpx2.URL, location: str) -> httpx2.URL:
    """Where a redirect leads.

    Raises:
        InvalidInput: `http.bad_url`, or `http.downgrade` from https to http.
    """
    try:
        joined = str(source.join(location))
    except (httpx2.InvalidURL, ValueError) as error:
        raise _bad(f"redirect of {origin(source)}: {error}") from error
    target = parsed(joined)
    if source.scheme == "https" and target.scheme == "http":
        raise InvalidInput(
            "http.downgrade",
            f"{origin(source)} redirects to {origin(target)}, which is not encrypted",
            where=origin(source),
        )
    return target


def host_of(url: httpx2.URL) -> str:
    """The host as DNS and TLS know it: in ASCII, without the dot of the root."""
    return url.raw_host.decode("ascii").rstrip(".")


def port_of(url: httpx2.URL) -> int:
    """The port, also if it is the scheme's own."""
    return url.port if url.port is not None else 443 if url.scheme == "https" else 80


def origin(url: httpx2.URL) -> str:
    """Scheme, host and port, for messages: paths and queries may be secrets."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def charset_of(content_type: str) -> str:
    """The charset in a `Content-Type`, or nothing."""
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'")[:40]
    return ""


def _bad(why: str) -> InvalidInput:
    return InvalidInput(
        "http.bad_url",
        f"no request can be made to it: {why}",
        where="url",
        fix="give a URL like https://example.com/page",
    )
