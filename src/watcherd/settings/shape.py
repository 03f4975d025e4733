"""The settings themselves: every key of the contract with its type, its default and what it means.

A field's description is what `watcherd config --schema` says.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 (pydantic evaluates annotations)
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from watcherd.model import After
from watcherd.settings import forms  # noqa: TC001 (the same)
from watcherd.settings.layers import Layers
from watcherd.settings.units import MinFree

#: What the name of an inbox is made of.
INBOX_NAME = "[a-z0-9_]+"

_ASKED_FOR = frozenset({"path", "outbox"})


def _as_in_a_file(schema: dict[str, Any], shape: type[BaseModel]) -> None:
    """Let a schema show defaults as people write them, and require no key that has a default or another source."""
    schema["required"] = [key for key in schema.get("required", ()) if key in _ASKED_FOR]
    defaults = shape.model_construct().model_dump(mode="json")
    for key, described in schema["properties"].items():
        if "default" in described:
            described["default"] = defaults[key]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_as_in_a_file)


class Inbox(_Table):
    """A watched directory tree, with its own outbox and rules."""

    path: forms.Folder = Field(description="the watched folder; one that is missing is waited for")
    outbox: forms.Folder = Field(description="where results appear, mirroring the inbox's folders")
    archive: forms.Folder = Field(
        description='where inputs go once done, with after = "archive"; default: beside the outbox'
    )
    failed: forms.Folder = Field(description="where inputs go that cannot be processed; default: beside the outbox")
    after: After = Field(After.ARCHIVE, description="what becomes of an input once its result is durable")
    recursive: bool = Field(default=True, description="whether folders within the inbox are watched too")
    include: forms.Patterns = Field(
        (), description="gitignore patterns on the relative path; empty: all that can be processed"
    )
    exclude: forms.Patterns = Field((), description="gitignore patterns of what to leave alone; beats include")
    settle: forms.SecondsOrAuto = Field(
        None, description="quiet time after the last change; auto: 1s where the kernel can tell writers, else 10s"
    )
    rescan: forms.PositiveSecondsOrAuto = Field(
        None, description="time between scans; auto: 10m where events are reliable, 5s and up where not"
    )


class Queue(_Table):
    """What waits between intake and workers."""

    capacity: forms.Count = Field(256, description="jobs of each kind that wait for a worker")


class Text(_Table):
    """The lane that counts words."""

    workers: forms.CountOrAuto = Field(None, description="threads; auto: one for each core that we may use")
    timeout: forms.PositiveSeconds = Field(300.0, description="how long one text may take")
    max_bytes: forms.Bytes = Field(16 << 30, description="the largest text")
    encoding: forms.Encoding = Field("auto", description="of all texts, or auto to detect it of each")
    chunk: forms.ChunkOrAuto = Field(
        None, description="bytes that a thread looks at together; auto: three eighths of a core's second-level cache"
    )
    extensions: forms.Extensions = Field(
        (".txt", ".text", ".md", ".markdown", ".rst", ".log", ".csv", ".tsv"), description="names taken for texts"
    )


class Image(_Table):
    """The lane that makes grey pictures."""

    workers: forms.CountOrAuto = Field(None, description="processes; auto: one for each core that we may use")
    timeout: forms.PositiveSeconds = Field(120.0, description="how long one image may take")
    memory: forms.Bytes = Field(1 << 30, description="address space of one worker process")
    max_pixels: forms.Count = Field(100_000_000, description="width times height of a picture, or of each frame")
    recycle_after: forms.Count = Field(1000, description="files, then a fresh process")
    extensions: forms.Extensions = Field(
        (
            *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
            *(".ppm", ".pgm", ".tga", ".jp2", ".avif"),
        ),
        description="names taken for images",
    )


class Retry(_Table):
    """How often a failing file is tried again, where that can help."""

    attempts: forms.Count = Field(3, description="charged attempts, then quarantine")
    backoff: forms.Seconds = Field(1.0, description="before the second attempt; doubled each time, with jitter")
    max_backoff: forms.Seconds = Field(300.0, description="the longest wait between two attempts")


class LedgerSettings(_Table):
    """The record of what became of every file."""

    history: forms.Seconds = Field(90 * 86_400.0, description="how long rows of files that are gone are kept")


class Log(_Table):
    """What is said while running, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the lowest that is logged")
    format: Literal["auto", "console", "journal", "json"] = Field(
        "auto", description="auto: console on a terminal, journal under systemd, else json"
    )


class Settings(BaseSettings):
    """The effective configuration. Seconds, bytes, absolute paths; None stands for "auto"."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        case_sensitive=True,
        validate_default=False,
        title="watcherd.toml",
        json_schema_extra=_as_in_a_file,
    )

    state: forms.Folder = Field(
        description="the ledger's folder; default: $STATE_DIRECTORY, /var/lib/watcherd, or your own"
    )
    stop_timeout: forms.Seconds = Field(30.0, description="how long a stop waits for what is being worked on")
    durability: Literal["full", "none"] = Field(
        "full", description="full: no input is retired before its result is on disk; none: leave it to the kernel"
    )
    min_free: forms.Share = Field(
        MinFree(share=0.01), description="of a file system that we write to; below it intake pauses"
    )
    inbox: Mapping[str, Inbox] = Field(
        description=f"a table for each inbox; the name is {INBOX_NAME}",
        json_schema_extra={"propertyNames": {"pattern": f"^{INBOX_NAME}$"}},
    )
    queue: Queue = Queue()
    text: Text = Text()
    image: Image = Image()
    retry: Retry = Retry()
    ledger: LedgerSettings = LedgerSettings()
    log: Log = Log()

    _layers: Layers = PrivateAttr(default=Layers(()))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: object,
        **_others: object,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Merge the layers that `of` hands in, strongest first: sources of ours keep the place of each value."""
        layers: Layers = init_settings()["layers"]
        return tuple(InitSettingsSource(settings_cls, dict(layer.values)) for layer in layers.layers)

    @classmethod
    def of(cls, layers: Layers) -> Settings:
        """Merge and validate; raises pydantic's ValidationError with every problem."""
        settings = cls.model_validate({"layers": layers})
        settings._layers = layers  # noqa: SLF001 (its own)
        return settings

    @property
    def is_durable(self) -> bool:
        """Whether nothing is retired before its result is on disk."""
        return self.durability == "full"

    @property
    def layers(self) -> Layers:
        """What each source said, and where."""
        return self._layers
