"""Webhooks: what the receiver sees, and which answers are worth another attempt."""

from __future__ import annotations

import base64
import hashlib
import hmac
import inspect
import json
from collections.abc import AsyncIterator

import pytest
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, PartsongError, Unavailable
from partsong.contracts.graph.function_results import NodeContext
from partsong.tools.net.safe_http import SafeHttp
from partsong.tools.net.webhook import deliver, send_webhook
from tests.support.web import Asked, Web, answer, redirect, stall, web

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY = b'{"type":"run.completed"}'


@pytest.fixture
async def site() -> AsyncIterator[Web]:
    async with web() as site:
        site.routes["/hook"] = answer(status=204)
        yield site


async def sent(site: Web, *, secret: str | None = SECRET, id: str = "msg_1") -> Asked:
    http = SafeHttp(allow=[site.here], timeout=30)
    await deliver(site.url("/hook"), BODY, secret=secret, id=id, timestamp=1_700_000_000, http=http)
    return site.asked[-1]


def verified(asked: Asked, key: bytes) -> bool:
    """What a receiver does."""
    head = f"{asked.headers['webhook-id']}.{asked.headers['webhook-timestamp']}.".encode()
    want = base64.b64encode(hmac.new(key, head + asked.body, hashlib.sha256).digest()).decode()
    given = [one.split(",", 1) for one in asked.headers["webhook-signature"].split(" ")]
    return ["v1", want] in given


async def test_a_receiver_can_verify_id_time_and_body(site: Web) -> None:
    asked = await sent(site)
    assert (asked.method, asked.body) == ("POST", BODY)
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["webhook-id"] == "msg_1"
    assert asked.headers["webhook-timestamp"] == "1700000000"
    assert verified(asked, KEY)
    assert not verified(asked, bytes(32))


async def test_the_signature_is_the_one_of_the_specification() -> None:
    """The test vector of the reference libraries."""
    async with web() as site:
        site.routes["/"] = answer()
        await deliver(
            site.url(),
            b'{"test": 2432232314}',
            secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            id="msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp=1614265330,
            http=SafeHttp(allow=[site.here]),
        )
    signature = site.asked[0].headers["webhook-signature"]
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_two_secrets_make_two_signatures(site: Web) -> None:
    other = bytes(24)
    asked = await sent(site, secret=f"{SECRET} whsec_{base64.b64encode(other).decode()}")
    assert verified(asked, KEY)
    assert verified(asked, other)


async def test_without_a_secret_nothing_is_signed(site: Web) -> None:
    assert "webhook-signature" not in (await sent(site, secret=None)).headers


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "not base64 at all!"])
async def test_a_secret_that_is_none_is_refused_and_not_shown(site: Web, secret: str) -> None:
    if not secret:
        secret = "whsec_short"
    with pytest.raises(InvalidInput) as caught:
        await sent(site, secret=secret)
    assert caught.value.problem.code == "webhook.bad_secret"
    assert "short" not in str(caught.value)
    assert not site.asked


@pytest.mark.parametrize("id", ["", "a.b", "a b", "a\r\nX: 1", "ü", "x" * 257])
async def test_an_id_that_could_deceive_is_refused(site: Web, id: str) -> None:
    with pytest.raises(InvalidInput, match=r"webhook\.bad_id"):
        await sent(site, id=id)
    assert not site.asked


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_receiver_in_trouble_is_worth_another_attempt(site: Web, status: int) -> None:
    site.routes["/hook"] = answer(status=status, headers={"Retry-After": "17"})
    with pytest.raises(Unavailable) as caught:
        await sent(site)
    assert caught.value.problem.retryable
    assert f"{status}, to be tried after 17" in caught.value.problem.message


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
async def test_a_refusal_is_final(site: Web, status: int) -> None:
    site.routes["/hook"] = answer(status=status)
    with pytest.raises(InvalidInput) as caught:
        await sent(site)
    assert not caught.value.problem.retryable
    assert str(status) in caught.value.problem.message


async def test_a_redirect_is_a_refusal(site: Web) -> None:
    site.routes |= {"/hook": redirect("/other", 308), "/other": answer()}
    with pytest.raises(InvalidInput, match=r"webhook\.refused"):
        await sent(site)
    assert len(site.asked) == 1


async def test_a_long_answer_is_not_read(site: Web) -> None:
    site.routes["/hook"] = answer(b"x" * 50_000_000, type="")
    await sent(site)


async def test_silence_is_worth_another_attempt(site: Web) -> None:
    site.routes["/hook"] = stall()
    http = SafeHttp(allow=[site.here], timeout=0.2)
    with pytest.raises(Unavailable) as caught:
        await deliver(site.url("/hook"), BODY, secret=None, id="m", timestamp=1, http=http)
    assert caught.value.problem.retryable


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/hook", "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/"]
)
async def test_a_private_target_is_refused_for_good(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await deliver(url, BODY, secret=SECRET, id="m", timestamp=1, http=SafeHttp())
    assert caught.value.problem.code == "http.refused_address"
    assert not caught.value.problem.retryable


# The tool


def context(key: str) -> NodeContext:
    return NodeContext("r_1", "notify", 1, key, lambda _: None)


async def called(args: dict[str, JsonValue], key: str = "r_1.notify.1") -> object:
    made = send_webhook.bind(args).call(context(key))
    assert inspect.isawaitable(made)
    return await made


async def test_the_tool_signs_with_the_operators_secret(
    site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTSONG_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("PARTSONG_HTTP_ALLOW", f"searx.internal, {site.here}")
    payload: JsonValue = {"type": "run.completed", "data": {"text": "Grüße"}}
    for _ in range(2):
        assert await called({"url": site.url("/hook"), "payload": payload}) == "delivered"
    first, second = site.asked
    assert verified(first, KEY)
    assert json.loads(first.body) == payload
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "r_1:notify:1"
    assert first.body == second.body


async def test_the_tool_takes_an_id(site: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTSONG_HTTP_ALLOW", site.here)
    await called({"url": site.url("/hook"), "payload": {}, "id": "r_1-completed"})
    assert site.asked[0].headers["webhook-id"] == "r_1-completed"


async def test_the_tool_reaches_nothing_private_by_itself(site: Web) -> None:
    with pytest.raises(PartsongError, match=r"http\.refused_"):
        await called({"url": site.url("/hook"), "payload": {}})
    assert not site.asked


def test_the_tool_may_be_repeated_and_has_no_argument_for_a_secret() -> None:
    assert not send_webhook.guarded
    properties = send_webhook.spec().parameters["properties"]
    assert isinstance(properties, dict)
    assert set(properties) == {"url", "payload", "id"}
