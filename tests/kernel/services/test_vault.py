"""Encryption of secrets on the broker: bound to its record, several keys, and errors that say what to do."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.kernel.errors import PayloadError, SettingsError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.topology import apply, wanted
from tidemill.kernel.services.data_keys import DataKey, KeyFile, new_key, read_key
from tidemill.kernel.services.vault import Vault
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.secrets import Secret

FIRST, SECOND = DataKey.of(b"1" * 32), DataKey.of(b"2" * 32)


@given(text=st.text(st.characters(), max_size=300), name=st.text(max_size=40))
async def test_what_is_sealed_is_opened_by_its_name_alone(text: str, name: str) -> None:
    vault = Vault((FIRST,))
    box = await vault.seal(name, Secret(text))
    assert vault.open(name, box).reveal() == text
    with pytest.raises(PayloadError):
        vault.open(f"{name}x", box)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
async def test_no_changed_byte_goes_unnoticed(data: st.DataObject) -> None:
    vault = Vault((FIRST,))
    box = await vault.seal("a", Secret("the secret"))
    part = data.draw(st.sampled_from(["nonce", "text"]))
    raw = bytearray(base64.b64decode(box[part]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PayloadError):
        vault.open("a", {**box, part: base64.b64encode(raw).decode()})


@pytest.mark.parametrize(
    "box",
    [
        {},
        {"v": 1},
        {"v": 2, "key": FIRST.id, "nonce": "", "text": ""},
        {"v": 1, "key": 7, "nonce": "", "text": ""},
    ]
    + [{"v": 1, "key": FIRST.id, "nonce": nonce, "text": "AAAA"} for nonce in ("", "AAAA", "!", None, 5)],
)
async def test_what_is_no_box_is_damaged(box: dict[str, object]) -> None:
    with pytest.raises(PayloadError):
        Vault((FIRST,)).open("a", box)


async def test_the_first_key_encrypts_and_all_decrypt() -> None:
    old = await Vault((FIRST,)).seal("a", Secret("s"))
    turned = Vault((SECOND, FIRST))
    assert turned.open("a", old).reveal() == "s"
    new = await turned.seal("a", Secret("s"))
    assert (new["key"], new["text"] == old["text"]) == (SECOND.id, False)
    with pytest.raises(SettingsError, match=SECOND.id):
        Vault((FIRST,)).open("a", new)
    assert turned.has(FIRST.id)
    assert not Vault((FIRST,)).has(SECOND.id)


async def test_a_key_is_made_once_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    vault = Vault((), folder)
    assert not vault.has(FIRST.id)
    assert not (folder / "secret.key").exists()
    box = await vault.seal("a", Secret("s"))
    assert stat.S_IMODE((folder / "secret.key").stat().st_mode) == 0o600
    assert Vault((), folder).open("a", box).reveal() == "s"
    assert await Vault((), folder).current() == box["key"]
    # Whoever sets a key later reads what the generated one encrypted.
    assert Vault((FIRST,), folder).open("a", box).reveal() == "s"
    assert [path.name for path in folder.iterdir()] == ["secret.key"]


def test_of_two_who_make_a_key_both_have_the_same(tmp_path: Path) -> None:
    mine, other = KeyFile(tmp_path), KeyFile(tmp_path)
    assert mine.load() is None
    made = other.make()
    assert mine.make() == made


@pytest.mark.parametrize("text", ["", "short", "é" * 43, "g" * 64, "A" * 42, "A" * 44 + "="])
def test_what_is_no_key_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="no key"):
        read_key(Secret(text), "env:KEY")
    (tmp_path / "secret.key").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"secret\.key"):
        KeyFile(tmp_path).load()


def test_a_key_may_be_written_in_three_ways() -> None:
    raw = bytes(range(219, 251))
    plain = base64.b64encode(raw).decode()
    texts = (plain, base64.urlsafe_b64encode(raw).decode().rstrip("="), raw.hex(), raw.hex().upper() + "\n")
    assert {read_key(Secret(text), "x").value for text in texts} == {raw}
    assert "value" not in repr(read_key(Secret(plain), "x"))


async def test_a_folder_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="no key can be made"):
        await Vault((), tmp_path / "file" / "data").seal("a", Secret("s"))
    with pytest.raises(SettingsError, match="wouldn't be the gateways'"):
        await Vault((), tmp_path / "data", makes=False).seal("a", Secret("s"))
    assert not (tmp_path / "data").exists()
    with pytest.raises(SettingsError, match="no key to encrypt"):
        await Vault().seal("a", Secret("s"))


def test_keys_come_from_the_settings(tmp_path: Path) -> None:
    (tmp_path / "tidemill.toml").write_text('[gateway]\nsecret_key = ["env:NEW", "env:OLD"]\n')
    keys = {"NEW": new_key(), "OLD": new_key()}
    vault = Vault.of(Settings.load(tmp_path / "tidemill.toml", keys))
    assert vault.configured == tuple(read_key(Secret(keys[name]), name).id for name in ("NEW", "OLD"))
    with pytest.raises(SettingsError, match="env:OLD is no key"):
        Vault.of(Settings.load(tmp_path / "tidemill.toml", keys | {"OLD": "x"}))
    one = Settings.load(None, {"TIDEMILL_GATEWAY__SECRET_KEY": keys["NEW"]})
    assert Vault.of(one).configured == vault.configured[:1]
    assert keys["NEW"] not in repr(one)


def test_decoys_are_the_same_for_all_gateways_of_a_key(tmp_path: Path) -> None:
    assert Vault((FIRST,)).decoy("a") == Vault((FIRST,)).decoy("a")
    assert len({Vault((FIRST,)).decoy("a"), Vault((FIRST,)).decoy("b"), Vault((SECOND,)).decoy("a")}) == 3
    keyless = Vault((), tmp_path)
    assert keyless.decoy("a") == keyless.decoy("a")
    assert len(bytes.fromhex(keyless.decoy("a").reveal())) == 32


@pytest.mark.integration
async def test_keys_that_two_machines_made_are_told_apart(bus: Bus, tmp_path: Path) -> None:
    await apply(bus, wanted(bus.names))
    bucket = Bucket(bus, "SECRETS")
    here = Vault((), tmp_path / "here", bucket)
    await here.seal("a", Secret("s"))
    await Vault((), tmp_path / "here", bucket).seal("b", Secret("s"))
    with pytest.raises(SettingsError, match="made on another machine"):
        await Vault((), tmp_path / "there", bucket).seal("c", Secret("s"))


@given(raw=st.binary(max_size=300), name=st.text(max_size=40), place=st.integers(0, 400))
def test_bytes_are_opened_by_their_name_alone_and_unchanged(raw: bytes, name: str, place: int) -> None:
    vault = Vault((SECOND, FIRST))
    sealed = vault.seal_bytes(name, raw)
    assert vault.open_bytes(name, SECOND.id, sealed) == raw
    changed = bytearray(sealed)
    changed[place % len(sealed)] ^= 1
    for wrong in (
        (f"{name}x", SECOND.id, sealed),
        (name, FIRST.id, sealed),
        (name, SECOND.id, bytes(changed)),
    ):
        with pytest.raises(PayloadError):
            vault.open_bytes(*wrong)
    with pytest.raises(PayloadError):
        vault.open_bytes(name, SECOND.id, b"")
    with pytest.raises(SettingsError, match="isn't here"):
        vault.open_bytes(name, "another", sealed)


def test_bytes_are_encrypted_with_a_key_of_the_settings_alone(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no key"):
        Vault(folder=tmp_path).seal_bytes("a", b"b")
