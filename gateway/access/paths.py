"""Addresses to go back to, which come with requests: only pages of this listener count."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlencode

LOGIN: Final = "/login"
_LONGEST: Final = 2000
# One slash, then no second one (another host) and no backslash (which browsers read as a slash), and
# nothing that browsers leave out or that ends a header's line.
_LOCAL: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def local_path(text: str) -> str:
    """Return a path of this listener, `/` where the text is anything else."""
    return text if len(text) <= _LONGEST and _LOCAL.fullmatch(text) else "/"


def login_address(back: str) -> str:
    """Return the login page that leads back to a page."""
    return LOGIN if back == "/" else f"{LOGIN}?{urlencode({'next': back})}"
