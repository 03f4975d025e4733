"""JPEG: the luma plane of the source, at the quantisation of the source, by both ways to it."""

import struct
from io import BytesIO

import pytest
from PIL import Image, ImageChops, ImageFile, ImageFilter, ImageStat

from watcherd.model import Failure, FileFault
from watcherd.processors.grayscale import convert, turbo

PRIMARIES = ["red", "lime", "blue", "cyan", "magenta", "yellow", "white", "black"]


def scene():
    """Return smooth shapes with grain, as soft as interpolation in a camera leaves them."""
    bands = [Image.effect_noise((200, 150), 70).filter(ImageFilter.GaussianBlur(3)) for _ in "rgb"]
    sharp = Image.blend(Image.merge("RGB", bands), Image.effect_noise((200, 150), 30).convert("RGB"), 0.2)
    return sharp.filter(ImageFilter.GaussianBlur(0.8)).resize((400, 300), Image.Resampling.BICUBIC)


def stripes():
    """Return saturated primaries, where a conversion by way of RGB clips."""
    seen = Image.new("RGB", (256, 64))
    for index, colour in enumerate(PRIMARIES):
        seen.paste(colour, (index * 32, 0, index * 32 + 32, 64))
    return seen


def jpeg(seen, **options):
    file = BytesIO()
    seen.save(file, "JPEG", **options)
    return file.getvalue()


def luma(data):
    seen = Image.open(BytesIO(data))
    seen.draft("L", seen.size)
    seen.load()
    return seen


def off(one, other):
    return ImageStat.Stat(ImageChops.difference(one, other)).mean[0]


@pytest.fixture(autouse=True, params=["stored", "decoded"])
def way(request, monkeypatch, lacking):
    """Have every test pass with TurboJPEG, and without it."""
    take(request.param, monkeypatch)
    if request.param == "stored" and turbo.library() is None:
        lacking("libturbojpeg is not installed")
    yield request.param
    turbo.library.cache_clear()


def take(way, monkeypatch):
    monkeypatch.setattr(turbo, "LIBRARY", "libturbojpeg.so.0" if way == "stored" else "libnothing.so.0")
    turbo.library.cache_clear()


def by_both_ways(data, monkeypatch):
    """Return what each way makes of `data`: a result, or the class of its fault."""
    outcomes = []
    for way in ("stored", "decoded"):
        take(way, monkeypatch)
        try:
            outcomes.append(convert(BytesIO(data)))
        except FileFault as fault:
            outcomes.append(fault.failure)
    return outcomes


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [10, 50, 75, 90, 95])
@pytest.mark.parametrize("make", [scene, stripes])
def test_the_saved_luma_is_the_decoded_luma(make, quality, subsampling):
    data = jpeg(make(), quality=quality, subsampling=subsampling)
    assert off(luma(convert(BytesIO(data))[0]), luma(data)) < 0.05


@pytest.mark.parametrize("quality", [1, 30, 75, 98])
def test_the_quantisation_is_the_sources(quality):
    data = jpeg(scene(), quality=quality)
    seen, source = luma(convert(BytesIO(data))[0]), luma(data)
    assert seen.quantization == {0: source.quantization[0]}


@pytest.mark.parametrize("progressive", [False, True])
def test_progressive_stays_progressive(progressive):
    data = jpeg(scene(), progressive=progressive)
    assert ("progressive" in luma(convert(BytesIO(data))[0]).info) is progressive


def test_a_grey_jpeg_stays_what_it_is():
    data = jpeg(scene().convert("L"), quality=85)
    assert off(luma(convert(BytesIO(data))[0]), luma(data)) < 0.05


@pytest.mark.parametrize("options", [{"keep_rgb": True}, {}])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_picture_without_a_luma_plane_is_converted(mode, options):
    data = jpeg(scene().convert(mode), quality=95, **options)
    with Image.open(BytesIO(data)) as source:
        expected = source.convert("L")
    assert off(luma(convert(BytesIO(data))[0]), expected) < 2


def test_a_header_that_describes_no_plane_is_damage():
    data = jpeg(scene().convert("L"))
    length = data.index(b"\xff\xc0") + 3
    with pytest.raises(FileFault) as fault:
        convert(BytesIO(data[:length] + b"\x08" + data[length + 1 :]))
    assert fault.value.failure is Failure.CORRUPT


def test_of_several_pictures_in_one_file_the_first_is_the_picture():
    file = BytesIO()
    scene().save(file, "MPO", save_all=True, append_images=[stripes()])
    result, said = convert(file)
    assert (said.format, said.frames, luma(result).size) == ("JPEG", 1, (400, 300))
    assert luma(result).format == "JPEG"


def test_description_too_long_for_one_segment_is_left_out_but_for_the_orientation():
    exif = Image.Exif()
    exif[270], exif[274] = "x" * 60_000, 6
    block = exif.tobytes()
    parts = (block, b"Exif\0\0" + bytes(40_000))
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(part)) + part for part in parts)
    data = jpeg(scene())
    assert dict(luma(convert(BytesIO(data[:2] + segments + data[2:]))[0]).getexif()) == {274: 6}


# As it is stored ----------------------------------------------------------------------------------------------------


def grain(size):
    """Return what is hardest to quantise twice: full contrast from pixel to pixel."""
    return Image.merge("RGB", [Image.effect_noise(size, 90) for _ in "rgb"])


@pytest.mark.parametrize("way", ["stored"], indirect=True)  # the other rounds a second time
@pytest.mark.parametrize("size", [(400, 300), (33, 17), (8, 1), (1, 1)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [20, 90, 95, 98, 100])
def test_as_it_is_stored_the_luma_is_exactly_that_of_the_source(monkeypatch, quality, subsampling, size):
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 1 << 20)  # Pillow has too little room for this much grain
    for progressive in (False, True):
        data = jpeg(grain(size), quality=quality, subsampling=subsampling, progressive=progressive)
        assert off(luma(convert(BytesIO(data))[0]), luma(data)) == 0


@pytest.mark.parametrize("way", ["stored"], indirect=True)
def test_with_restart_markers_too_it_is_exact():
    data = jpeg(grain((200, 100)), quality=97, restart_marker_blocks=3)
    assert off(luma(convert(BytesIO(data))[0]), luma(data)) == 0


@pytest.mark.parametrize("way", ["stored"], indirect=True)
def test_both_ways_describe_a_picture_alike(monkeypatch):
    exif = Image.Exif()
    exif[0x0112], exif[270] = 6, "a hill"
    data = jpeg(scene(), exif=exif, dpi=(300, 200), comment=b"by hand", xmp=b"<x/>", progressive=True)
    stored, decoded = [Image.open(BytesIO(result)) for result, _ in by_both_ways(data, monkeypatch)]
    assert stored.info == decoded.info
    assert (stored.mode, stored.size, stored.getexif()) == (decoded.mode, decoded.size, decoded.getexif())
    assert stored.info["comment"] == b"by hand"


@pytest.mark.parametrize("way", ["stored"], indirect=True)
def test_both_ways_judge_damage_alike(monkeypatch):
    data = jpeg(scene(), quality=90)
    for cut in range(2, len(data), len(data) // 40):
        stored, decoded = by_both_ways(data[:cut], monkeypatch)
        assert stored == decoded, cut


@pytest.mark.parametrize("way", ["stored"], indirect=True)
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 8}])
def test_damage_that_shows_in_the_entropy_code_is_corrupt(monkeypatch, options):
    data = bytearray(jpeg(scene(), quality=90, **options))
    middle = len(data) // 2
    data[middle : middle + 6] = b"\xff\xd5\xff\xd2\xff\xd1"
    assert by_both_ways(bytes(data), monkeypatch)[0] is Failure.CORRUPT


@pytest.mark.parametrize("way", ["stored"], indirect=True)
def test_damage_is_corrupt_also_where_a_marker_stands_alone_between_the_headers(monkeypatch):
    data = jpeg(scene(), quality=90)
    data = data[:20] + b"\xff\xd0" + data[20:-2] + b"damage" * 9 + data[-2:]
    assert by_both_ways(data, monkeypatch)[0] is Failure.CORRUPT


def with_a_note_behind_a_thumbnail(data):
    thumbnail = jpeg(scene().resize((40, 30)))
    segment = struct.pack(">2sH", b"\xff\xe1", 2 + len(thumbnail)) + thumbnail
    return data[:20] + segment + b"and a note" + data[20:]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: data + bytes(500), id="zeros behind the end"),
        pytest.param(lambda data: data + b"\xff\xd8 and a note of the maker's", id="notes behind the end"),
        pytest.param(lambda data: data[:-2] + bytes(40) + data[-2:], id="zeros before the end"),
        pytest.param(lambda data: data[:-2] + b"\xff" * 40 + data[-2:], id="fill bytes before the end"),
        pytest.param(lambda data: data[:20] + bytes(9) + data[20:], id="zeros between headers"),
        pytest.param(lambda data: data[:20] + b"\xff" * 200_000 + b"\0" + data[20:], id="fill bytes between headers"),
        pytest.param(with_a_note_behind_a_thumbnail, id="notes between headers behind a thumbnail"),
        pytest.param(lambda data: data.replace(b"JFIF\0\1", b"JFIF\0\7"), id="an unknown JFIF"),
    ],
)
def test_oddities_of_real_cameras_pass(spoil):
    data = jpeg(scene(), quality=90)
    assert off(luma(convert(BytesIO(spoil(data)))[0]), luma(data)) < 0.05


@pytest.mark.parametrize("garbage", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0", bytes(100)])
@pytest.mark.parametrize("way", ["stored"], indirect=True)
def test_what_turbojpeg_cannot_read_is_nothing_to_it(garbage):
    assert turbo.luma(garbage, progressive=False) is None


def test_a_luma_plane_smaller_than_the_picture_is_decoded():
    data = bytearray(jpeg(scene(), subsampling="4:4:4"))
    frame = data.index(b"\xff\xc0")
    assert data[frame + 11] == 0x11  # the sampling of luma; that of the colours follow
    data[frame + 14] = 0x22
    try:
        result, _ = convert(BytesIO(bytes(data)))
    except FileFault:
        return  # nor does every decoder take this for a picture
    assert luma(result).size == (400, 300)
