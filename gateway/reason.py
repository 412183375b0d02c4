"""Why a genuine delivery is kept instead of processed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a genuine delivery can't be processed.

    Attributes:
        code: one of `not_json`, `not_finite`, `duplicate_key`, `too_deep`, `bad_encoding`, `not_form`,
            `data_missing`, `missing_type`, `bad_type`, `too_many_items`, `too_large`, `not_decrypted` and
            `schema`.
        detail: a sentence for the operator.
        path: where in the data, as `$.commits[0].id`; None where there is no such place.
    """

    code: str
    detail: str
    path: str | None = None
