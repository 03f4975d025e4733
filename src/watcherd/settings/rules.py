"""What settings that are each sound may not be together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from watcherd.settings.problems import Problem
from watcherd.settings.units import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.settings.layers import Layers
    from watcherd.settings.shape import Settings

_NAME = re.compile(r"[a-z0-9_]+")


def contradictions(settings: Settings, layers: Layers) -> Iterator[Problem]:
    """Find names that cannot be, extensions that two kinds claim, and limits that contradict each other."""
    yield from _names(settings, layers)
    yield from _extensions(settings, layers)
    yield from _retries(settings, layers)


def _names(settings: Settings, layers: Layers) -> Iterator[Problem]:
    for name in settings.inbox:
        if not _NAME.fullmatch(name):
            mend = "name it with a-z, 0-9 and _ alone"
            yield Problem(layers.place("inbox", name), f"inbox.{name}", f"{name!r} is no name for an inbox", mend)


def _extensions(settings: Settings, layers: Layers) -> Iterator[Problem]:
    both = sorted(set(settings.text.extensions) & set(settings.image.extensions))
    if both:
        written = next((keys for keys in _CLAIMS if layers.find(*keys) is not None), _CLAIMS[0])
        message = f"text and image both claim {', '.join(both)}"
        yield Problem(layers.place(*written), ".".join(written), message, "leave each extension to one of them")


_CLAIMS = (("image", "extensions"), ("text", "extensions"))


def _retries(settings: Settings, layers: Layers) -> Iterator[Problem]:
    retry = settings.retry
    if retry.backoff > retry.max_backoff:
        message = f"is longer than max_backoff, {duration_text(retry.max_backoff)}"
        mend = "make backoff shorter or max_backoff longer"
        yield Problem(layers.place("retry", "backoff"), "retry.backoff", message, mend)
