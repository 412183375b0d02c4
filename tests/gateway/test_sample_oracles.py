"""Providers' own libraries read our samples: members and types are those that they expect."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
import pytest
from paddle_billing.Entities.Event import Event
from paddle_billing.Notifications.Entities.UndefinedEntity import UndefinedEntity

from tidemill.samples import BUNDLED
from tidemill.testing import sample


def named(path: Path) -> str:
    return str(path.relative_to(BUNDLED))


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("paddle/*/samples/*.json")), ids=named)
def test_paddle_s_library_reads_our_samples(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = orjson.loads(path.read_bytes())
    event = Event.from_dict(document)
    assert not isinstance(event.data, UndefinedEntity), capsys.readouterr().out
    assert event.data.id == document["data"]["id"]
    assert event.event_type.value == path.parents[1].name


def strangers(model: Any, at: str = "") -> list[str]:
    """Return the members that a model of Square's library doesn't know."""
    found = [f"{at}{name}" for name in model.model_extra or {}]
    for name in model.model_fields_set:
        value = getattr(model, name, None)
        if hasattr(value, "model_fields_set"):
            found += strangers(value, f"{at}{name}.")
    return found


@pytest.mark.parametrize(
    ("event_type", "model"),
    [
        ("payment.created", "PaymentCreatedEvent"),
        ("payment.updated", "PaymentUpdatedEvent"),
        ("refund.created", "RefundCreatedEvent"),
        ("order.updated", "OrderUpdatedEvent"),
    ],
)
def test_square_s_library_knows_every_member_of_our_samples(event_type: str, model: str) -> None:
    module = import_module(f"square.types.{event_type.replace('.', '_')}_event")
    document = sample("square", event_type)
    event = getattr(module, model).model_validate(document)
    assert event.event_id == document["event_id"]
    assert set(strangers(event)) <= {"data.object.refund.version"}
