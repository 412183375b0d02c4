"""Links to token pages: what they say is read back, and nothing else is believed."""

from __future__ import annotations

import base64
import os

from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.links import Link, read_link
from tidemill.kernel.services.link_key import Links
from tidemill.kernel.subjects import new_run

KEY = b"k" * 32
RUN = new_run()
names = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable())
links = st.builds(Link, st.just(RUN), names, st.integers(0, 2**40), names | st.just(""))


@given(links)
def test_a_signed_link_reads_back(link: Link) -> None:
    text = link.signed(KEY)
    assert read_link(KEY, text) == link
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@given(links, st.integers(0, 10_000), st.characters(codec="ascii"))
def test_a_link_that_was_changed_anywhere_is_nobodys(link: Link, place: int, letter: str) -> None:
    text = link.signed(KEY)
    place %= len(text)
    changed = text[:place] + letter + text[place + 1 :]
    assert (read_link(KEY, changed) is None) is (changed != text)


@given(links)
def test_another_installations_link_is_nobodys(link: Link) -> None:
    assert read_link(os.urandom(32), link.signed(KEY)) is None
    assert read_link(KEY, link.signed(KEY) + "=") is None


@given(st.text(max_size=200) | st.binary(max_size=150).map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_anything_else_is_no_link(text: str) -> None:
    assert read_link(KEY, text) is None


def test_without_a_public_address_there_are_no_links() -> None:
    assert Links().url(RUN, "ship", 1.0) == ""
    url = Links("https://hooks.example.com/mill/", KEY).url(RUN, "ship", 1.9, "ann")
    assert url.startswith("https://hooks.example.com/mill/t/")
    assert read_link(KEY, url.rpartition("/")[2]) == Link(RUN, "ship", 1, "ann")
