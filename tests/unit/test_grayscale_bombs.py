"""Small files that would be immense, or lead astray: refused from the header, or worked on in little memory."""

import ctypes
import json
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from io import BytesIO

import pytest
from PIL import Image

from watcherd import heap
from watcherd.model import Failure, FileFault, Limits
from watcherd.processors.grayscale import bounds, convert

#: What a picture may take beside the interpreter and its libraries: less than any of these bombs would.
ROOM = 80 << 20

#: Converts the files that it is told on standard input, one a line, within `ROOM`, on what seems to be a machine of
#: many cores; tells what became of each.
CHILD = f"""
import json, os, resource, sys
os.sched_getaffinity = lambda _: range(64)
from watcherd.model import FileFault
from watcherd.processors.grayscale import convert
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + {ROOM}, size + {ROOM}))
for line in sys.stdin:
    with open(line.rstrip(), "rb") as source:
        try:
            said = [convert(source)[1].frames, ""]
        except FileFault as fault:
            said = [fault.failure, str(fault)]
    print(json.dumps(said), flush=True)
"""


@pytest.fixture(scope="module")
def narrow():
    """Start a process with little room."""
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        yield child
        child.stdin.close()


@pytest.fixture
def within_little_memory(narrow, tmp_path):
    """Return a function that has a file converted there: the number of frames, or its class, and the reason."""

    def convert_there(data):
        (tmp_path / "bomb").write_bytes(data)
        narrow.stdin.write(f"{tmp_path / 'bomb'}\n")
        narrow.stdin.flush()
        return json.loads(narrow.stdout.readline())

    return convert_there


def encoded(name, picture=None, **options):
    file = BytesIO()
    (picture or Image.linear_gradient("L").resize((64, 48)).convert("RGB")).save(file, name, **options)
    return file.getvalue()


def claiming(data, where, fmt, *sizes):
    """Return `data` with `sizes` packed behind the bytes `where`, wherever these are."""
    changed, at = bytearray(data), data.find(where)
    assert at >= 0
    while at >= 0:
        struct.pack_into(fmt, changed, at + len(where), *sizes)
        at = data.find(where, at + 1)
    return bytes(changed)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*chunks, size=(8, 8), frames=b""):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0))
    rows = zlib.compress(bytes(9) * 8, 9)
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", rows) + frames + chunk(b"IEND", b"")


def tiff(**sizes):
    """Return a sound TIFF of LZW whose tags of size say something else."""
    tags = {"width": 256, "height": 257, "rows": 278}
    data = bytearray(encoded("TIFF", compression="tiff_lzw"))
    page = int.from_bytes(data[4:8], "little")
    for entry in range(page + 2, page + 2 + 12 * int.from_bytes(data[page : page + 2], "little"), 12):
        for name, value in sizes.items():
            if int.from_bytes(data[entry : entry + 2], "little") == tags[name]:
                struct.pack_into("<HII", data, entry + 2, 4, 1, value)
    return bytes(data)


def across(side):
    """Return the sizes of a lossless WebP, whose bits they share."""
    return side - 1 | side - 1 << 14


#: By kind, what makes a file that says it is so many pixels wide and high, and holds next to nothing.
CLAIMS = {
    "jpeg": lambda side: claiming(encoded("JPEG"), b"\xff\xc0\0\x11\x08", ">HH", side, side),
    "progressive jpeg": lambda side: claiming(
        encoded("JPEG", progressive=True), b"\xff\xc2\0\x11\x08", ">HH", side, side
    ),
    "png": lambda side: png(size=(side, side)),
    "apng": lambda side: png(chunk(b"acTL", struct.pack(">II", 1 << 30, 0)), size=(side, side)),
    "gif": lambda side: claiming(encoded("GIF"), b"GIF87a", "<HH", side, side),
    "frame of a gif": lambda side: claiming(encoded("GIF"), b"\x2c\0\0\0\0", "<HH", side, side),
    "webp": lambda side: claiming(encoded("WEBP"), b"\x9d\x01\x2a", "<HH", side, side),
    "lossless webp": lambda side: claiming(encoded("WEBP", lossless=True), b"VP8L", "<IBI", 64, 0x2F, across(side)),
    "tiff": lambda side: tiff(width=side, height=side, rows=side),
    "bmp": lambda side: claiming(encoded("BMP"), b"\x28\0\0\0", "<ii", side, side),
    "ppm": lambda side: b"P5 %d %d 255\n" % (side, side) + bytes(100),
    "pbm": lambda side: b"P1 %d %d\n" % (side, side) + b"0 1 " * 10,
    "pfm": lambda side: b"Pf %d %d -1.0\n" % (side, side) + bytes(100),
    "tga": lambda side: claiming(encoded("TGA", compression="tga_rle"), b"\0\0\x0a" + bytes(9), "<HH", side, side),
    "jp2": lambda side: claiming(encoded("JPEG2000"), b"ihdr", ">II", side, side),
    "j2k": lambda side: claiming(encoded("JPEG2000", no_jp2=True), b"\xff\x51\0\x2f\0\0", ">II", side, side),
    "avif": lambda side: claiming(encoded("AVIF"), b"ispe\0\0\0\0", ">II", side, side),
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_claim_of_immense_size_is_refused_from_the_header(within_little_memory, kind):
    failure, reason = within_little_memory(CLAIMS[kind](16_000))
    assert failure == Failure.TOO_LARGE, reason


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_claim_of_the_largest_size_that_holds_nothing_is_a_fault_in_little_memory(within_little_memory, kind):
    failure, reason = within_little_memory(CLAIMS[kind](9_900))
    assert failure in {Failure.MEMORY, Failure.TRUNCATED, Failure.CORRUPT}, reason


@pytest.fixture(scope="module")
def zeros():
    """Return what unpacks to 200 MB."""
    return zlib.compress(bytes(200 << 20), 1)


@pytest.mark.parametrize(("kind", "head"), [(b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0")])
def test_what_unpacks_beyond_measure_beside_the_pixels_is_refused(within_little_memory, zeros, kind, head):
    failure, reason = within_little_memory(png(chunk(kind, head + zeros)))
    assert failure == Failure.TOO_LARGE
    assert "unpacks beyond measure" in reason


def test_texts_that_are_too_many_together_are_refused(within_little_memory):
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20), 9))
    assert within_little_memory(png(*[text] * 70))[0] == Failure.TOO_LARGE


@pytest.mark.parametrize(("room", "times"), [(65 << 20, 1), (1 << 30, 0)])
def test_a_picture_that_needs_most_of_the_memory_has_what_others_left_given_back_first(monkeypatch, room, times):
    given_back = []
    monkeypatch.setattr(heap, "give_back", lambda: given_back.append(1))
    convert(BytesIO(png()), limits=Limits(memory=room))
    assert len(given_back) == times


def test_pixels_that_unpack_to_more_than_the_picture_has_are_not_unpacked(within_little_memory, zeros):
    data = png()
    rows = data.index(b"IDAT") - 4
    assert within_little_memory(data[:rows] + chunk(b"IDAT", zeros) + chunk(b"IEND", b""))[0] == 1


# Libraries that word want of memory as damage, or as a picture that cannot be written ------------------------------

SHORT = {
    "canvas of a webp": lambda: encoded("WEBP", Image.new("L", (3300, 3300)), method=0),
    "lossless webp": lambda: encoded("WEBP", Image.new("L", (2000, 1500)), lossless=True, method=0),
    "dictionary of a tiff": lambda: encoded("TIFF", compression="lzma"),
}


@pytest.mark.parametrize("kind", SHORT)
def test_a_sound_picture_that_a_library_finds_no_room_for_is_short_of_memory(within_little_memory, kind):
    failure, reason = within_little_memory(SHORT[kind]())
    assert failure == Failure.MEMORY
    assert reason.endswith("raise `memory` under [image]")


def test_a_picture_takes_no_more_memory_on_a_machine_of_many_cores(within_little_memory):
    assert within_little_memory(encoded("AVIF"))[0] == 1


def damaged(data):
    middle = len(data) // 2
    return data[:middle] + b"\xff\xfe" * 100 + data[middle + 200 :]


DAMAGED = {
    "tiff": lambda: damaged(encoded("TIFF", compression="tiff_lzw")),
    "webp": lambda: damaged(encoded("WEBP", Image.effect_noise((64, 48), 60), lossless=True)),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_is_damage_also_behind_a_picture_that_was_short_of_memory(within_little_memory, kind):
    assert within_little_memory(SHORT["dictionary of a tiff"]())[0] == Failure.MEMORY
    assert within_little_memory(DAMAGED[kind]())[0] == Failure.CORRUPT


#: Converts its standard input in ever more room, and tells what became of each try.
WIDENING = """
import resource, sys
from io import BytesIO
from watcherd.model import FileFault
from watcherd.processors.grayscale import convert
data = sys.stdin.buffer.read()
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
for room in range(1 << 18, 6 << 20, 1 << 18):
    resource.setrlimit(resource.RLIMIT_AS, (size + room, resource.RLIM_INFINITY))
    try:
        convert(BytesIO(data))
    except FileFault as fault:
        print(fault.failure)
"""


def test_a_jpeg_2000_is_short_of_memory_wherever_its_decoder_is_refused_some():
    # At its end the decoder goes on after that error, at which Python raises one of its own.
    data = encoded("JPEG2000", Image.new("L", (1000, 800)))
    told = subprocess.run([sys.executable, "-c", WIDENING], input=data, stdout=subprocess.PIPE, check=True).stdout
    assert set(told.decode().split()) == {Failure.MEMORY}


@pytest.mark.parametrize(("asked", "failure"), [(1 << 62, Failure.MEMORY), (1, Failure.UNSUPPORTED)])
def test_an_encoder_that_was_refused_memory_is_short_of_it_whatever_it_says(monkeypatch, asked, failure):
    libc, film = ctypes.CDLL(None), encoded("AVIF")
    libc.malloc.argtypes = [ctypes.c_size_t]

    def save(*_, **__):
        libc.malloc(asked)
        raise RuntimeError("Failed to encode image: Encoding of color planes failed")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(FileFault) as fault:
        convert(BytesIO(film))
    assert fault.value.failure is failure


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_a_page_of_more_memory_or_pixels_than_allowed_is_refused_from_its_own_header(compression):
    pages = [Image.new("L", (8, 8)), Image.new("L", (1000, 1000))]
    file = BytesIO(encoded("TIFF", pages[0], save_all=True, append_images=pages[1:], compression=compression))
    assert convert(file, limits=Limits(memory=bounds.BASE + (5 << 20)))[1].frames == len(pages)
    with pytest.raises(FileFault, match="to decode 1000 x 1000 pixels") as fault:
        convert(file, limits=Limits(memory=bounds.BASE + (2 << 20)))
    assert fault.value.failure is Failure.MEMORY
    with pytest.raises(FileFault, match="1000 x 1000 = 1,000,000 pixels where 999,999 are allowed") as fault:
        convert(file, limits=Limits(max_pixels=999_999))
    assert fault.value.failure is Failure.TOO_LARGE


#: Tells how many bytes of address space the conversion of its standard input took.
MEASURED = """
import re, resource, sys
from io import BytesIO
from watcherd.processors.grayscale import convert
source = BytesIO(sys.stdin.buffer.read())
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
convert(source)
print(int(re.search(r"VmPeak:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024 - size)
"""


def taken_by(data):
    told = subprocess.run([sys.executable, "-c", MEASURED], input=data, stdout=subprocess.PIPE, check=True).stdout
    return int(told)


def test_the_header_of_a_transparent_jpeg_2000_asks_for_all_that_its_encoder_takes():
    # Where that is refused memory, it neither ends nor says so.
    data = encoded("JPEG2000", Image.new("RGBA", (1000, 1000)))
    assert taken_by(data) <= 1000 * 1000 * bounds.at_worst("JPEG2000")


def test_of_a_moving_png_four_pictures_of_four_bytes_a_pixel_are_held_at_most():
    shots = [Image.new("RGBA", (1500, 1500), (level, 0, 0, 99)) for level in range(3)]
    data = encoded("PNG", shots[0], save_all=True, append_images=shots[1:])
    assert taken_by(data) <= 1500 * 1500 * (4 * 4 + 1)


MANY, SIDE = 350, 500  # together more than there is room for


@pytest.mark.parametrize(
    ("name", "options"),
    [("GIF", {}), ("PNG", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True, "method": 0})],
)
def test_of_many_frames_one_is_held_at_a_time(within_little_memory, name, options):
    many = [Image.new("L", (SIDE, SIDE), number % 251) for number in range(MANY)]
    film = encoded(name, many[0], save_all=True, append_images=many[1:], **options)
    assert within_little_memory(film)[0] == MANY


def test_a_png_that_claims_frames_without_end_is_a_fault(within_little_memory):
    claim = chunk(b"acTL", struct.pack(">II", 0x7FFFFFFF, 0))
    failure, _ = within_little_memory(
        png(claim, chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 10, 0, 0)))
    )
    assert failure in {Failure.CORRUPT, Failure.TRUNCATED}


def test_a_tag_that_claims_more_than_the_file_holds_takes_no_memory(within_little_memory):
    data = bytearray(encoded("TIFF"))
    page = int.from_bytes(data[4:8], "little")
    struct.pack_into("<HHII", data, page + 2, 270, 2, 0xFFFFFFF0, 8)  # a description of 4 GB
    assert within_little_memory(bytes(data))[0] != Failure.MEMORY


# Several marks in one file ------------------------------------------------------------------------------------------

MARKS = {
    "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "GIF": b"GIF89a",
    "WEBP": b"RIFF\xff\0\0\0WEBPVP8 ",
    "TIFF": b"II*\0\x08\0\0\0\0\0",
    "BMP": b"BM" + bytes(12) + b"\x28\0\0\0",
    "JPEG2000": b"\xff\x4f\xff\x51",
    "AVIF": b"\0\0\0\x10ftypavif",
    "PPM": b"P5 8 8 255\n",
}


@pytest.fixture
def tried(monkeypatch):
    """Return the list of decoders that are asked to open a file."""
    tried = []

    def noted(name, decoder):
        return lambda *given: (tried.append(name), decoder(*given))[1]

    for name, (decoder, accepts) in list(Image.OPEN.items()):
        monkeypatch.setitem(Image.OPEN, name, (noted(name, decoder), accepts))
    return tried


@pytest.mark.parametrize("inner", ["PNG", "GIF", "JPEG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("outer", MARKS)
def test_the_first_mark_decides_and_no_other_decoder_is_tried(tried, outer, inner):
    with suppress(FileFault):
        _, said = convert(BytesIO(MARKS[outer] + encoded(inner)))
        assert said.format == outer
    assert set(tried) <= {outer}


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_what_follows_a_sound_picture_is_nothing_to_it(tried, name):
    archive = b"PK\x03\x04" + encoded("PNG") + b"%PDF-1.7\n<?php ?>"
    assert convert(BytesIO(encoded(name) + archive))[1].format == name
    assert tried == [name]
