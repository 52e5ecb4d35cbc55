"""`SafeHttp`: the one HTTP client for addresses that a model, a page or a user chose.

Where a request goes is decided once: the name is resolved, all its addresses are checked, and the connection is made to
a checked address with the name in `Host` and in TLS. A name that resolves differently a moment later changes nothing.
Each redirect goes through the same door. Proxies from the environment are not used: they would resolve again.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import TypeAlias

import httpx2

from partsong.contracts.durations import format_duration
from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.tools.net.addresses import Gate
from partsong.tools.net.urls import charset_of, host_of, origin, parsed, port_of, redirected

__all__ = ["Fetched", "Resolve", "SafeHttp", "addresses_of"]

Resolve: TypeAlias = Callable[[str, int], Awaitable[list[str]]]
"""Turns a host and a port into addresses; raises `OSError` if there are none."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRY_AGAIN = frozenset({408, 425, 429})
_ENCODINGS = frozenset({"", "identity", "gzip"})
"""What can be unpacked in bounded pieces."""
_OWN_HEADERS = {"User-Agent": "partsong", "Accept-Encoding": "gzip, identity"}
_MOST_TRIED = 3
"""Addresses of one name that are tried: where IPv6 does not work, the second one must be reached."""
_TO_CONNECT = 5.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a server answered."""

    url: str
    """Where it came from in the end."""
    status: int
    type: str
    """The media type in lower case, without parameters."""
    charset: str
    """As the server named it, or empty."""
    retry_after: str
    """As the server wrote it, or empty."""
    body: bytes
    """Decompressed; empty if the status is not 2xx or nobody asked for it."""

    def expect_success(self, area: str, who: str) -> None:
        """Nothing, if the status is 2xx.

        Raises:
            InvalidInput: `<area>.refused`; asking again would not help.
            Unavailable: `<area>.unavailable`, for 5xx and for what the server says is only too early or too often.
        """
        if 200 <= self.status < 300:
            return
        where = origin(httpx2.URL(self.url))
        if self.status < 500 and self.status not in _TRY_AGAIN:
            raise InvalidInput(f"{area}.refused", f"{who} answered {self.status}", where=where)
        later = f", to be tried after {self.retry_after}" if self.retry_after else ""
        raise _unavailable(f"{area}.unavailable", f"{who} answered {self.status}{later}", where)


async def addresses_of(host: str, port: int) -> list[str]:
    """The host's addresses as the system resolves them, in its order."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class SafeHttp:
    """GET and POST to public addresses: bounded in bytes, in time, in redirects, and in types of content."""

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        ports: Collection[int] = (80, 443),
        resolve: Resolve = addresses_of,
        limit: int = 5_000_000,
        timeout: float = 20.0,
        redirects: int = 5,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Bounds: `limit` bytes of an answer after decompression, `timeout` seconds for all of a request.

        `allow` excepts hosts and networks (`searx.internal:8080`, `10.1.0.0/16`); cloud metadata stays closed.

        Raises:
            InvalidInput: `settings.invalid` if an exception cannot be read.
        """
        self._gate = Gate(allow, ports)
        self._resolve, self._tls = resolve, tls
        self._limit, self._timeout, self._redirects = limit, timeout, redirects

    async def get(self, url: str, *, types: Collection[str]) -> Fetched:
        """Get what is there, through redirects; `types` are the media types that are taken (`text/html`, `+json`).

        A status of 400 or more is an answer, not an error.

        Raises:
            InvalidInput: `http.bad_url`, `http.refused_address`, `http.refused_port`, `http.downgrade`,
                `http.too_many_redirects`, `http.refused_encoding`, `http.refused_type` or `http.too_large`.
            Unavailable: `http.unresolved`, `http.unreachable` or `http.timeout`.
        """
        return await self._bounded(parsed(url), self._get(parsed(url), types))

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        types: Collection[str] = (),
    ) -> Fetched:
        """Send a body; redirects are not followed, and without `types` the answer's body is not read.

        Raises:
            InvalidInput: as `get`.
            Unavailable: as `get`.
        """
        return await self._bounded(
            parsed(url), self._post(parsed(url), body, dict(headers or {}), types)
        )

    async def _bounded(self, url: httpx2.URL, work: Awaitable[Fetched]) -> Fetched:
        """All the time a request has, and the network's errors in this project's terms."""
        try:
            async with asyncio.timeout(self._timeout):
                return await work
        except (TimeoutError, httpx2.TimeoutException) as error:
            why = f"no whole answer within {format_duration(self._timeout)}"
            raise _unavailable("http.timeout", why, origin(url)) from error
        except httpx2.HTTPError as error:
            why = f"{type(error).__name__}: {error}"
            raise _unavailable("http.unreachable", why, origin(url)) from error

    async def _get(self, url: httpx2.URL, types: Collection[str]) -> Fetched:
        target = url
        for _ in range(self._redirects + 1):
            async with self._sent("GET", target, b"", {}) as response:
                location = response.headers.get("location")
                if response.status_code not in _REDIRECTS or location is None:
                    return await self._read(target, response, types)
                target = redirected(target, location)
        raise InvalidInput(
            "http.too_many_redirects",
            f"more than {self._redirects} redirects, the last one to {origin(target)}",
            where=origin(url),
        )

    async def _post(
        self, url: httpx2.URL, body: bytes, headers: dict[str, str], types: Collection[str]
    ) -> Fetched:
        async with self._sent("POST", url, body, headers) as response:
            return await self._read(url, response, types)

    @asynccontextmanager
    async def _sent(
        self, method: str, url: httpx2.URL, body: bytes, headers: dict[str, str]
    ) -> AsyncIterator[httpx2.Response]:
        """The answer's head, from the first of the host's addresses that can be connected to."""
        host = host_of(url)
        found = await self._looked_up(host, port_of(url))
        self._gate.check(host, found, port_of(url))
        # A client for each hop: a connection that is kept could serve another name at the same address.
        transport = httpx2.AsyncHTTPTransport(verify=await self._context(url), trust_env=False)
        timeout = httpx2.Timeout(None, connect=_TO_CONNECT)
        async with httpx2.AsyncClient(
            transport=transport, trust_env=False, timeout=timeout
        ) as client:
            requests = [
                client.build_request(
                    method,
                    url.copy_with(host=address, fragment=None),
                    content=body or None,
                    headers={**headers, **_OWN_HEADERS, "Host": url.netloc.decode("ascii")},
                    extensions={"sni_hostname": host},
                )
                for address in found[:_MOST_TRIED]
            ]
            response = await _first(client, requests)
            try:
                yield response
            finally:
                await response.aclose()

    async def _looked_up(self, host: str, port: int) -> list[str]:
        try:
            return [str(ip_address(host))]
        except ValueError:
            pass
        try:
            if found := await self._resolve(host, port):
                return found
            why = "it has no address"
        except (OSError, UnicodeError) as error:
            why = str(error)
        raise _unavailable("http.unresolved", f"{host} cannot be resolved: {why}", host)

    async def _context(self, url: httpx2.URL) -> ssl.SSLContext:
        if url.scheme == "http":
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used, and would trust nobody
        if self._tls is not None:
            return self._tls
        return await asyncio.to_thread(_trusted)

    async def _read(
        self, url: httpx2.URL, response: httpx2.Response, types: Collection[str]
    ) -> Fetched:
        content_type = response.headers.get("content-type", "")
        kind = content_type.partition(";")[0].strip().lower()
        body = b""
        if types and response.is_success:
            _check_content(url, response, kind, types)
            body = await self._body(url, response)
        return Fetched(
            url=str(url),
            status=response.status_code,
            type=kind,
            charset=charset_of(content_type),
            retry_after=response.headers.get("retry-after", "")[:40],
            body=body,
        )

    async def _body(self, url: httpx2.URL, response: httpx2.Response) -> bytes:
        body = bytearray()
        async for piece in response.aiter_bytes():  # at most 1 MiB, however much it was packed
            body += piece
            if len(body) > self._limit:
                raise InvalidInput(
                    "http.too_large",
                    f"the answer has more than {self._limit:,} bytes",
                    where=origin(url),
                )
        return bytes(body)


async def _first(client: httpx2.AsyncClient, requests: list[httpx2.Request]) -> httpx2.Response:
    for request in requests[:-1]:
        try:
            return await client.send(request, stream=True)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            continue  # nothing has been sent
    return await client.send(requests[-1], stream=True)


def _check_content(
    url: httpx2.URL, response: httpx2.Response, kind: str, types: Collection[str]
) -> None:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise InvalidInput(
            "http.refused_encoding",
            f"the answer is packed as {encoding[:80]!r}, only gzip is taken",
            where=origin(url),
        )
    if not any(kind == one or (one.startswith("+") and kind.endswith(one)) for one in types):
        raise InvalidInput(
            "http.refused_type",
            f"the answer is {kind[:80] or 'of no type'}, taken are {', '.join(sorted(types))}",
            where=origin(url),
        )


def _unavailable(code: str, why: str, where: str) -> Unavailable:
    return Unavailable(code, why, where=where, retryable=True, fault="provider")


@cache
def _trusted() -> ssl.SSLContext:
    return httpx2.create_ssl_context()
