"""Secrets that senders bring themselves: the first one stays."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from tidemill.kernel.errors import NotFoundError, PayloadError, SettingsError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.jetstream.topology import apply, wanted
from tidemill.kernel.services.data_keys import DataKey
from tidemill.kernel.services.learned import LearnedSecrets, key_of
from tidemill.kernel.services.vault import Vault
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

pytestmark = pytest.mark.integration
FIRST, SECOND = Secret("first-secret"), Secret("second-secret")
KEY, OTHER_KEY = DataKey.of(b"k" * 32), DataKey.of(b"o" * 32)
VAULT = Vault((KEY,))


@pytest.fixture
async def bucket(bus: Bus) -> Bucket:
    await apply(bus, wanted(bus.names))
    return Bucket(bus, "SECRETS")


async def test_the_first_secret_stays_and_a_second_is_turned_away(
    bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    learned = LearnedSecrets(bucket, VAULT)
    with caplog.at_level(logging.WARNING):
        assert await learned.learn("asana", FIRST, "203.0.113.9")
    assert "203.0.113.9" in caplog.text
    assert "first-secret" not in caplog.text
    assert await learned.learn("asana", FIRST, "203.0.113.9")
    assert not await learned.learn("asana", SECOND, "203.0.113.10")
    assert learned.secrets("asana") == (FIRST,)
    assert learned.secrets("notion") == ()
    found = await learned.find("asana")
    assert (found.secret, found.client) == (FIRST, "203.0.113.9")
    assert "first-secret" not in repr(found)


async def test_of_many_at_the_same_moment_one_is_learned(bucket: Bucket) -> None:
    gateways = [LearnedSecrets(bucket, VAULT) for _ in range(8)]
    given = [Secret(f"secret-number-{index}") for index in range(8)]
    took = await asyncio.gather(
        *(one.learn("notion", secret, "c") for one, secret in zip(gateways, given, strict=True))
    )
    assert took.count(True) == 1
    winner = given[took.index(True)]
    assert {one.secrets("notion") for one in gateways} == {(winner,)}


async def test_what_is_forgotten_can_be_learned_anew(bucket: Bucket) -> None:
    learned = LearnedSecrets(bucket, VAULT)
    await learned.learn("asana", FIRST, "c")
    await learned.forget("asana")
    assert learned.secrets("asana") == ()
    with pytest.raises(NotFoundError):
        await learned.find("asana")
    with pytest.raises(NotFoundError):
        await learned.forget("asana")
    assert await learned.learn("asana", SECOND, "c")


async def test_another_gateway_hears_of_it(bucket: Bucket) -> None:
    mine, other = LearnedSecrets(bucket, VAULT), LearnedSecrets(bucket, VAULT)
    following = asyncio.create_task(other.follow())
    try:
        await mine.learn("my source", FIRST, "c")
        async with asyncio.timeout(20):
            while other.secrets("my source") != (FIRST,):  # noqa: ASYNC110 - the view has no event
                await asyncio.sleep(0.01)
        await mine.forget("my source")
        async with asyncio.timeout(20):
            while other.secrets("my source"):  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@pytest.mark.parametrize("stored", [b"", b"[]", b"{}", b'{"secret": "x"}'])
async def test_what_cannot_be_read_is_named_and_spoils_nothing_else(
    bucket: Bucket, stored: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    learned = LearnedSecrets(bucket, VAULT)
    await learned.learn("asana", FIRST, "c")
    await bucket.put("broken", stored)
    with pytest.raises(PayloadError, match="broken"):
        await learned.find("broken")
    await learned.refresh()
    assert learned.secrets("asana") == (FIRST,)
    assert "broken" in caplog.text
    with pytest.raises(PayloadError, match="broken"):
        await learned.ready("broken")
    await learned.ready("asana")


async def test_it_is_encrypted_and_what_was_kept_before_stays_readable(bucket: Bucket) -> None:
    await bucket.put("notion", b'{"secret": "first-secret", "at": "2026-01-01T00:00:00Z", "client": "c"}')
    learned = LearnedSecrets(bucket, VAULT)
    await learned.learn("my source", SECOND, "c")
    assert not any(b"second-secret" in stored for stored in (await bucket.items()).values())
    assert (await learned.find("notion")).secret == FIRST
    assert sorted(await learned.records()) == ["my%20source", "notion"]
    assert await learned.rewrap("notion")
    assert not await learned.rewrap("notion")
    assert not await learned.rewrap("nobody")
    assert not any(b"first-secret" in stored for stored in (await bucket.items()).values())
    assert (await learned.find("notion")).secret == FIRST


async def test_a_key_that_is_gone_is_said_and_comes_back(bucket: Bucket) -> None:
    await LearnedSecrets(bucket, VAULT).learn("asana", FIRST, "c")
    other = LearnedSecrets(bucket, Vault((OTHER_KEY,)))
    with pytest.raises(SettingsError, match=KEY.id):
        await other.ready("asana")
    assert other.secrets("asana") == ()
    with pytest.raises(SettingsError, match=KEY.id):
        await other.learn("asana", SECOND, "c")
    both = LearnedSecrets(bucket, Vault((OTHER_KEY, KEY)))
    await both.ready("asana")
    assert both.secrets("asana") == (FIRST,)
    assert await both.rewrap("asana")
    await other.refresh()
    await other.ready("asana")
    stored = await bucket.get("asana")
    assert stored is not None
    assert key_of(stored.value) == OTHER_KEY.id
