"""Published examples: what providers and their libraries print as signed is accepted, and nothing near it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from gateway.inbound import Inbound
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.verify import Verification, Verified
from tidemill.kernel.settings.secrets import Secret

VECTORS: Final[list[dict[str, Any]]] = json.loads((Path(__file__).parent / "vectors.json").read_text())


def accepted(vector: dict[str, Any], **changed: Any) -> bool:
    given = vector | changed
    parts = urlsplit(given["url"])
    raw = [(name.lower().encode(), value.encode()) for name, value in given["headers"].items()]
    request = Inbound("POST", parts.path, parts.query, raw, given["body"].encode(), given["at"])
    verification = Verification(preset(given["preset"]), public_url=f"{parts.scheme}://{parts.netloc}")
    return isinstance(verification.verify(request, (Secret(given["secret"]),)), Verified)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["origin"])
def test_a_published_example_is_accepted(vector: dict[str, Any]) -> None:
    assert accepted(vector)
    assert not accepted(vector, secret=vector["secret"][:-2] + "00")
    assert not accepted(vector, url=vector["url"] + "2") or "{url}" not in str(
        preset(vector["preset"]).verify
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["origin"])
def test_nothing_near_it_is(vector: dict[str, Any]) -> None:
    signed = vector["body"] if vector["preset"] != "adyen" else "7914073381342284"
    for place in range(len(signed)):
        other = signed[:place] + chr(ord(signed[place]) ^ 1) + signed[place + 1 :]
        assert not accepted(vector, body=vector["body"].replace(signed, other, 1))
    for name in vector["headers"].keys() - {"Content-Type"}:
        assert not accepted(vector, headers={**vector["headers"], name: vector["headers"][name] + "x"})


def test_every_preset_with_a_vector_says_so() -> None:
    claimed = {name for name in preset_names() if "vector" in {one.level for one in preset(name).evidence}}
    assert claimed == {vector["preset"] for vector in VECTORS}
