from __future__ import annotations

import pytest

from gateway.access.behalf import answers_as
from gateway.access.identity import LOCAL, Identity
from tidemill.kernel.errors import NotAllowedError

ANN = Identity("ann", "key", frozenset({"approver"}))
BOT = Identity("bot", "key", frozenset({"approver"}), on_behalf=True)
BOSS = Identity("boss@example.com", "oidc", frozenset({"admin"}))


@pytest.mark.parametrize("said", ["", " ", None, "ann", " ann "])
def test_a_login_answers_in_its_own_name(said: object) -> None:
    assert answers_as(ANN, said) == "ann"


@pytest.mark.parametrize("identity", [ANN, BOSS])
def test_nobody_else_is_named(identity: Identity) -> None:
    with pytest.raises(NotAllowedError, match="can't answer as eve"):
        answers_as(identity, "eve")


def test_a_key_that_acts_on_behalf_names_others() -> None:
    assert answers_as(BOT, "eve") == "eve"
    assert answers_as(BOT, "") == "bot"


@pytest.mark.parametrize("said", ["eve", "", 7])
def test_without_a_login_it_is_who_they_say(said: object) -> None:
    assert answers_as(LOCAL, said) == said


def test_what_is_no_text_is_left_to_the_reader() -> None:
    assert answers_as(ANN, 7) == 7
