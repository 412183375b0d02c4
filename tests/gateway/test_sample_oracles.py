"""Providers' own libraries read our samples: members and types are those that they expect."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from tidemill.testing import sample


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
