"""Files that pages load: each under an address that names its content, so that browsers keep it for good."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

ROOT: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}
"""What is served, by the end of its name; anything else in the folder isn't."""
_FOREVER: Final = "public, max-age=31536000, immutable"
_HASH_LENGTH: Final = 12
_PACKED: Final = (".css", ".js", ".svg")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, as it is sent."""

    name: str
    hash: str
    media_type: str
    body: bytes
    packed: bytes | None

    @property
    def url(self) -> str:
        """Where it is found."""
        return f"/static/{self.hash}/{self.name}"


class Assets:
    """All files below some folders, read once; a later folder's file hides one of the same name before it."""

    def __init__(self, *folders: Path) -> None:
        self._assets: Mapping[str, Asset] = {
            asset.name: asset for folder in folders or (ROOT,) for asset in _read(folder)
        }

    def url(self, name: str) -> str:
        """Return a file's address.

        Raises:
            KeyError: there is no such file: the template is wrong.
        """
        return self._assets[name].url

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/static/{hash}/{name:path}", self.serve_asset)]

    async def serve_asset(self, request: Request) -> Response:
        """One file; under another version's hash there is none."""
        asset = self._assets.get(request.path_params["name"])
        if asset is None or asset.hash != request.path_params["hash"]:
            raise HTTPException(404)
        headers = {"Cache-Control": _FOREVER, "Vary": "Accept-Encoding"}
        if asset.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(asset.packed, headers=headers, media_type=asset.media_type)
        return Response(asset.body, headers=headers, media_type=asset.media_type)


def _read(folder: Path) -> list[Asset]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in TYPES and path.is_file():
            body = path.read_bytes()
            digest = hashlib.sha256(body).hexdigest()[:_HASH_LENGTH]
            packed = gzip.compress(body, mtime=0) if path.suffix in _PACKED else None
            name = path.relative_to(folder).as_posix()
            found.append(Asset(name, digest, TYPES[path.suffix], body, packed))
    return found
