"""Whose fault it is: every damaged picture is a `FileFault` of the right class, and nothing else is."""

import errno
import struct
from io import BytesIO, FileIO
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from watcherd.lanes import work
from watcherd.lanes.work import Stream
from watcherd.model import Failure, FileFault, Limits
from watcherd.processors.grayscale import convert, process


def noise(size=(36, 28)):
    return Image.merge("RGB", [Image.effect_noise(size, 60) for _ in "rgb"])


def encoded(name, *, frames=1, mode="RGB", **options):
    file = BytesIO()
    more = {"save_all": True, "append_images": [noise() for _ in range(frames - 1)]} if frames > 1 else {}
    noise().convert(mode).save(file, name, **more, **options)
    return file.getvalue()


SOUND = {
    "jpeg": encoded("JPEG"),
    "progressive": encoded("JPEG", progressive=True),
    "png": encoded("PNG"),
    "palette": encoded("PNG", mode="P", transparency=3),
    "apng": encoded("PNG", frames=3, duration=50),
    "gif": encoded("GIF"),
    "moving gif": encoded("GIF", frames=3, duration=50),
    "webp": encoded("WEBP"),
    "lossless webp": encoded("WEBP", lossless=True),
    "moving webp": encoded("WEBP", frames=3, duration=50),
    "tiff": encoded("TIFF"),
    "lzw tiff": encoded("TIFF", compression="tiff_lzw"),
    "pages": encoded("TIFF", frames=3, compression="tiff_adobe_deflate"),
    "bmp": encoded("BMP"),
    "ppm": encoded("PPM"),
    "tga": encoded("TGA", rle=True),
    "jp2": encoded("JPEG2000"),
    "j2k": encoded("JPEG2000", no_jp2=True),
    "avif": encoded("AVIF"),
    "moving avif": encoded("AVIF", frames=2, duration=50),
}

#: Bytes at the end that hold no part of the picture: checksums, footers, padding.
SPARE = {
    "png": 4,
    "palette": 4,
    "apng": 4,
    "tga": 26,
    "pages": 32,
    "tiff": 16,
    "lzw tiff": 16,
    "jpeg": 2,
    "progressive": 2,
}


def fault_of(data, **limits):
    with pytest.raises(FileFault) as raised:
        convert(BytesIO(data), limits=Limits(**limits))
    assert "\n" not in str(raised.value)
    return raised.value


def failure_of(data, **limits):
    return fault_of(data, **limits).failure


@pytest.mark.parametrize("kind", SOUND)
def test_a_picture_that_ends_too_early_is_truncated_wherever_it_ends(kind):
    data = SOUND[kind]
    end = len(data) - SPARE.get(kind, 0)
    for cut in sorted({*range(64, end, max(1, end // 24)), end - 1}):
        assert failure_of(data[:cut]) is Failure.TRUNCATED, cut


@pytest.mark.parametrize("kind", SOUND)
def test_the_first_bytes_of_a_picture_are_no_picture_or_a_truncated_one(kind):
    for cut in range(64):
        assert failure_of(SOUND[kind][:cut]) in {Failure.NOT_IMAGE, Failure.TRUNCATED}, cut


@pytest.mark.parametrize("kind", SOUND)
@settings(max_examples=40, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.one_of(st.integers(0, 80), st.integers(0, 1 << 16)), st.integers(0, 255)), min_size=1, max_size=8
    )
)
def test_damage_anywhere_is_a_fault_of_the_file_or_does_no_harm(kind, changes):
    data = bytearray(SOUND[kind])
    for place, value in changes:
        data[place % len(data)] = value
    try:
        _, said = convert(BytesIO(data), limits=Limits(max_pixels=1 << 20))
    except FileFault as fault:
        assert fault.failure in Failure  # noqa: PT017 (both ends are right; what is not, is any other exception)
    else:
        assert said.width * said.height <= 1 << 20


@pytest.mark.parametrize("behind", [b"\n", bytes(7), bytes(3000), b"a note of the maker's", b"\xff" * 33])
@pytest.mark.parametrize("kind", SOUND)
def test_what_is_behind_a_whole_picture_does_not_matter(kind, behind):
    assert convert(BytesIO(SOUND[kind] + behind))[1] == convert(BytesIO(SOUND[kind]))[1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"hello, world\n",
        b"BM is how this text begins",
        b"P5 is another",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        bytes(500),
    ],
)
def test_what_no_allowed_format_recognises_is_not_an_image(data):
    assert failure_of(data) is Failure.NOT_IMAGE


@pytest.mark.parametrize("kind", ["png", "gif", "lossless webp", "lzw tiff"])
def test_noise_in_the_middle_is_corrupt(kind):
    data = bytearray(SOUND[kind])
    middle = len(data) // 2
    data[middle : middle + 200] = b"\xff\xfe" * 100
    assert failure_of(data) in {Failure.CORRUPT, Failure.TRUNCATED}


@pytest.mark.parametrize(
    ("kind", "name"), [("png", b"IDAT"), ("palette", b"IDAT"), ("apng", b"fdAT"), ("apng", b"fcTL"), ("png", b"IEND")]
)
def test_a_flipped_bit_in_the_pixels_of_a_png_or_behind_them_is_corrupt(kind, name):
    data = SOUND[kind]
    start = data.rindex(name) + 4
    (length,) = struct.unpack_from(">I", data, start - 8)
    for place in range(start, start + length + 4, max(1, length // 60)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        assert failure_of(damaged) is Failure.CORRUPT, place


def test_a_jpeg_of_twelve_bits_is_unsupported():
    data = SOUND["jpeg"]
    at = data.index(b"\xff\xc0") + 4
    assert failure_of(data[:at] + b"\x0c" + data[at + 1 :]) is Failure.UNSUPPORTED


def test_a_plain_tiff_with_a_colour_for_several_pixels_is_unsupported_and_not_misread():
    data = encoded("TIFF", mode="YCbCr", tiffinfo={530: (2, 2)})
    assert failure_of(data) is Failure.UNSUPPORTED


def of_sixteen_bits(picture):
    """Return a JPEG 2000 of 256 times as many levels: its steps are shares of the whole, however fine that is."""
    file = BytesIO()
    picture.save(file, "JPEG2000", no_jp2=True, irreversible=True)
    data = bytearray(file.getvalue())
    bands = slice(42, 42 + 3 * len(picture.getbands()), 3)
    assert set(data[bands]) == {7}
    data[bands] = bytes([15]) * len(picture.getbands())
    return bytes(data)


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
def test_a_deep_jpeg_2000_whose_white_may_have_become_black_is_unsupported(mode):
    picture = Image.new(mode, (36, 28), (255,) * len(mode))
    picture.paste((0,) * len(mode), (0, 0, 18, 28))  # beyond an edge as sharp, levels overshoot white
    fault = fault_of(of_sixteen_bits(picture))
    assert "save it with 8 bits" in str(fault)
    assert fault.failure is Failure.UNSUPPORTED


def test_a_deep_jpeg_2000_without_nearly_white_or_black_is_read():
    encoded, _ = convert(BytesIO(of_sixteen_bits(Image.new("RGB", (36, 28), (90, 90, 90)))))
    with Image.open(BytesIO(encoded)) as grey:
        assert grey.getextrema() == (90, 90)


@pytest.mark.parametrize("kind", ["tiff", "pages"])
def test_a_tiff_of_an_unknown_compression_is_unsupported_on_whichever_page(kind):
    before, value = SOUND[kind].rsplit(struct.pack("<HHI", TiffImagePlugin.COMPRESSION, 3, 1), 1)
    fault = fault_of(before + struct.pack("<HHII", TiffImagePlugin.COMPRESSION, 3, 1, 34712) + value[4:])  # JPEG 2000
    assert "unsupported compression, number 34712" in str(fault)
    assert fault.failure is Failure.UNSUPPORTED


def test_a_tiff_of_more_samples_than_pillow_reads_is_unsupported():
    three, seven = (struct.pack("<HHIHH", 277, 3, 1, samples, 0) for samples in (3, 7))
    assert SOUND["tiff"].count(three) == 1
    assert failure_of(SOUND["tiff"].replace(three, seven)) is Failure.UNSUPPORTED


def test_a_tiff_with_a_tag_beyond_its_end_is_truncated_and_loses_no_pages():
    data = bytearray(encoded("TIFF", frames=3, compression="tiff_lzw", tiffinfo={65000: "of a text"}))
    at = data.index(struct.pack("<HH", 65000, 2)) + 8
    struct.pack_into("<I", data, at, len(data))
    assert failure_of(bytes(data)) is Failure.TRUNCATED


def test_a_bigtiff_with_the_high_byte_first_is_unsupported_and_not_truncated():
    fault = fault_of(struct.pack(">2sHHHQQ", b"MM", 43, 8, 0, 16, 0))
    assert "unsupported order of bytes in a BigTIFF" in str(fault)
    assert fault.failure is Failure.UNSUPPORTED


def test_a_gif_whose_first_frame_reaches_beyond_what_a_gif_can_be_is_unsupported():
    data = SOUND["gif"]
    left = data.index(b"\x2c\0\0\0\0") + 1
    assert "65571 x 28" in str(fault := fault_of(data[:left] + b"\xff\xff" + data[left + 2 :]))
    assert fault.failure is Failure.UNSUPPORTED


@pytest.mark.parametrize("kind", SOUND)
def test_more_pixels_than_allowed_are_too_large(kind):
    assert failure_of(SOUND[kind], max_pixels=36 * 28 - 1) is Failure.TOO_LARGE
    assert convert(BytesIO(SOUND[kind]), limits=Limits(max_pixels=36 * 28))


@pytest.mark.parametrize("kind", ["jpeg", "moving gif", "avif"])
@pytest.mark.parametrize("allowed", [900, 400])  # Pillow refuses those beyond twice as much in another way
def test_what_is_too_large_says_how_large_and_what_to_do(kind, allowed):
    said = str(fault_of(SOUND[kind], max_pixels=allowed))
    assert said.endswith(f"1,008 pixels where {allowed} are allowed: raise `max_pixels` under [image]")


def test_what_needs_too_much_memory_says_how_much_and_what_to_do():
    said = str(fault_of(SOUND["png"], memory=64 << 20))
    assert "needs about 64 MiB" in said
    assert said.endswith("36 x 28 pixels where 64 are allowed: raise `memory` under [image]")


def test_libtiff_out_of_memory_is_no_damage_of_the_picture(monkeypatch):
    monkeypatch.setattr(
        TiffImagePlugin.TiffImageFile, "load", Mock(side_effect=OSError("decoder error -9 when reading image file"))
    )
    file = BytesIO()
    Image.new("L", (8, 8)).save(file, "TIFF", compression="tiff_lzw")
    with pytest.raises(FileFault) as fault:
        convert(file)
    assert fault.value.failure is Failure.MEMORY


def test_what_a_library_only_numbers_is_explained():
    data = bytearray(SOUND["lzw tiff"])
    data[20:60] = b"\xff" * 40
    assert str(fault_of(data)).endswith("open it elsewhere and save it anew")


@pytest.mark.parametrize("kind", SOUND)
def test_more_memory_than_allowed_is_refused_from_the_header(kind):
    assert failure_of(SOUND[kind], memory=64 << 20) is Failure.MEMORY


def test_a_picture_of_no_size_is_a_fault():
    data = bytearray(SOUND["bmp"])
    struct.pack_into("<ii", data, 18, 0, 0)
    assert failure_of(data) in {Failure.CORRUPT, Failure.NOT_IMAGE}


def test_a_tiff_of_strips_without_rows_is_corrupt():
    rows, none = (struct.pack("<HHLL", 278, 4, 1, count) for count in (28, 0))
    assert SOUND["tiff"].count(rows) == 1
    assert failure_of(SOUND["tiff"].replace(rows, none)) is Failure.CORRUPT


def test_a_link_of_a_tiff_that_is_no_whole_number_is_none():
    data = encoded("TIFF", tiffinfo={305: "a program"})
    text, link = struct.pack("<HHL", 305, 2, 10), struct.pack("<HHL", 34665, 5, 1)  # to EXIF, as a fraction
    assert convert(BytesIO(data.replace(text, link)))[1].frames == 1


def test_pages_that_lead_back_to_the_first_end_there():
    data = bytearray(SOUND["tiff"])
    page = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[page : page + 2], "little")
    struct.pack_into("<I", data, page + 2 + 12 * count, page)
    assert convert(BytesIO(data))[1].frames == 1


def test_an_offset_beyond_what_a_disk_can_hold_is_damage_and_no_error_of_the_disk(tmp_path):
    (tmp_path / "far.tif").write_bytes(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 1 << 50))
    with (tmp_path / "far.tif").open("rb", buffering=0) as source, pytest.raises(FileFault) as fault:
        convert(source)
    assert fault.value.failure in {Failure.CORRUPT, Failure.TRUNCATED}  # some disks can hold as much
    assert "Errno" not in str(fault.value)


@pytest.mark.parametrize("kind", SOUND)
def test_a_disk_that_cannot_be_read_is_no_fault_of_the_file(kind, tmp_path, monkeypatch):
    end = len(SOUND[kind]) // 2

    def readinto(stream, buffer):
        if stream.tell() >= end:
            raise OSError(errno.EIO, "Input/output error")
        return FileIO.readinto(stream, memoryview(buffer)[: end - stream.tell()])

    def readall(stream):
        while True:
            stream.readinto(bytearray(1 << 20))

    monkeypatch.setattr(Stream, "readinto", work._remembering(readinto))  # noqa: SLF001 (as all that reads is)
    monkeypatch.setattr(Stream, "readall", readall)
    (tmp_path / "source").write_bytes(SOUND[kind])
    with (
        (tmp_path / "source").open("rb") as source,
        (tmp_path / "draft").open("wb") as draft,
        pytest.raises(OSError, match="Input/output error"),
    ):
        work.work(process, "", source.fileno(), draft.fileno(), Limits(), lambda: None)


def test_the_callers_file_and_pillow_are_left_as_they_were():
    source, before = BytesIO(SOUND["png"]), Image.MAX_IMAGE_PIXELS
    convert(source)
    assert not source.closed
    assert before == Image.MAX_IMAGE_PIXELS
