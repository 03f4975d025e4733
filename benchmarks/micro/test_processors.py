"""One file through each processor, in memory: what a change of theirs costs, in seconds of waiting."""

import io

import data
import pytest
from PIL import Image

from watcherd.processors import words
from watcherd.processors.grayscale import convert

SIZE = 32_000_000

#: Name, megapixels, the sensor's gain, what Pillow is told.
PICTURES = {
    "jpeg-1.0": ("JPEG", 12, 0.25, {"quality": 90, "subsampling": "4:2:0"}),
    "jpeg-2.5": ("JPEG", 12, 0.97, {"quality": 90, "subsampling": "4:2:0"}),
    "jpeg-4.5": ("JPEG", 12, 0.57, {"quality": 95, "subsampling": "4:4:4"}),
    "png": ("PNG", 2.5, 0.5, {}),
    "webp": ("WEBP", 2.5, 0.5, {"quality": 80}),
    "webp-lossless": ("WEBP", 0.6, 0.5, {"lossless": True}),
    "tiff": ("TIFF", 2.5, 0.5, {}),
    "tiff-lzw": ("TIFF", 2.5, 0.5, {"compression": "tiff_lzw"}),
    "gif": ("GIF", 2.5, 0.5, {}),
}


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    def make(kind):
        path = tmp_path_factory.mktemp(kind) / "a.txt"
        getattr(data, kind)(path, SIZE)
        return path.read_bytes()

    return make


@pytest.mark.parametrize("kind", ["prose", "code", "scripts"])
def test_words_of_32_mb(benchmark, text, kind):
    content = text(kind)
    counted = benchmark(lambda: words.count(io.BytesIO(content)))
    assert counted.bytes == SIZE


def test_words_of_a_small_text(benchmark):
    content = b"a small text of a few words\n" * 10
    assert benchmark(lambda: words.count(io.BytesIO(content))).words == 70


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("side", ["ours", "plain"])
def test_grey(benchmark, name, side):
    picture = encoded(name)
    benchmark.group = name
    benchmark(lambda: convert(io.BytesIO(picture)) if side == "ours" else plain(picture))


def encoded(name):
    form, megapixels, gain, options = PICTURES[name]
    target = io.BytesIO()
    data.photo(megapixels, gain).save(target, form, **options)
    return target.getvalue()


def plain(picture):
    image = Image.open(io.BytesIO(picture))
    image.convert("L").save(io.BytesIO(), image.format)
