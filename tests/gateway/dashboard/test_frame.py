from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from starlette.routing import Route

from gateway.access.paths import local_path
from gateway.dashboard.assets import Assets
from gateway.dashboard.part import Part
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.settings.control import ControlSettings

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from conftest import ControlBench
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.frame import Frame

HOSTILE = "<script>alert(1)</script>"


class Site:
    """A control listener with a page, seen by a browser of this machine."""

    def __init__(self, bench: type[ControlBench], **settings: Any) -> None:
        self.bench = bench(ControlSettings(**settings), self.routes)

    def routes(self, frame: Frame) -> list[Route]:
        self.frame = frame
        return [Route("/", self.show), Route("/metrics/broken", self.broken)]

    async def show(self, request: Request) -> Response:
        if "unknown" in request.query_params:
            raise NotFoundError(f"there is no run {HOSTILE}")
        names = ("id", "task", "outcome", "error")
        letters = [dict.fromkeys(names, HOSTILE) | {"attempts": 1, "at": None}]
        filters = ("error", "task", "source", "type", "outcome", "since", "until")
        context = {
            "letters": letters,
            "found": Part(letters),
            "given": dict.fromkeys(filters, HOSTILE),
            "outcomes": [HOSTILE],
            "filtered": True,
            "next": "",
            "first": "",
        }
        return self.frame.page(request, "dead.html", title=HOSTILE, active="dead", **context)

    async def broken(self, _: Request) -> Response:
        raise RuntimeError(HOSTILE)

    def ask(self, path: str = "/", method: str = "GET", **kwargs: Any) -> httpx.Response:
        return self.bench.browse(path, method, **kwargs)


@pytest.fixture
def site_of(control_bench: type[ControlBench]) -> Callable[..., Site]:
    return partial(Site, control_bench)


def csrf_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', page.text)
    assert found
    return found[1]


def test_what_comes_from_elsewhere_is_escaped(site_of: Callable[..., Site]) -> None:
    page = site_of().ask()
    assert page.status_code == 200
    assert HOSTILE not in page.text
    assert page.text.count("&lt;script&gt;") >= 10


def test_every_page_has_its_headers(site_of: Callable[..., Site]) -> None:
    site = site_of()
    for page in (site.ask(), site.ask("/nothing"), site.ask("/?unknown"), site.ask("/metrics/broken")):
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["x-frame-options"] == "DENY"
        assert "<script" not in page.text.replace(HOSTILE, "")
        assert "style=" not in page.text
        assert "strict-transport-security" not in page.headers
    assert "strict-transport-security" in site_of(public_url="https://tide.example").ask().headers


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/nothing", 404, "There is nothing here"),
        ("/?unknown", 404, "there is no run"),
        ("/metrics/broken", 500, "Something went wrong"),
    ],
)
def test_problems_are_pages_for_people_and_documents_for_programs(
    path: str, status: int, says: str, site_of: Callable[..., Site]
) -> None:
    page = site_of().ask(path)
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert says in page.text
    assert HOSTILE not in page.text
    assert "Traceback" not in page.text
    document = site_of().ask(path, headers={"accept": "*/*"})
    assert document.headers["content-type"] == "application/problem+json"
    assert document.json()["status"] == status


def test_assets_are_kept_for_good_under_their_own_address(site_of: Callable[..., Site]) -> None:
    site = site_of()
    url = re.search(r'href="(/static/[0-9a-f]{12}/tidemill\.css)"', site.ask().text)
    assert url
    reply = site.ask(url[1])
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert reply.headers["content-type"] == "text/css; charset=utf-8"
    assert reply.headers["content-encoding"] == "gzip"
    plain = site.ask(url[1], headers={"accept-encoding": "identity"})
    assert (plain.text, "content-encoding" in plain.headers) == (reply.text, False)
    for wrong in ("/static/000000000000/tidemill.css", "/static/x/../../frame.py", f"{url[1]}/../x"):
        assert site.ask(wrong).status_code == 404


def test_a_later_folder_hides_files_of_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.js").write_text("1")
    (tmp_path / "one.js").write_text("2")
    (tmp_path / "one.py").write_text("3")
    assets = Assets(tmp_path / "a", tmp_path)
    assert assets.url("one.js") != assets.url("a/one.js")
    with pytest.raises(KeyError):
        assets.url("one.py")


def test_a_theme_is_chosen_with_a_form(site_of: Callable[..., Site]) -> None:
    site = site_of()
    form = {"csrf": csrf_of(site.ask()), "theme": "dark", "back": "/?x=1"}
    chosen = site.ask("/theme", "POST", data=form)
    assert (chosen.status_code, chosen.headers["location"]) == (303, "/?x=1")
    assert 'data-theme="dark"' in site.ask(headers={"cookie": "tidemill-theme=dark"}).text
    assert 'data-theme="auto"' in site.ask(headers={"cookie": 'tidemill-theme="><script>'}).text


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({}, {}),
        ({"csrf": ""}, {}),
        ({"csrf": "x"}, {}),
        ({"csrf": "é"}, {}),
        (None, {"origin": "https://evil.example"}),
        (None, {"sec-fetch-site": "cross-site"}),
    ],
)
def test_a_form_of_somebody_else_changes_nothing(
    form: dict[str, str] | None, headers: dict[str, str], site_of: Callable[..., Site]
) -> None:
    site = site_of()
    data = {"theme": "dark"} | ({"csrf": csrf_of(site.ask())} if form is None else form)
    reply = site.ask("/theme", "POST", data=data, headers=headers)
    assert reply.status_code == 403
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"csrf=%ff%fe", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"a&" * 3000, "application/x-www-form-urlencoded", 400),
        (b"a" * (9 << 20), "application/x-www-form-urlencoded", 413),
    ],
)
def test_what_is_no_form_is_refused_with_a_page(
    body: bytes, media_type: str, status: int, site_of: Callable[..., Site]
) -> None:
    page = site_of().ask("/theme", "POST", content=body, headers={"content-type": media_type})
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/runs?status=failed&x=%2F#a", "/runs?status=failed&x=%2F#a"),
        ("/", "/"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nset-cookie: x", "/"),
        ("/" + "a" * 3000, "/"),
    ],
)
def test_only_pages_of_our_own_are_gone_back_to(text: str, path: str) -> None:
    assert local_path(text) == path
