"""In whose name somebody answers: their own, unless they were trusted with others' names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.kernel.errors import NotAllowedError

if TYPE_CHECKING:
    from gateway.access.identity import Identity


def answers_as(identity: Identity, said: object) -> object:
    """Return the name that counts, of what a request says in `by`.

    Without a login nobody's name is known: it is whoever they say. What isn't text is left to who reads it.

    Raises:
        NotAllowedError: it is somebody else's name.
    """
    if identity.kind == "local":
        return said
    if said is None or (isinstance(said, str) and said.strip() in ("", identity.name)):
        return identity.name
    if isinstance(said, str) and not identity.on_behalf:
        raise NotAllowedError(
            f"{identity.name} can't answer as {said.strip()}",
            hint="leave `by` out, or give the key on_behalf = true in control.keys",
        )
    return said
