"""The kept corpora: one JSON file a target, an array of inputs whose characters are their bytes (Latin-1)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def load(name: str) -> list[bytes]:
    """Return the inputs that are kept for a target."""
    texts: list[str] = json.loads((FOLDER / f"{name}.json").read_bytes())
    return [text.encode("latin-1") for text in texts]


def save(name: str, inputs: list[bytes]) -> None:
    """Keep inputs for a target, the shortest first."""
    texts = [one.decode("latin-1") for one in sorted(set(inputs), key=lambda one: (len(one), one))]
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(texts, indent=0, ensure_ascii=True) + "\n", encoding="ascii")


def unpack(inputs: list[bytes], folder: Path) -> None:
    """Write inputs into a folder, a file for each, as fuzzers read them."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in inputs:
        (folder / hashlib.sha1(one, usedforsecurity=False).hexdigest()).write_bytes(one)
