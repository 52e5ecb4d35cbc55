"""The promise of a vault, kept by both of them."""

from __future__ import annotations

import pytest

from partsong.bus.bucket import NatsBucket
from partsong.bus.vault import LARGEST, BucketVault
from partsong.contracts.errors import InvalidInput
from partsong.runtime.stream_table import Names
from partsong.runtime.vault import MemoryVault, Vault, new_token
from partsong.testing.nats import Bus


@pytest.fixture(params=["memory", "bucket"])
def vault(request: pytest.FixtureRequest) -> Vault:
    if request.param == "memory":
        return MemoryVault()
    bus: Bus = request.getfixturevalue("bus")
    return BucketVault(NatsBucket(bus.nc, Names.of(bus.subjects).redacted))


async def test_what_is_put_is_found_until_it_is_dropped(vault: Vault) -> None:
    one, other = new_token(), new_token()
    await vault.put(one, b'"1234"')
    await vault.put(other, b"null")
    assert (await vault.get(one), await vault.get(other)) == (b'"1234"', b"null")
    await vault.drop([one])
    assert (await vault.get(one), await vault.get(other)) == (None, b"null")


async def test_what_was_never_there_is_not_found_and_may_be_dropped(vault: Vault) -> None:
    token = new_token()
    await vault.drop([token])
    assert await vault.get(token) is None


async def test_a_large_value_is_kept_or_refused(vault: Vault) -> None:
    token = new_token()
    await vault.put(token, b"x" * LARGEST)
    assert await vault.get(token) == b"x" * LARGEST
    if isinstance(vault, BucketVault):
        with pytest.raises(InvalidInput, match=r"524,289 bytes") as refused:
            await vault.put(token, b"x" * (LARGEST + 1))
        assert refused.value.problem.code == "tool.redacted_too_large"
