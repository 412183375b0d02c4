"""Sources of the settings become intakes."""

from __future__ import annotations

from typing import get_args

import pytest

from gateway.intake import Policy
from gateway.sources import build_intakes
from tidemill.kernel.settings.live import LiveSettings
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.sections import SourceSettings

POLICIES = get_args(SourceSettings.model_fields["policy"].annotation)


def test_settings_and_intakes_know_the_same_policies() -> None:
    assert set(POLICIES) == set(get_args(Policy))


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_can_be_served(policy: str) -> None:
    source = {"preset": "github", "secrets": ["x"], "policy": policy}
    settings = Settings.load(None, {}, {"sources": {"github": source}})
    assert build_intakes(settings, LiveSettings(settings))["github"]._policy == policy
