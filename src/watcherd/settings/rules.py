"""Settings that contradict each other, though each is sound.

Each rule looks at its own keys alone, so that it also holds where others are wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from watcherd.settings.problems import Problem
from watcherd.settings.shape import INBOX_NAME, Image, Retry, Text
from watcherd.settings.units import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.settings.layers import Layers

Table = TypeVar("Table", bound=BaseModel)

#: The keys that claim extensions. Where both claim the same, the first of these that somebody wrote has to change.
_CLAIMS = (("image", "extensions"), ("text", "extensions"))


def contradictions(layers: Layers) -> Iterator[Problem]:
    """Find invalid names of inboxes, extensions that two kinds claim, and limits that contradict each other."""
    yield from _names(layers)
    yield from _extensions(layers)
    yield from _retries(layers)


def _names(layers: Layers) -> Iterator[Problem]:
    for name in layers.inboxes():
        if not re.fullmatch(INBOX_NAME, name):
            mend = "name it with a-z, 0-9 and _ alone"
            yield Problem(layers.place("inbox", name), f"inbox.{name}", f"{name!r} is no name for an inbox", mend)


def _extensions(layers: Layers) -> Iterator[Problem]:
    text, image = _said(layers, "text", Text, "extensions"), _said(layers, "image", Image, "extensions")
    both = sorted(set(text.extensions) & set(image.extensions)) if text and image else []
    if both:
        written = next((keys for keys in _CLAIMS if layers.find(*keys) is not None), _CLAIMS[0])
        message = f"text and image both claim {', '.join(both)}"
        yield Problem(layers.place(*written), ".".join(written), message, "leave each extension to one of them")


def _retries(layers: Layers) -> Iterator[Problem]:
    retry = _said(layers, "retry", Retry, "backoff", "max_backoff")
    if retry and retry.backoff > retry.max_backoff:
        message = f"is longer than max_backoff, {duration_text(retry.max_backoff)}"
        mend = "make backoff shorter or max_backoff longer"
        yield Problem(layers.place("retry", "backoff"), "retry.backoff", message, mend)


def _said(layers: Layers, table: str, shape: type[Table], *keys: str) -> Table | None:
    """Return a table with these keys as said, the others at their defaults; None where a key is wrong by itself."""
    said = {key: value for key in keys if (value := layers.find(table, key)) is not None}
    try:
        return shape.model_validate(said)
    except ValidationError:
        return None
