from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidemill.kernel.errors import NotFoundError
from tidemill.samples import sample_types
from tidemill.testing import sample


def test_samples_are_found_by_type_with_and_without_action() -> None:
    assert sample("github", "issues.labeled")["action"] == "labeled"
    assert sample("github", "push")["ref"] == "refs/heads/main"
    assert sample("shopify", "orders/paid")["financial_status"] == "paid"
    assert "issues.opened" in sample_types("github")


def test_each_is_a_fresh_one() -> None:
    first = sample("github", "push")
    first["ref"] = "changed"
    assert sample("github", "push")["ref"] == "refs/heads/main"


def test_a_folder_of_one_s_own_comes_first(tmp_path: Path) -> None:
    folder = tmp_path / "github/push/samples"
    folder.mkdir(parents=True)
    (folder / "mine.json").write_text(json.dumps({"ref": "mine"}))
    assert sample("github", "push", directory=tmp_path) == {"ref": "mine"}
    assert sample("github", "ping", directory=tmp_path)["hook_id"] > 0


def test_one_that_isn_t_there_is_named_with_those_that_are() -> None:
    with pytest.raises(NotFoundError) as caught:
        sample("stripe", "invoice.lost")
    assert "invoice.paid" in caught.value.hint
