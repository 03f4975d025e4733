"""The settings themselves: every key of the contract with its type, its default and what it means.

A field's description is what `watcherd config --schema` says; its type knows how people write it, both ways.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pathspec import GitIgnoreSpec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    WrapSerializer,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from watcherd.model import After
from watcherd.settings import units
from watcherd.settings.layers import VARIABLE, Layers
from watcherd.settings.units import (
    MinFree,
    Unreadable,
    count,
    duration,
    duration_text,
    min_free,
    size,
    size_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Value = TypeVar("_Value")

#: What the name of an inbox is made of.
INBOX_NAME = "[a-z0-9_]+"

_ASKED_FOR = frozenset({"path", "outbox"})

#: Bytes of a text that are looked at together: fewer cost more calls than work, more do not fit into any cache.
LEAST_CHUNK, MOST_CHUNK = 64 << 10, 64 << 20


def _positive(value: _Value) -> _Value:
    if value is not None and value <= 0:  # type: ignore[operator]  # only numbers come here
        raise Unreadable("must be more than zero", "write a larger value, or leave the key out for the default")
    return value


def _auto(read: Callable[[object], _Value]) -> Callable[[object], _Value | None]:
    return lambda value: None if value == "auto" else read(value)


def _written(write: Callable[[Any], int | str]) -> PlainSerializer:
    return PlainSerializer(lambda value: "auto" if value is None else write(value), when_used="json")


def _chunk(value: int | None) -> int | None:
    if value is not None and not LEAST_CHUNK <= value <= MOST_CHUNK:
        raise Unreadable(
            f"must be between {size_text(LEAST_CHUNK)} and {size_text(MOST_CHUNK)}",
            'write "auto", or one as in "512KiB"',
        )
    return value


def _folder(value: object) -> Path:
    if isinstance(value, Path) and value.is_absolute():  # `layers` made every readable path absolute
        return value
    if isinstance(value, str) and VARIABLE.match(value):
        raise Unreadable(f"{value!r} begins with a variable, which is not expanded", 'write it out, or with "~/"')
    raise Unreadable(f"{value!r} is no path of a folder", 'write it as in "/srv/watcherd/inbox"')


def _patterns(values: object) -> tuple[str, ...]:
    patterns = _strings(values, '["*.txt", "drafts/"]')
    for pattern in patterns:
        _require_pattern(pattern)
    return patterns


def _strings(values: object, example: str) -> tuple[str, ...]:
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return tuple(values)
    raise Unreadable(f"{values!r} is no list of texts", f"write it as in {example}")


def _require_pattern(pattern: str) -> None:
    # What pathspec compiles to nothing would silently match nothing, as does an unclosed bracket.
    try:
        compiled = list(GitIgnoreSpec.from_lines([pattern]).patterns)
    except ValueError as error:
        raise Unreadable(
            f"{pattern!r} is no gitignore pattern: {error}", 'write it as in "*.txt" or "drafts/"'
        ) from error
    if not compiled or compiled[0].include is None:
        raise Unreadable(f"{pattern!r} matches nothing", 'write a gitignore pattern as in "*.txt" or "drafts/"')


def _extensions(values: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_extension(value) for value in _strings(values, '[".txt", ".md"]')))


def _extension(value: str) -> str:
    extension = "." + value.strip().lower().removeprefix(".")
    if extension == "." or set(extension[1:]) & {".", "/", "\0"} or extension.split() != [extension]:
        raise Unreadable(f"{value!r} is no extension", 'write one dot and what follows it, as in ".txt"')
    return extension


def _encoding(value: str) -> str:
    try:
        # `codecs.lookup` also knows codecs that are none of texts, and those of host names (idna, punycode), which
        # read no text block by block, and know few ways with bytes that are invalid in it.
        b"-".decode(value, "backslashreplace")
    except (LookupError, ValueError):
        raise Unreadable(
            f"{value!r} is no encoding of texts that Python knows", 'write "auto", or one as in "utf-8"'
        ) from None
    return codecs.lookup(value).name


def _one_of(*forms: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": list(forms)})


# What a configuration file may hold, for `watcherd config --schema`; a pattern says nothing of a number.
_AUTO = {"const": "auto"}
_DURATION = {"type": "string", "pattern": units.DURATION, "examples": ["250ms", "5s", "2m", "1.5h", "90d"]}
_SOME_DURATION = _DURATION | {"pattern": units.SOME + units.DURATION}
_SIZE = {"type": ["string", "integer"], "minimum": 0, "pattern": units.SIZE, "examples": ["64MiB", "2GB"]}
_SOME_SIZE = _SIZE | {"minimum": 1, "pattern": units.SOME + units.SIZE}
_CHUNK = _SOME_SIZE | {"minimum": LEAST_CHUNK, "maximum": MOST_CHUNK}
_SHARE = {"type": "string", "pattern": units.SHARE, "examples": ["1%"]}
_COUNT = {"type": "integer", "minimum": 1}
_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT}

Seconds = Annotated[float, BeforeValidator(duration), _written(duration_text), WithJsonSchema(_DURATION)]
PositiveSeconds = Annotated[Seconds, AfterValidator(_positive), WithJsonSchema(_SOME_DURATION)]
SecondsOrAuto = Annotated[
    float | None, BeforeValidator(_auto(duration)), _written(duration_text), _one_of(_AUTO, _DURATION)
]
PositiveSecondsOrAuto = Annotated[SecondsOrAuto, AfterValidator(_positive), _one_of(_AUTO, _SOME_DURATION)]
Bytes = Annotated[
    int, BeforeValidator(size), AfterValidator(_positive), _written(size_text), WithJsonSchema(_SOME_SIZE)
]
ChunkOrAuto = Annotated[
    int | None, BeforeValidator(_auto(size)), AfterValidator(_chunk), _written(size_text), _one_of(_AUTO, _CHUNK)
]
Share = Annotated[MinFree, BeforeValidator(min_free), _written(str), _one_of(_SHARE, _SIZE)]
Count = Annotated[int, BeforeValidator(count), WithJsonSchema(_COUNT)]
CountOrAuto = Annotated[int | None, BeforeValidator(_auto(count)), _written(int), _one_of(_AUTO, _COUNT)]
Folder = Annotated[Path, BeforeValidator(_folder), WithJsonSchema(_TEXT)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_patterns), WithJsonSchema(_TEXTS)]
Extensions = Annotated[tuple[str, ...], BeforeValidator(_extensions), WithJsonSchema(_TEXTS)]
Encoding = Annotated[str, AfterValidator(lambda value: value if value == "auto" else _encoding(value))]


def _as_in_a_file(schema: dict[str, Any], shape: type[BaseModel]) -> None:
    """Let a schema show defaults as people write them, and ask for nothing that may be said elsewhere or follows."""
    schema["required"] = [key for key in schema.get("required", ()) if key in _ASKED_FOR]
    defaults = shape.model_construct().model_dump(mode="json")
    for key, described in schema["properties"].items():
        if "default" in described:
            described["default"] = defaults[key]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, json_schema_extra=_as_in_a_file)


class Inbox(_Table):
    """A watched directory tree, with its own outbox and rules."""

    path: Folder = Field(description="the watched folder; one that is missing is waited for")
    outbox: Folder = Field(description="where results appear, mirroring the inbox's folders")
    archive: Folder = Field(
        description='where inputs go once done, with after = "archive"; default: beside the outbox'
    )
    failed: Folder = Field(description="where inputs go that cannot be processed; default: beside the outbox")
    after: After = Field(After.ARCHIVE, description="what becomes of an input once its result is durable")
    recursive: bool = Field(default=True, description="whether folders within the inbox are watched too")
    include: Patterns = Field(
        (), description="gitignore patterns on the relative path; empty: all that can be processed"
    )
    exclude: Patterns = Field((), description="gitignore patterns of what to leave alone; beats include")
    settle: SecondsOrAuto = Field(
        None, description="quiet time after the last change; auto: 1s where the kernel can tell writers, else 10s"
    )
    rescan: PositiveSecondsOrAuto = Field(
        None, description="time between scans; auto: 10m where events are reliable, 5s and up where not"
    )


class Queue(_Table):
    """What waits between intake and workers."""

    capacity: Count = Field(256, description="jobs of each kind that wait for a worker")


class Text(_Table):
    """The lane that counts words."""

    workers: CountOrAuto = Field(None, description="threads; auto: one for each core that we may use")
    timeout: PositiveSeconds = Field(300.0, description="how long one text may take")
    max_bytes: Bytes = Field(16 << 30, description="the largest text")
    encoding: Encoding = Field("auto", description="of all texts, or auto to detect it of each")
    chunk: ChunkOrAuto = Field(
        None, description="bytes that a thread looks at together; auto: three eighths of a core's second-level cache"
    )
    extensions: Extensions = Field(
        (".txt", ".text", ".md", ".markdown", ".rst", ".log", ".csv", ".tsv"), description="names taken for texts"
    )


class Image(_Table):
    """The lane that makes grey pictures."""

    workers: CountOrAuto = Field(None, description="processes; auto: one for each core that we may use")
    timeout: PositiveSeconds = Field(120.0, description="how long one image may take")
    memory: Bytes = Field(1 << 30, description="address space of one worker process")
    max_pixels: Count = Field(100_000_000, description="width times height times frames held at once")
    recycle_after: Count = Field(1000, description="files, then a fresh process")
    extensions: Extensions = Field(
        (
            *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
            *(".ppm", ".pgm", ".tga", ".jp2", ".avif"),
        ),
        description="names taken for images",
    )


class Retry(_Table):
    """How often a failing file is tried again, where that can help."""

    attempts: Count = Field(3, description="charged attempts, then quarantine")
    backoff: Seconds = Field(1.0, description="before the second attempt; doubled each time, with jitter")
    max_backoff: Seconds = Field(300.0, description="the longest wait between two attempts")


class LedgerSettings(_Table):
    """The record of what became of every file."""

    history: Seconds = Field(90 * 86_400.0, description="how long rows of files that are gone are kept")


class Log(_Table):
    """What is said while running, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least important that is said"
    )
    format: Literal["auto", "console", "journal", "json"] = Field(
        "auto", description="auto: console on a terminal, journal under systemd, else json"
    )


def _plain(inboxes: Mapping[str, Inbox], handler: SerializerFunctionWrapHandler) -> object:
    return handler(dict(inboxes))


Inboxes = Annotated[dict[str, Inbox], AfterValidator(MappingProxyType), WrapSerializer(_plain)]


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

    state: Folder = Field(
        description="the ledger's folder; default: $STATE_DIRECTORY, /var/lib/watcherd, or your own"
    )
    stop_timeout: Seconds = Field(30.0, description="how long a stop waits for what is being worked on")
    durability: Literal["full", "none"] = Field(
        "full", description="full: no input is retired before its result is on disk; none: leave it to the kernel"
    )
    min_free: Share = Field(
        MinFree(share=0.01), description="of a file system that we write to; below it intake pauses"
    )
    inbox: Inboxes = Field(
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
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (ours keeps the place of each value)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Merge the layers that `of` hands in, strongest first."""
        layers: Layers = init_settings()["layers"]
        return tuple(InitSettingsSource(settings_cls, dict(layer.values)) for layer in layers.layers)

    @classmethod
    def of(cls, layers: Layers) -> Settings:
        """Merge and validate; raises pydantic's ValidationError with every problem."""
        settings = cls.model_validate({"layers": layers})
        settings._layers = layers  # noqa: SLF001 (its own)
        return settings

    @property
    def layers(self) -> Layers:
        """What each source said, and where."""
        return self._layers
