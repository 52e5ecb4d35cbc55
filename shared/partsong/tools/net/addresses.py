"""Addresses: which network addresses requests on behalf of a model may reach.

A name is judged by all its addresses, an IPv6 address also by the IPv4 address it may be translated to: a gateway
delivers `64:ff9b::7f00:1` to 127.0.0.1.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from partsong.contracts.errors import InvalidInput

__all__ = ["ALLOW_SETTING", "Address", "Allowance", "Gate", "allowance", "embedded", "private"]

ALLOW_SETTING = "PARTSONG_HTTP_ALLOW"
"""Hosts and networks that requests may reach though they are private, separated by commas."""

Address: TypeAlias = IPv4Address | IPv6Address
_Network: TypeAlias = IPv4Network | IPv6Network

_PRIVATE: tuple[tuple[str, tuple[_Network, ...]], ...] = tuple(
    (kind, tuple(ipaddress.ip_network(text) for text in networks.split()))
    for kind, networks in (
        ("loopback", "127.0.0.0/8 ::1/128"),
        ("link-local", "169.254.0.0/16 fe80::/10"),
        ("translated", "64:ff9b:1::/48"),
        ("private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10"),
        ("carrier-grade NAT", "100.64.0.0/10"),
        ("multicast", "224.0.0.0/4 ff00::/8"),
        ("this network", "0.0.0.0/8 ::/128"),
        ("reserved", "192.0.0.0/24 192.88.99.0/24 198.18.0.0/15 240.0.0.0/4 100::/64 5f00::/16"),
        ("documentation", "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20"),
        ("IETF protocol", "2001::/23"),
    )
)
_METADATA: frozenset[Address] = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Google, Azure, Oracle, DigitalOcean, OpenStack and others
        "169.254.170.2",  # AWS ECS
        "169.254.170.23",  # AWS EKS
        "169.254.42.42",  # Scaleway
        "168.63.129.16",  # Azure's platform channel, a public address
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle Classic
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS EKS
        "fd20:ce::254",  # Google
        "fd00:42::42",  # Scaleway
    )
)

_LAST = (12, 13, 14, 15)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ANYWHERE = (
    (2, 3, 4, 5),
    *((4, 5, 6, 7), (5, 6, 7, 9), (6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), _LAST),
)
"""Bytes of the IPv4 address in 6to4, and as RFC 6052 has it behind any prefix: a network may use one of its own."""
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")


def embedded(address: Address) -> Iterator[IPv4Address]:
    """IPv4 addresses that packets to an IPv6 address may end up at.

    IPv4-mapped, IPv4-compatible, NAT64, 6to4, Teredo and ISATAP.
    """
    if isinstance(address, IPv4Address):
        return
    packed = address.packed
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64 or packed[:12] == bytes(12) or packed[8:12] in _ISATAP:
        yield _at(packed, _LAST)


def private(address: Address) -> str | None:
    """What kind of not public address it is, or leads to; None for a public one."""
    for target in (address, *embedded(address)):
        for kind, networks in _PRIVATE:
            if any(target in network for network in networks):
                return kind if target == address else f"{kind} ({target})"
    return None


@dataclass(frozen=True, slots=True)
class Allowance:
    """One exception: a host by name, or a network; with a port, that port and no other."""

    host: str | None
    network: _Network | None
    port: int | None

    def covers(self, host: str, address: Address, port: int, ports: Collection[int]) -> bool:
        """Whether a request to this host at this address and port is excepted."""
        if port != self.port and not (self.port is None and port in ports):
            return False
        return self.host == host or (self.network is not None and address in self.network)


def allowance(text: str) -> Allowance:
    """Read `searx.internal`, `searx.internal:8080`, `10.1.0.0/16`, `127.0.0.1:8080` or `[::1]:8080`.

    Raises:
        InvalidInput: `settings.invalid`.
    """
    text = text.strip().lower()
    host, port = text, None
    if text.startswith("[") or text.count(":") == 1:
        host, _, tail = text.rpartition(":") if not text.endswith("]") else (text, "", "")
        host = host.removeprefix("[").removesuffix("]")
        port = int(tail) if tail.isdecimal() else None
        if tail and port is None:
            raise _bad(text)
    try:
        return Allowance(None, ipaddress.ip_network(host), port)
    except ValueError:
        if not host or any(sign in host for sign in "/:@ "):
            raise _bad(text) from None
    return Allowance(host.rstrip("."), None, port)


class Gate:
    """Lets requests through to public addresses at ordinary ports, and to what is excepted."""

    def __init__(self, allow: Iterable[str] = (), ports: Collection[int] = (80, 443)) -> None:
        """Keep the exceptions.

        Raises:
            InvalidInput: `settings.invalid`.
        """
        self._allow = tuple(allowance(text) for text in allow)
        self._ports = frozenset(ports)

    def check(self, host: str, addresses: Collection[str], port: int) -> None:
        """Let a request to a host with these addresses through.

        Cloud metadata stays closed whatever is excepted. One bad address among good ones closes the host: names that
        lead to both are made to get past a check.

        Raises:
            InvalidInput: `http.refused_address` or `http.refused_port`.
        """
        for text in addresses:
            try:
                address = ipaddress.ip_address(text.partition("%")[0])
            except ValueError:
                raise _refused(host, text, "no address") from None
            if _is_metadata(address):
                raise _refused(host, text, "cloud metadata")
            if any(rule.covers(host, address, port, self._ports) for rule in self._allow):
                continue
            if port not in self._ports:
                raise InvalidInput(
                    "http.refused_port",
                    f"port {port} of {host} is closed; open are {_listed(self._ports)}",
                    where=f"{host}:{port}",
                    fix=f"the operator may add {host}:{port} to {ALLOW_SETTING}",
                )
            if kind := private(address):
                raise _refused(host, text, kind, f"the operator may add it to {ALLOW_SETTING}")


def _is_metadata(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return address in _METADATA
    hidden = (_at(address.packed, where) for where in _ANYWHERE)
    return not _METADATA.isdisjoint((address, *embedded(address), *hidden))


def _at(packed: bytes, where: Iterable[int]) -> IPv4Address:
    return IPv4Address(bytes(packed[index] for index in where))


def _listed(ports: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ports)))


def _refused(host: str, address: str, kind: str, fix: str | None = None) -> InvalidInput:
    named = host if host == address else f"{host} ({address})"
    return InvalidInput(
        "http.refused_address",
        f"{named} is closed: {kind}, not a public address",
        where=host,
        fix=fix,
    )


def _bad(text: str) -> InvalidInput:
    return InvalidInput(
        "settings.invalid",
        f"{text!r} is no host or network",
        where=ALLOW_SETTING,
        fix="write hosts and networks like searx.internal:8080, 10.1.0.0/16 or [::1]:8080",
        fault="platform",
    )
