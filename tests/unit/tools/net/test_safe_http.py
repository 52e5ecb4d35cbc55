"""Requests on behalf of models: what is refused, and why, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from partsong.contracts.errors import InvalidInput, PartsongError, Unavailable
from partsong.tools.net.addresses import Gate, private
from partsong.tools.net.safe_http import Resolve, SafeHttp
from tests.support.web import Web, answer, redirect, stall, web

TEXT = frozenset({"text/plain"})
PUBLIC = "93.184.215.14"


@pytest.fixture
async def site() -> AsyncIterator[Web]:
    async with web() as site:
        yield site


def at(*answers: list[str]) -> Resolve:
    """A resolver that says one thing after the other, and the last one for ever."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


async def refused(http: SafeHttp, url: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        await http.get(url, types=TEXT)
    return caught.value


# Addresses


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.0.9", "loopback"),
        ("10.0.0.1", "private"),
        ("172.16.5.4", "private"),
        ("192.168.1.1", "private"),
        ("0.0.0.0", "this network"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("169.254.1.1", "link-local"),
        ("224.0.0.251", "multicast"),
        ("255.255.255.255", "reserved"),
        ("[::1]", "loopback"),
        ("[::]", "this network"),
        ("[fe80::1]", "link-local"),
        ("[fd12:3456::1]", "private"),
        ("[ff02::1]", "multicast"),
        ("[::ffff:127.0.0.1]", "loopback"),
        ("[::ffff:7f00:1]", "loopback"),
        ("[::127.0.0.1]", "loopback"),
        ("[64:ff9b::7f00:1]", "loopback"),
        ("[64:ff9b::a00:1]", "private"),
        ("[64:ff9b:1::7f00:1]", "translated"),
        ("[2002:7f00:1::]", "loopback"),
        ("[2002:c0a8:101::]", "private"),
        ("[2001:0:1:2:3:4:80ff:fffe]", "IETF protocol"),
        ("[2606:4700::5efe:127.0.0.1]", "loopback"),
        ("127。0。0。1", "loopback"),
    ],
)
async def test_an_address_that_is_not_public_is_refused(host: str, kind: str) -> None:
    error = await refused(SafeHttp(), f"http://{host}/")
    assert error.problem.code == "http.refused_address"
    assert f"closed: {kind}" in error.problem.message


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[2606:4700:aa:bb:cc:dd:a9fe:a9fe]",
    ],
)
async def test_cloud_metadata_is_refused_even_if_everything_is_excepted(host: str) -> None:
    http = SafeHttp(allow=["0.0.0.0/0", "::/0"])
    error = await refused(http, f"http://{host}/latest/meta-data")
    assert "cloud metadata" in error.problem.message


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost"])
async def test_other_spellings_of_loopback_are_refused(host: str) -> None:
    error = await refused(SafeHttp(), f"http://{host}/")
    assert error.problem.code == "http.refused_address"


@pytest.mark.parametrize("text", [PUBLIC, "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_a_public_address_is_open(text: str) -> None:
    assert private(ip_address(text)) is None
    Gate().check("example.com", [text], 443)


async def test_a_name_with_one_private_address_among_public_ones_is_refused() -> None:
    error = await refused(SafeHttp(resolve=at([PUBLIC, "10.0.0.1"])), "http://shop.example/")
    assert "shop.example (10.0.0.1)" in error.problem.message


async def test_a_name_is_resolved_once_so_rebinding_changes_nothing(site: Web) -> None:
    site.routes["/"] = answer("hello")
    resolve = at(["127.0.0.1"], ["169.254.169.254"])
    http = SafeHttp(allow=[f"shop.example:{site.port}"], resolve=resolve)
    assert (await http.get(site.url(host="shop.example"), types=TEXT)).body == b"hello"
    assert site.asked[0].headers["host"] == f"shop.example:{site.port}"
    error = await refused(http, site.url(host="shop.example"))
    assert "cloud metadata" in error.problem.message


async def test_the_second_address_is_tried_if_the_first_cannot_be_connected_to(site: Web) -> None:
    site.routes["/"] = answer("hello")
    http = SafeHttp(allow=[f"shop.example:{site.port}"], resolve=at(["::1", "127.0.0.1"]))
    assert (await http.get(site.url(host="shop.example"), types=TEXT)).body == b"hello"


async def test_a_name_without_address_is_worth_a_retry() -> None:
    async def nowhere(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(Unavailable) as caught:
        await SafeHttp(resolve=nowhere).get("http://shop.example/", types=TEXT)
    assert caught.value.problem.code == "http.unresolved"
    assert caught.value.problem.retryable


# URLs and ports


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "data:text/plain,hello",
        "//example.com/",
        "example.com",
        "http://",
        "http:///path",
        "http://me:secret@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://exa mple.com/",
        "http://example.com/\r\nX-Injected: 1",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://0177.0.0.1/",
    ],
)
async def test_a_url_that_is_none_of_ours_is_refused(url: str) -> None:
    error = await refused(SafeHttp(), url)
    assert error.problem.code == "http.bad_url"
    assert "secret" not in str(error)


@pytest.mark.parametrize("port", [0, 22, 25, 6379, 8222, 65536])
async def test_a_port_that_is_not_open_is_refused(port: int) -> None:
    error = await refused(SafeHttp(resolve=at(["192.0.2.1"])), f"http://shop.example:{port}/")
    assert error.problem.code == "http.refused_port"
    assert f"shop.example:{port}" in (error.problem.fix or "")


async def test_an_exception_with_a_port_opens_that_port_only(site: Web) -> None:
    site.routes["/"] = answer("hello")
    assert (await SafeHttp(allow=[site.here]).get(site.url(), types=TEXT)).status == 200
    error = await refused(SafeHttp(allow=["127.0.0.1"]), site.url())
    assert error.problem.code == "http.refused_port"


@pytest.mark.parametrize("text", ["http://x", "a b", "10.0.0.0/40", "host:port", "me@host", ":80"])
def test_an_exception_that_is_no_host_or_network_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"settings\.invalid"):
        Gate(allow=[text])


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("10.1.0.0/16", "10.1.2.3", 443),
        ("[::1]:8080", "::1", 8080),
        ("fd00::/8", "fd00::7", 80),
        ("Shop.Example", "10.9.9.9", 80),
        ("10.1.0.0/16:9000", "10.1.2.3", 9000),
    ],
)
def test_an_exception_opens_what_it_names(text: str, address: str, port: int) -> None:
    Gate(allow=[text]).check("shop.example", [address], port)
    with pytest.raises(InvalidInput):
        Gate(allow=[text]).check("other.example", ["192.168.7.7"], port)


# Redirects


async def test_redirects_are_followed_and_the_last_url_is_named(site: Web) -> None:
    site.routes |= {"/": redirect("/b?x=1"), "/b": redirect("c", 308), "/c": answer("there")}
    found = await SafeHttp(allow=[site.here]).get(site.url(), types=TEXT)
    assert (found.body, found.url) == (b"there", site.url("/c"))


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("http://169.254.169.254/latest", "http.refused_address"),
        ("http://[::ffff:10.0.0.1]/", "http.refused_address"),
        ("//192.168.0.1/", "http.refused_address"),
        ("http://127.0.0.1:6379/", "http.refused_port"),
        ("file:///etc/passwd", "http.bad_url"),
        ("http://a:b@example.com/", "http.bad_url"),
        ("http://[::1", "http.bad_url"),
    ],
)
async def test_a_redirect_goes_through_the_same_door(site: Web, to: str, code: str) -> None:
    site.routes["/"] = redirect(to)
    assert (await refused(SafeHttp(allow=[site.here]), site.url())).problem.code == code


async def test_a_redirect_to_a_name_is_resolved_and_checked(site: Web) -> None:
    site.routes["/"] = redirect("http://inner.example/")
    http = SafeHttp(allow=[site.here], resolve=at(["10.0.0.7"]))
    assert "inner.example (10.0.0.7)" in (await refused(http, site.url())).problem.message


async def test_redirects_without_end_are_refused(site: Web) -> None:
    site.routes["/"] = redirect("/")
    error = await refused(SafeHttp(allow=[site.here]), site.url())
    assert error.problem.code == "http.too_many_redirects"
    assert len(site.asked) == 6


async def test_a_post_follows_no_redirect(site: Web) -> None:
    site.routes |= {"/": redirect("/b", 307), "/b": answer("there")}
    found = await SafeHttp(allow=[site.here]).post(site.url(), b"{}")
    assert (found.status, len(site.asked)) == (307, 1)


# What comes back


@pytest.mark.parametrize("declared", ["", "60000000"])
async def test_fifty_megabytes_are_refused_long_before_they_are_read(
    site: Web, declared: str
) -> None:
    site.routes["/"] = answer(b"x" * 50_000_000, headers={"Content-Length": declared})
    error = await refused(SafeHttp(allow=[site.here], limit=100_000), site.url())
    assert error.problem.code == "http.too_large"
    assert "100,000 bytes" in error.problem.message


async def test_a_gzip_bomb_is_refused_without_being_unpacked(site: Web) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    site.routes["/"] = answer(bomb, headers={"Content-Encoding": "gzip"})
    http = SafeHttp(allow=[site.here], limit=200_000)
    tracemalloc.start()
    try:
        error = await refused(http, site.url())
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.problem.code == "http.too_large"
    assert most < 10_000_000


async def test_gzip_is_unpacked(site: Web) -> None:
    site.routes["/"] = answer(gzip.compress(b"hello"), headers={"Content-Encoding": "gzip"})
    assert (await SafeHttp(allow=[site.here]).get(site.url(), types=TEXT)).body == b"hello"


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip"])
async def test_other_encodings_are_refused(site: Web, encoding: str) -> None:
    site.routes["/"] = answer(b"x", headers={"Content-Encoding": encoding})
    error = await refused(SafeHttp(allow=[site.here]), site.url())
    assert error.problem.code == "http.refused_encoding"


@pytest.mark.parametrize("type", ["application/octet-stream", "image/png", ""])
async def test_other_types_of_content_are_refused(site: Web, type: str) -> None:
    site.routes["/"] = answer(b"x", type=type)
    error = await refused(SafeHttp(allow=[site.here]), site.url())
    assert error.problem.code == "http.refused_type"


async def test_a_family_of_types_is_taken_by_its_suffix(site: Web) -> None:
    site.routes["/"] = answer("{}", type="Application/LD+JSON; Charset='utf-8'")
    found = await SafeHttp(allow=[site.here]).get(site.url(), types={"+json"})
    assert (found.type, found.charset) == ("application/ld+json", "utf-8")


async def test_a_status_is_an_answer_and_its_body_is_left_alone(site: Web) -> None:
    site.routes["/"] = answer(b"x" * 99, status=429, headers={"Retry-After": "7"})
    found = await SafeHttp(allow=[site.here]).get(site.url(), types=TEXT)
    assert (found.status, found.retry_after, found.body) == (429, "7", b"")


@pytest.mark.parametrize(
    "begin", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nhi"]
)
async def test_a_server_that_stalls_runs_out_of_time(site: Web, begin: bytes) -> None:
    site.routes["/"] = stall(begin)
    with pytest.raises(Unavailable) as caught:
        await SafeHttp(allow=[site.here], timeout=0.2).get(site.url(), types=TEXT)
    assert caught.value.problem.code == "http.timeout"
    assert caught.value.problem.retryable


async def test_a_resolver_that_stalls_runs_out_of_time() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.get_running_loop().create_future()
        return []

    with pytest.raises(Unavailable, match=r"http\.timeout"):
        await SafeHttp(resolve=never, timeout=0.1).get("http://shop.example/", types=TEXT)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000,
    ],
)
async def test_what_is_no_whole_answer_is_unreachable(site: Web, said: bytes) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    site.routes["/"] = write
    with pytest.raises(Unavailable, match=r"http\.unreachable"):
        await SafeHttp(allow=[site.here]).get(site.url(), types=TEXT)


async def test_a_closed_port_is_unreachable_and_the_message_names_the_origin_only() -> None:
    async with web() as site:
        url = site.url("/hook?token=sesame")
        http = SafeHttp(allow=[site.here])
    with pytest.raises(Unavailable) as caught:
        await http.get(url, types=TEXT)
    assert caught.value.problem.where == url.partition("/hook")[0]
    assert "sesame" not in str(caught.value)


async def test_proxies_of_the_environment_are_not_used(
    site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.routes["/"] = answer("hello")
    assert (await SafeHttp(allow=[site.here]).get(site.url(), types=TEXT)).body == b"hello"


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for shop.example, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path_factory.mktemp("tls") / "shop.pem"
    private_key = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem.write_bytes(private_key + made.public_bytes(serialization.Encoding.PEM))
    return pem


def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def over_tls(site: Web, certificate: Path) -> SafeHttp:
    return SafeHttp(
        allow=[f"shop.example:{site.port}", f"other.example:{site.port}"],
        resolve=at(["127.0.0.1"]),
        tls=ssl.create_default_context(cafile=certificate),
    )


async def test_tls_checks_the_name_although_the_address_is_pinned(certificate: Path) -> None:
    async with web(serving(certificate)) as site:
        site.routes["/"] = answer("hello")
        http = over_tls(site, certificate)
        url = f"https://shop.example:{site.port}/"
        assert (await http.get(url, types=TEXT)).body == b"hello"
        with pytest.raises(Unavailable, match="other"):
            await http.get(f"https://other.example:{site.port}/", types=TEXT)


async def test_a_redirect_from_https_to_http_is_refused(certificate: Path) -> None:
    async with web(serving(certificate)) as site:
        site.routes["/"] = redirect("http://example.com/")
        http = over_tls(site, certificate)
        error = await refused(http, f"https://shop.example:{site.port}/")
        assert error.problem.code == "http.downgrade"


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    async with web(serving(certificate)) as site:
        site.routes["/"] = answer("hello")
        http = SafeHttp(allow=[f"shop.example:{site.port}"], resolve=at(["127.0.0.1"]))
        with pytest.raises(PartsongError, match=r"http\.unreachable"):
            await http.get(f"https://shop.example:{site.port}/", types=TEXT)
        assert not site.asked
