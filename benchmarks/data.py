"""The data that is measured on: made from a seed, the same every time.

Texts: prose in lines of at most 80 columns, source code, mixed scripts. Pictures: soft shapes with finer
ones on them, and the noise of a sensor: it grows with the light as photons come, and is
smeared over its neighbours where colours are interpolated from a Bayer mosaic.
"""

from __future__ import annotations

import random
import textwrap
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

SEED = 20
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
ALPHABETS = (
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "的一是不了人我在有他这为之大来以个中上们",
    "àâçéèêëîïôûùüÿñæœ",
    LETTERS,
)
SPACES = ("\u00a0", "\u2003", "\u3000", "\u2028")

#: Bytes of text that are drawn by lot; a file repeats them.
BLOCK = 4_000_000

#: Light at which a photon's noise is given, and the noise that is there without any light, of 1.
READ_NOISE = 0.002


# Texts


def prose(path: Path, size: int) -> None:
    """Write `size` bytes of ASCII prose in lines of at most 80 columns."""
    dice = random.Random(SEED)
    lexicon = _lexicon(dice, LETTERS)
    _repeat(path, _wrapped(" ".join(dice.choices(lexicon, k=BLOCK // 6))), size)


def code(path: Path, size: int) -> None:
    """Write `size` bytes of something that is indented, punctuated and broken into lines as source code is."""
    dice = random.Random(SEED)
    names = _lexicon(dice, LETTERS)
    forms = ("{} = {}({}, {})", "if {}.{} != {}[{}]:", "return {} + {} * {} - {}", "# {} {} {} {}", "")
    lines = (
        "    " * dice.randint(0, 4) + dice.choice(forms).format(*dice.choices(names, k=4)) for _ in range(150_000)
    )
    _repeat(path, "\n".join(lines) + "\n", size)


def scripts(path: Path, size: int) -> None:
    """Write `size` bytes of Cyrillic, Chinese, accented and plain Latin words between Unicode's spaces, in UTF-8."""
    dice = random.Random(SEED)
    words = [word for alphabet in ALPHABETS for word in _lexicon(dice, alphabet)]
    drawn = dice.choices(words, k=BLOCK // 12)
    spaced = (word + (dice.choice(SPACES) if dice.random() < 0.05 else " ") for word in drawn)
    _repeat(path, _wrapped("".join(spaced)), size)


def small_texts(folder: Path, count: int) -> None:
    """Write `count` texts of 100 to 500 bytes into one folder."""
    dice = random.Random(SEED)
    text = _wrapped(" ".join(dice.choices(_lexicon(dice, LETTERS), k=100)))
    for number in range(count):
        (folder / f"{number:07}.txt").write_text(f"{number}\n{text[: 100 + number % 400]}")


def _lexicon(dice: random.Random, letters: str) -> list[str]:
    return ["".join(dice.choices(letters, k=dice.randint(1, 9))) for _ in range(5000)]


def _wrapped(text: str) -> str:
    width = 80
    starts = range(0, len(text), 100_000)  # wrapping takes time by the square of a paragraph
    lines = (textwrap.wrap(text[at : at + 100_000], width, break_long_words=False) for at in starts)
    return "\n".join(line for paragraph in lines for line in paragraph) + "\n"


def _repeat(path: Path, text: str, size: int) -> None:
    block = text.encode()
    with path.open("wb") as file:
        while (left := size - file.tell()) > 0:
            file.write(block if len(block) <= left else _whole_lines(block, left))


def _whole_lines(block: bytes, size: int) -> bytes:
    return block[: block.rfind(b"\n", 0, size)] + b"\n" * (size - block.rfind(b"\n", 0, size))


# Pictures


def photo(megapixels: float, gain: float, seed: int = SEED) -> Image.Image:
    """Return a picture in colour of the format 4:3, with noise as of a sensor at `gain`: 0 is none, 1 a dark room."""
    width = int((megapixels * 1e6 * 4 / 3) ** 0.5) // 16 * 16
    size = (width, width * 3 // 4)
    dice = np.random.default_rng(seed)
    light = _texture(dice, size, octaves=10)
    channels = [np.clip(light + 0.2 * _texture(dice, size, octaves=4), -1, 1) * 0.35 + 0.5 for _ in range(3)]
    developed = [
        _developed(channel, noise, gain) for channel, noise in zip(channels, _mosaic(dice, size), strict=True)
    ]
    return Image.merge("RGB", [Image.fromarray(channel) for channel in developed])


def small_pictures(folder: Path, count: int) -> None:
    """Write `count` JPEGs of 64 by 48 pixels into one folder."""
    photo(0.0031, 0.25).save(folder / "0000000.jpg", quality=90)
    content = (folder / "0000000.jpg").read_bytes()
    for number in range(1, count):
        (folder / f"{number:07}.jpg").write_bytes(content)


def _texture(dice: np.random.Generator, size: tuple[int, int], octaves: int) -> Plane:
    """Return the sum of random fields, each twice as fine as the last and half as strong."""
    total = np.zeros(size[::-1], np.float32)
    for octave in range(octaves):
        grid = dice.standard_normal((3 << octave, 4 << octave), np.float32)
        total += np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)) * 0.5**octave
    return total / 2


def _mosaic(dice: np.random.Generator, size: tuple[int, int]) -> tuple[Plane, Plane, Plane]:
    """Return white noise as it looks in red, green and blue once each was interpolated from its own sites."""
    sites = dice.standard_normal(size[::-1], np.float32)
    red, blue = (Image.fromarray(sites[at::2, at::2]).resize(size, Image.Resampling.BILINEAR) for at in (0, 1))
    around = (np.roll(sites, 1, 0) + np.roll(sites, -1, 0) + np.roll(sites, 1, 1) + np.roll(sites, -1, 1)) / 4
    green = sites.copy()
    green[::2, ::2], green[1::2, 1::2] = around[::2, ::2], around[1::2, 1::2]
    return np.asarray(red), green, np.asarray(blue)


def _developed(channel: Plane, noise: Plane, gain: float) -> NDArray[np.uint8]:
    linear = channel * channel  # a gamma of 2, as the square root is quick
    exposed = linear + noise * (gain * np.sqrt(0.01 * linear) + READ_NOISE)
    return (np.sqrt(np.clip(exposed, 0, 1)) * 255).astype(np.uint8)
