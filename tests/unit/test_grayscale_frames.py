"""Pictures of several frames: each one, as it is seen, for as long as it shows."""

import struct
import zlib
from io import BytesIO

import pytest
from PIL import GifImagePlugin, Image, ImageChops, ImageDraw, ImageSequence

from watcherd.model import Failure, FileFault
from watcherd.processors.grayscale import convert, tiff
from watcherd.processors.grayscale import frames as walk

DURATIONS = [50, 100, 150, 200, 250]


def frames(*, transparent):
    """Return a disc that moves and changes its colour."""
    shots = []
    for step in range(len(DURATIONS)):
        shot = Image.new("RGBA", (40, 30), (200, 30, 60, 0 if transparent else 255))
        colour = (40 * step, 90, 255 - 30 * step, 255)
        ImageDraw.Draw(shot).ellipse((step * 5, 5, step * 5 + 12, 20), fill=colour)
        shots.append(shot if transparent else shot.convert("RGB"))
    return shots


def moving(name, shots, **options):
    file = BytesIO()
    options = {"duration": DURATIONS, "loop": 3} | options
    shots[0].save(file, name, save_all=True, append_images=shots[1:], **options)
    return file.getvalue()


def film(data, mode):
    """Return every frame as seen: grey blended onto black, alpha, and duration."""
    seen = []
    with Image.open(BytesIO(data)) as image:
        for frame in ImageSequence.Iterator(image):
            shot = frame.convert(mode)
            alpha = shot.getchannel("A") if mode == "LA" else Image.new("L", shot.size, 255)
            grey = ImageChops.multiply(shot.getchannel("L"), alpha)
            seen.append((grey.tobytes(), alpha.tobytes(), frame.info.get("duration")))
    return seen


CASES = [
    *((name, clear, {"disposal": kind}) for name in ("GIF", "PNG") for clear in (False, True) for kind in (0, 1, 2)),
    *(("WEBP", clear, {"lossless": True}) for clear in (False, True)),
    *(("TIFF", clear, {"compression": "tiff_lzw"}) for clear in (False, True)),
]


@pytest.mark.parametrize(("name", "transparent", "options"), CASES)
def test_every_frame_is_the_grey_of_what_is_seen(name, transparent, options):
    data = moving(name, frames(transparent=transparent), **options)
    result, said = convert(BytesIO(data))
    assert said.frames == len(DURATIONS)
    assert film(result, said.mode) == film(data, said.mode)


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP"])
def test_loops_are_counted_as_before(name):
    with Image.open(BytesIO(convert(BytesIO(moving(name, frames(transparent=False))))[0])) as seen:
        assert seen.info["loop"] == 3


def outcome(data):
    try:
        return convert(BytesIO(data))
    except FileFault as fault:
        return fault.failure, str(fault)


STILL = moving("GIF", [Image.effect_noise((400, 300), 90)])
SPOILT = {
    "whole": STILL,
    "two frames": moving("GIF", frames(transparent=False)[:2], duration=50),
    "a comment behind": STILL[:-1] + b"\x21\xfe\x02hi\0;",
    "something behind": STILL + bytes(100),
    "no trailer": STILL[:-1],
    "no last block": STILL[:-2],
    "half of it": STILL[: len(STILL) // 2],
    "blocks that end early": STILL[: len(STILL) // 2] + b"\0;",
    "no pixels": STILL[:900] + b"\0;",
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_where_a_gif_ends_is_found_as_pillow_finds_it(monkeypatch, spoilt):
    found = outcome(SPOILT[spoilt])
    monkeypatch.setattr(walk, "_is_only_frame", lambda *_: False)
    assert found == outcome(SPOILT[spoilt])


def test_a_gif_of_one_frame_is_not_searched_for_another(monkeypatch):
    sought = []
    monkeypatch.setattr(GifImagePlugin.GifImageFile, "seek", lambda _, frame: sought.append(frame))
    assert convert(BytesIO(STILL))[1].frames == 1
    assert sought == []


def test_a_moving_avif_keeps_frames_and_durations():
    result, said = convert(BytesIO(moving("AVIF", frames(transparent=True))))
    assert said.frames == 5
    assert [duration for _, _, duration in film(result, "LA")] == DURATIONS


@pytest.mark.parametrize("name", ["GIF", "PNG"])
def test_two_colours_of_one_brightness_stay_two_frames(name):
    red, green = (Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 129, 5)))
    assert red.convert("L").tobytes() == green.convert("L").tobytes()
    result, _ = convert(BytesIO(moving(name, [red, green], duration=[70, 90])))
    assert [duration for _, _, duration in film(result, "L")] == [70, 90]


def test_a_change_of_grey_under_an_even_alpha_is_seen():
    shots = [Image.new("RGBA", (8, 8), (level, level, level, 128)) for level in (10, 200)]
    data = moving("PNG", shots, duration=[70, 90])
    assert film(convert(BytesIO(data))[0], "LA") == film(data, "LA")


@pytest.mark.parametrize("transparent", [False, True])
def test_a_png_keeps_the_picture_for_viewers_without_animation(transparent):
    shots = frames(transparent=transparent)
    data = moving("PNG", shots, default_image=True, duration=DURATIONS[1:])
    result, said = convert(BytesIO(data))
    with Image.open(BytesIO(result)) as seen:
        assert (seen.default_image, seen.n_frames, said.frames) == (True, 5, 5)
        assert seen.convert(said.mode).tobytes() == shots[0].convert(said.mode).tobytes()


HALF, GONE = b"\x64\x64\x64\x80", b"\xff\xff\xff\0"
COLOURS = [(b"PLTE", b"\xff\xff\xff\xff\0\0\x64\x64\x64\x09\x09\x09"), (b"tRNS", b"\xff\xff\x80\0")]


@pytest.mark.parametrize(
    ("palette", "white", "half", "gone"),
    [pytest.param([], b"\xff" * 4, HALF, GONE, id="RGBA"), pytest.param(COLOURS, b"\0", b"\2", b"\3", id="palette")],
)
def test_half_transparent_frames_of_a_png_are_laid_over_each_other_as_viewers_do(palette, white, half, gone):
    keep, clear, revert = range(3)  # as are "instead" and "over" of what was there
    shots = [
        (0, white * 2, keep, 0),
        (0, half + gone, revert, 1),
        (0, half, clear, 1),
        (0, half, keep, 1),
        (1, half, keep, 0),
    ]
    result, said = convert(BytesIO(apng(palette, shots, len(white))))
    assert [list(zip(grey, alpha, strict=True)) for grey, alpha in layers(result)] == [
        [(255, 255), (255, 255)],
        [(177, 255), (255, 255)],
        [(177, 255), (255, 255)],
        [(100, 128), (255, 255)],
        [(100, 128), (100, 128)],
    ]
    assert (said.mode, said.frames) == ("LA", len(shots))


@pytest.mark.parametrize(("size", "depth"), [pytest.param(3, 1, id="colours"), pytest.param(2, 2, id="16 bits")])
def test_opaque_frames_of_a_png_are_there_instead_of_what_they_are_laid_over(size, depth):
    keep, revert, over = 0, 2, 1
    shots = [(0, b"\x0a" * size * 2, keep, 0), (0, b"\x1e" * size, revert, over), (1, b"\x28" * size, keep, over)]
    with Image.open(BytesIO(convert(BytesIO(apng([], shots, size)))[0])) as image:
        seen = [frame.tobytes()[::depth] for frame in ImageSequence.Iterator(image)]
    assert seen == [b"\x0a\x0a", b"\x1e\x0a", b"\x0a\x28"]


@pytest.mark.parametrize(("palette", "grey"), [([], b"\x64" * 3), (COLOURS[:1], b"\2")], ids=["colours", "palette"])
def test_where_an_opaque_frame_of_a_png_was_cleared_away_it_is_black(palette, grey):
    clear, keep = 1, 0
    data = apng(palette, [(0, grey * 2, clear, 0), (1, grey, keep, 0)], len(grey))
    with Image.open(BytesIO(convert(BytesIO(data))[0])) as image:
        assert [frame.tobytes() for frame in ImageSequence.Iterator(image)] == [b"\x64\x64", b"\0\x64"]


@pytest.mark.parametrize(("disposal", "blend"), [(0, 1), (1, 0)], ids=["over", "cleared"])
def test_what_is_transparent_of_sixteen_bits_is_not_laid_over_others(disposal, blend):
    shots = [(0, b"\x0a\x0a" * 2, disposal, 0), (1, b"\x1e\x1e", 0, blend)]
    with pytest.raises(FileFault, match="frames of 16 bits") as fault:
        convert(BytesIO(apng([(b"tRNS", b"\x1e\x1e")], shots, 2)))
    assert fault.value.failure is Failure.UNSUPPORTED


@pytest.mark.parametrize("blend", [0, 1], ids=["instead", "over"])
def test_the_frames_of_an_interlaced_png_are_where_they_belong(blend):
    shots = [(0, b"\x0a\x14", 0, 0), (1, b"\x1e", 0, blend), (0, b"\x28", 0, blend)]
    ramp = [(b"PLTE", bytes(level for level in range(64) for _ in "rgb"))]
    with Image.open(BytesIO(convert(BytesIO(apng(ramp, shots, 1, interlaced=True)))[0])) as image:
        seen = [frame.tobytes() for frame in ImageSequence.Iterator(image)]
    assert seen == [b"\x0a\x14", b"\x0a\x1e", b"\x28\x1e"]


def layers(data):
    """Return the levels of each frame, and their alphas."""
    with Image.open(BytesIO(data)) as image:
        shots = [frame.convert("LA") for frame in ImageSequence.Iterator(image)]
    return [(shot.getchannel("L").tobytes(), shot.getchannel("A").tobytes()) for shot in shots]


def apng(palette, shots, size, *, interlaced=False):
    """Return an APNG of two pixels, of frames in its only row: from which one on, pixels, disposal and blending."""
    # Interlaced, the second pixel of a frame comes in a pass of its own, which begins with its filter as a row does.
    between = b"\0" if interlaced else b""
    depth, colours = {1: (8, 3), 2: (16, 0), 3: (8, 2), 4: (8, 6)}[size]  # by the bytes of a pixel
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 2, 1, depth, colours, 0, 0, interlaced)), *palette]
    chunks.append((b"acTL", struct.pack(">II", len(shots), 0)))
    for number, (left, pixels, disposal, blend) in enumerate(shots):
        place = (max(0, 2 * number - 1), len(pixels) // size, 1, left, 0)
        chunks.append((b"fcTL", struct.pack(">IIIIIHHBB", *place, 1, 10, disposal, blend)))
        packed = zlib.compress(b"\0" + pixels[:size] + (between if pixels[size:] else b"") + pixels[size:])
        chunks.append((b"fdAT", struct.pack(">I", 2 * number) + packed) if number else (b"IDAT", packed))
    whole = [(len(data), name, data, zlib.crc32(name + data)) for name, data in [*chunks, (b"IEND", b"")]]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(f">I4s{size}sI", size, *rest) for size, *rest in whole)


def test_each_page_keeps_its_own_compression_size_and_resolution():
    file = BytesIO()
    shots = Image.effect_noise((30, 20), 50), Image.effect_noise((50, 40), 50).convert("RGB")
    shots[0].encoderinfo = {"compression": "packbits", "dpi": (100, 100)}
    shots[1].encoderinfo = {"compression": "tiff_lzw", "dpi": (300, 200)}
    shots[0].save(file, "TIFF", save_all=True, append_images=[shots[1]])
    result, said = convert(file)
    assert (said.width, said.height, said.frames) == (30, 20, 2)
    with Image.open(BytesIO(result)) as seen:
        pages = [(page.size, page.info["compression"], page.info["dpi"]) for page in ImageSequence.Iterator(seen)]
    assert pages == [((30, 20), "packbits", (100, 100)), ((50, 40), "tiff_lzw", (300, 200))]


@pytest.mark.parametrize("options", [{}, {"transparency": 0}], ids=["opaque", "transparent"])
def test_a_frame_beyond_the_screen_of_a_gif_is_cut_to_it(options):
    small = moving("GIF", [Image.new("P", (8, 8))], **options)
    large = moving("GIF", [Image.new("L", (16, 16), 9)])
    second = large[large.index(b"\x2c\0\0\0\0\x10") :]  # from its descriptor to the end
    result, said = convert(BytesIO(small[:-1] + second))
    with Image.open(BytesIO(result)) as seen:
        assert (said.frames, said.width, said.height) == (2, 8, 8)
        assert [frame.size for frame in ImageSequence.Iterator(seen)] == [(8, 8)] * 2


def test_a_gif_may_have_a_ramp_of_greys_for_one_palette_and_colours_for_another():
    ramp = Image.frombytes("L", (16, 16), bytes(range(256)))
    result, said = convert(BytesIO(moving("GIF", [ramp, Image.new("RGB", (16, 16), "red")], duration=50)))
    with Image.open(BytesIO(result)) as seen:
        assert (said.frames, seen.convert("L").tobytes()) == (2, ramp.tobytes())


def square(level, left, disposal, hole=None):
    """Return a frame of a GIF with our own palette, of 8 x 8 pixels."""
    grey = bytes(convert(BytesIO(moving("GIF", [Image.new("L", (8, 8), level)])))[0])
    descriptor = grey.index(b"\x2c\0\0\0\0\x08")
    control = b"\x21\xf9\x04" + bytes([disposal << 2 | (hole is not None), 5, 0, hole or 0, 0])
    return control + b"\x2c" + bytes([left]) + grey[descriptor + 2 : -1]


def test_a_frame_of_a_gif_that_does_not_say_what_becomes_of_it_stays():
    ground = bytes(convert(BytesIO(moving("GIF", [Image.new("L", (24, 8), 200)])))[0])
    data = ground[:-1] + square(100, 0, 2) + square(50, 8, 0) + square(60, 16, 1) + b";"
    with Image.open(BytesIO(convert(BytesIO(data))[0])) as seen:
        levels = [[frame.convert("L").getpixel((x, 0)) for x in (8, 16)] for frame in ImageSequence.Iterator(seen)]
    assert levels == [[200, 200], [200, 200], [50, 200], [50, 60]]


def test_where_an_opaque_frame_of_a_transparent_gif_was_cleared_away_there_is_nothing():
    screen = bytes(convert(BytesIO(moving("GIF", [Image.new("L", (24, 8))])))[0])
    screen = screen[: screen.index(b"\x21\xf9\x04")]
    data = screen + square(9, 0, 1, hole=9) + square(100, 8, 2) + square(60, 16, 1) + b";"
    with Image.open(BytesIO(convert(BytesIO(data))[0])) as seen:
        alphas = [
            [frame.convert("LA").getpixel((x, 0))[1] for x in (8, 16)] for frame in ImageSequence.Iterator(seen)
        ]
    assert alphas == [[0, 0], [255, 0], [0, 255]]


@pytest.mark.parametrize("hole", [None, 9], ids=["opaque", "transparent"])
def test_the_numbers_of_a_frame_of_a_gif_without_any_palette_are_greys(hole):
    screen = struct.pack("<6sHHBBB", b"GIF89a", 8, 8, 0x70, 0, 0)
    head, tail = square(60, 0, 2).split(b"\x08\0\x08\0\0")
    own = head + b"\x08\0\x08\0\x87" + bytes(255 - level for level in range(256) for _ in "rgb") + tail
    data = screen + square(100, 0, 1, hole=hole) + own + square(9, 0, 1, hole=hole) + b";"
    result, said = convert(BytesIO(data))
    assert said.frames == 3
    with Image.open(BytesIO(result)) as seen:
        shots = [frame.convert("LA").getpixel((0, 0)) for frame in ImageSequence.Iterator(seen)]
    assert shots[:2] == [(100, 255), (195, 255)]
    assert shots[2][1] == (0 if hole else 255)


def test_the_frames_of_a_gif_share_one_palette():
    many = Image.new("L", (2, 2)), *(Image.new("L", (2, 2), index % 256) for index in range(1, 600))
    result, said = convert(BytesIO(moving("GIF", list(many), duration=10)))
    assert said.frames == 600
    assert len(result) < 600 * 60


def test_of_twice_as_many_pages_twice_as_much_is_read_again(monkeypatch):
    class Counting(BytesIO):
        reads = 0

        def read(self, size=-1):
            Counting.reads += 1
            return super().read(size)

    def work(pages):
        data = moving("TIFF", [Image.new("L", (2, 2), index) for index in range(pages)])
        Counting.reads = 0
        result, said = convert(BytesIO(data))
        assert (said.frames, film(result, "L")) == (pages, film(data, "L"))
        return Counting.reads

    monkeypatch.setattr(tiff.io, "BytesIO", Counting)
    assert work(100) < 2.2 * work(50)


TURNS = [
    pytest.param(b"irot\1", Image.Transpose.ROTATE_90, id="left"),
    pytest.param(b"irot\2", Image.Transpose.ROTATE_180, id="upside down"),
    pytest.param(b"irot\3", Image.Transpose.ROTATE_270, id="right"),
    pytest.param(b"imir\0", Image.Transpose.FLIP_TOP_BOTTOM, id="mirrored up and down"),
    pytest.param(b"imir\1", Image.Transpose.FLIP_LEFT_RIGHT, id="mirrored left and right"),
]


@pytest.mark.parametrize(("told", "turn"), TURNS)
def test_a_moving_avif_that_is_to_be_turned_stands_upright(told, turn):
    shots, exif = frames(transparent=False), Image.Exif()
    exif[271] = "a maker"
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    plain = moving("AVIF", shots, exif=exif, xmp=xmp, quality=100)
    assert plain.count(b"ccst\0") == 1  # what readers do without, and has room for what Pillow cannot write
    result, said = convert(BytesIO(plain.replace(b"ccst\0", told)))
    with Image.open(BytesIO(result)) as seen:
        assert (seen.size, seen.n_frames) == ((said.width, said.height), len(shots))
        assert (dict(seen.getexif()), seen.info["xmp"]) == ({271: "a maker", 274: 1}, xmp.replace(b"6", b"1"))
        for shot, frame in zip(shots, ImageSequence.Iterator(seen), strict=True):
            off = ImageChops.difference(frame.convert("L"), shot.convert("L").transpose(turn))
            assert off.getextrema()[1] < 8


def test_a_moving_avif_without_exif_gets_none_as_it_is_turned():
    plain = moving("AVIF", frames(transparent=False))
    with Image.open(BytesIO(convert(BytesIO(plain.replace(b"ccst\0", b"irot\1")))[0])) as seen:
        assert "exif" not in seen.info
