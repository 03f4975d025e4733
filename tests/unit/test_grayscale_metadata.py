"""What a grey picture keeps of its source's description, and what no longer holds."""

import struct
import zlib
from io import BytesIO

import pytest
from PIL import ExifTags, Image, ImageCms, ImageSequence, PngImagePlugin, TiffImagePlugin, TiffTags

from watcherd.processors.grayscale import convert

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
TURNED = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY = SRGB[:16] + b"GRAY" + SRGB[20:]
DESCRIBED = ["JPEG", "PNG", "WEBP", "AVIF"]


def exif(**more):
    block = Image.Exif()
    block[ExifTags.Base.Make] = "a maker"
    block[ExifTags.Base.Orientation] = 6
    block.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2020:01:02 03:04:05"
    block.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    for name, value in more.items():
        block[ExifTags.Base[name]] = value
    return block


def grey_of(name, *, mode="RGB", **options):
    """Return the result for a picture of that description, opened and loaded."""
    file = BytesIO()
    Image.effect_noise((40, 30), 60).convert(mode).save(file, name, **options)
    return reopened(file.getvalue())


def reopened(data):
    seen = Image.open(BytesIO(convert(BytesIO(data))[0]))
    seen.load()
    return seen


@pytest.mark.parametrize("name", DESCRIBED)
def test_exif_survives_with_its_orientation(name):
    block = grey_of(name, exif=exif()).getexif()
    assert (block[ExifTags.Base.Make], block[ExifTags.Base.Orientation]) == ("a maker", 6)
    assert block.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2020:01:02 03:04:05"
    assert block.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_a_tiff_keeps_exif_beside_any_compression(compression):
    block = exif(Orientation=1)
    for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        block[tag] = 0
    file = BytesIO()
    Image.effect_noise((40, 30), 60).save(file, "TIFF", exif=block)
    with Image.open(file) as uncompressed:
        assert uncompressed.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    data = bytearray(file.getvalue())
    seen = reopened(data if compression == "raw" else compressed(data, compression)).getexif()
    assert seen[ExifTags.Base.Make] == "a maker"
    assert seen.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2020:01:02 03:04:05"
    assert seen.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


def compressed(data, compression):
    """Point the directories of one TIFF out of another that is compressed, as other programs write it."""
    file = BytesIO()
    with Image.open(BytesIO(data)) as source:
        exif_at, gps_at = source.tag_v2[ExifTags.IFD.Exif], source.tag_v2[ExifTags.IFD.GPSInfo]
        tags = {ExifTags.Base.Make: "a maker", ExifTags.IFD.Exif: 1, ExifTags.IFD.GPSInfo: 2}
        info = source.tag_v2.__class__()
        for tag, value in tags.items():
            info[tag] = value
        source.load()
        plain = Image.frombytes("L", source.size, source.tobytes())
        plain.save(file, "TIFF", compression=compression, tiffinfo=info)
    out = bytearray(file.getvalue())
    return _directories_moved(out, data, {ExifTags.IFD.Exif: exif_at, ExifTags.IFD.GPSInfo: gps_at})


def _directories_moved(out, data, places):
    # Offsets inside a directory are absolute: with the other file behind padding to one multiple, they are shifted.
    shift = len(out) + len(out) % 2
    out += bytes(shift - len(out)) + data
    page = int.from_bytes(out[4:8], "little")
    for index in range(int.from_bytes(out[page : page + 2], "little")):
        at = page + 2 + 12 * index
        tag = int.from_bytes(out[at : at + 2], "little")
        if tag in places:
            out[at + 8 : at + 12] = (places[tag] + shift).to_bytes(4, "little")
    for place in places.values():
        _entries_shifted(out, place + shift, shift)
    return out


def _entries_shifted(out, page, shift):
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
    for index in range(int.from_bytes(out[page : page + 2], "little")):
        at = page + 2 + 12 * index
        kind, count = int.from_bytes(out[at + 2 : at + 4], "little"), int.from_bytes(out[at + 4 : at + 8], "little")
        if sizes[kind] * count > 4:
            offset = int.from_bytes(out[at + 8 : at + 12], "little") + shift
            out[at + 8 : at + 12] = offset.to_bytes(4, "little")


def test_a_tiff_keeps_what_it_says_of_itself_and_stands_upright():
    file = BytesIO()
    tags = {270: "a description", 305: "a program", 315: "an artist", 700: XMP, 274: 6}
    Image.effect_noise((40, 30), 60).save(file, "TIFF", tiffinfo=tags, compression="tiff_lzw")
    seen = reopened(file.getvalue())
    assert [seen.tag_v2[tag] for tag in (270, 305, 315, 700)] == ["a description", "a program", "an artist", XMP]
    assert (seen.size, 274 in seen.tag_v2) == ((30, 40), False)


@pytest.mark.parametrize(
    ("sound", "odd"),
    [
        pytest.param((305, 2, 10), (305, 7, 10), id="a text that is bytes"),
        pytest.param((305, 2, 10), (305, 4, 1), id="a text that is a number"),
        pytest.param((296, 3, 1, 2), (296, 3, 1, 9), id="a unit that there is not"),
    ],
)
def test_a_tag_that_libtiff_would_not_write_is_all_that_a_tiff_loses(sound, odd):
    file = BytesIO()
    tags = {270: "a description", 282: 300, 283: 150, 296: 2, 305: "a program"}
    Image.effect_noise((40, 30), 60).save(file, "TIFF", tiffinfo=tags, compression="tiff_lzw")
    before, after = (struct.pack("<HHLL"[: 1 + len(entry)], *entry) for entry in (sound, odd))
    assert file.getvalue().count(before) == 1
    seen = reopened(file.getvalue().replace(before, after)).tag_v2
    assert (seen[270], seen[282], seen[283]) == ("a description", 300, 150)
    assert (seen.get(296, 2), seen.get(305, "a program")) == (2, "a program")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_captions_that_photoshop_wrote_as_numbers_are_kept(compression):
    file, captions = BytesIO(), b"\x1c\2\x78\0\7caption"
    Image.effect_noise((40, 30), 60).save(file, "TIFF", tiffinfo={33723: captions}, compression=compression)
    of_bytes, of_numbers = struct.pack("<HHL", 33723, 7, 12), struct.pack("<HHL", 33723, 4, 3)
    assert file.getvalue().count(of_bytes) == 1
    assert reopened(file.getvalue().replace(of_bytes, of_numbers)).tag_v2[33723] == captions


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("tags", [{274: 6}, {274: 6, 700: TURNED}, {700: TURNED}, {274: 1, 700: TURNED}])
def test_nothing_turns_an_upright_tiff_once_more(tags, compression):
    file = BytesIO()
    tags |= {282: 300, 283: 150, 296: 2}
    Image.effect_noise((40, 30), 60).convert("RGB").save(file, "TIFF", tiffinfo=tags, compression=compression)
    with Image.open(file) as source:
        turned = source.getexif()[274] == 6
        expected = source.convert("L").tobytes()
    seen = reopened(file.getvalue())
    assert (seen.size, seen.info["dpi"]) == (((30, 40), (150, 300)) if turned else ((40, 30), (300, 150)))
    assert (seen.tobytes(), seen.getexif().get(274, 1)) == (expected, 1)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "BMP"])
def test_the_resolution_survives(name):
    assert [round(value) for value in grey_of(name, dpi=(300, 150)).info["dpi"]] == [300, 150]


def test_the_resolution_of_a_bmp_stays_unknown():
    assert "dpi" not in grey_of("BMP", dpi=(0, 0)).info


def png_of_pixels(across, down, frames):
    """Return a PNG whose pixels are wider than high, or the reverse, as programs for video write it."""
    file = BytesIO()
    shots = [Image.effect_noise((40, 30), 60) for _ in range(frames)]
    shots[0].save(file, "PNG", save_all=True, append_images=shots[1:], dpi=(72, 72))
    data, chunk = file.getvalue(), b"pHYs" + struct.pack(">IIB", across, down, 0)
    start = data.index(b"pHYs")
    return data[:start] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[start + len(chunk) + 4 :]


@pytest.mark.parametrize("frames", [1, 3])
def test_a_png_keeps_pixels_that_are_not_square(frames):
    assert reopened(png_of_pixels(64, 45, frames)).info["aspect"] == (64, 45)


@pytest.mark.parametrize("density", [(0, 64, 45), (0, 1, 1), (1, 300, 150), (2, 118, 59)])
@pytest.mark.parametrize("options", [{}, {"keep_rgb": True}], ids=["stored", "converted"])
def test_a_jpeg_keeps_the_resolution_that_jfif_has_with_its_unit_or_without(options, density):
    file, exif = BytesIO(), Image.Exif()
    exif[0x10F] = "a maker, and no resolution"
    Image.effect_noise((40, 30), 60).convert("RGB").save(file, "JPEG", exif=exif, **options)
    data = file.getvalue()
    if data[6:10] != b"JFIF":  # which Pillow leaves out of an RGB one
        data = data[:2] + b"\xff\xe0\0\x10JFIF\0\1\1" + bytes(7) + data[2:]
    info = reopened(data[:13] + struct.pack(">BHH", *density) + data[18:]).info
    assert (info["jfif_unit"], *info["jfif_density"]) == density


@pytest.mark.parametrize("name", [*DESCRIBED, "TIFF"])
def test_a_profile_for_colours_is_dropped(name):
    assert not grey_of(name, icc_profile=SRGB).info.get("icc_profile")


@pytest.mark.parametrize("name", [*DESCRIBED, "TIFF"])
def test_a_profile_for_grey_is_kept(name):
    assert grey_of(name, mode="L", icc_profile=GRAY).info["icc_profile"] == GRAY


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "AVIF"])
def test_xmp_survives(name):
    assert grey_of(name, xmp=XMP).info["xmp"] == XMP


@pytest.mark.parametrize(("name", "mode"), [("JPEG", "RGB"), ("JPEG", "CMYK"), ("GIF", "RGB"), ("JPEG2000", "RGB")])
def test_the_comment_survives(name, mode):
    assert grey_of(name, mode=mode, comment=b"a comment").info["comment"] == b"a comment"


@pytest.mark.parametrize("length", [9, 10, 65_504, 65_505])
def test_the_captions_of_a_jpeg_survive_and_its_thumbnail_does_not(length):
    captions = b"\x1c\2\x78" + length.to_bytes(2, "big") + bytes(length - 5)
    segments = b""
    for number, said in ((0x0404, captions), (0x040C, b"a thumbnail, in colour")):
        resource = struct.pack(">4sHHL", b"8BIM", number, 0, len(said)) + said + bytes(len(said) % 2)
        segments += struct.pack(">2sH", b"\xff\xed", 16 + len(resource)) + b"Photoshop 3.0\0" + resource
    assert grey_of("JPEG", extra=segments).info["photoshop"] == {0x0404: captions}


def test_a_png_keeps_its_texts_and_its_tone_curve():
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Title", "a title")
    chunks.add_itxt("Note", "naïve ☃", lang="en")
    chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
    chunks.add(b"gAMA", (45455).to_bytes(4, "big"))
    chunks.add(b"sRGB", b"\1")
    seen = grey_of("PNG", pnginfo=chunks)
    assert (seen.text["Title"], seen.text["Note"], seen.text["Note"].lang) == ("a title", "naïve ☃", "en")
    assert (seen.info["xmp"], seen.info["gamma"], seen.info["srgb"]) == (XMP, 0.45455, 1)


@pytest.mark.parametrize("key", ["transparency", "duration", "loop", "dpi", "icc_profile", "exif", "gamma", "srgb"])
@pytest.mark.parametrize("said", ["trust me", "72"])
def test_a_text_of_a_png_is_never_taken_for_more_than_a_text(key, said):
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(key, said)
    seen = grey_of("PNG", pnginfo=chunks)
    assert (seen.mode, seen.text[key]) == ("L", said)
    assert seen.info[key] in {said, said.encode()}


@pytest.mark.parametrize(
    "damage", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_is_dropped_and_the_picture_kept(name, damage):
    assert not grey_of(name, exif=damage).getexif()


def oddly_typed(orientation_tag, orientation):
    """Return an EXIF block with an orientation, and a unit of the resolution as a text, which should be a number."""
    turned = struct.pack("<HHLHH", orientation_tag, 3, 1, orientation, 0)
    return b"II*\0" + struct.pack("<LH", 8, 2) + turned + struct.pack("<HHL4s", 296, 2, 4, b"dpi") + bytes(4)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_a_value_of_another_type_than_its_tag_does_not_cost_the_orientation(name):
    assert grey_of(name, exif=b"Exif\0\0" + oddly_typed(274, 6)).getexif()[274] == 6


@pytest.mark.parametrize("said", [1, 6])
@pytest.mark.parametrize("orientation", [1, 6])
def test_an_avif_too_keeps_its_orientation_beside_a_value_of_another_type_than_its_tag(orientation, said):
    block, file = Image.Exif(), BytesIO()
    block[ExifTags.Base.ImageDescription] = "of the size"
    sound = block.tobytes().removeprefix(b"Exif\0\0")
    block[ExifTags.Base.Orientation] = orientation  # Pillow writes it elsewhere, where it holds
    Image.effect_noise((40, 30), 60).save(file, "AVIF", exif=block)
    data = file.getvalue().replace(sound, oddly_typed(274, said))
    assert data != file.getvalue()
    assert reopened(data).getexif().get(274, 1) == orientation


def test_the_thumbnail_which_is_in_colour_is_cut_off():
    block = exif().tobytes()
    first = 6 + 8  # of the block: its mark, then the header
    count = int.from_bytes(block[first : first + 2], "big" if block[6:8] == b"MM" else "little")
    link = first + 2 + 12 * count
    order = "big" if block[6:8] == b"MM" else "little"
    thumbnail = (0).to_bytes(2, order) + bytes(4)
    linked = block[:link] + (len(block) - 6).to_bytes(4, order) + block[link + 4 :] + thumbnail
    kept = grey_of("JPEG", exif=linked).info["exif"]
    assert kept == linked[:link] + bytes(4) + linked[link + 4 :]


def test_a_tga_keeps_its_order_of_rows_and_its_name():
    seen = grey_of("TGA", orientation=1, id_section=b"a name")
    assert (seen.info["orientation"], seen.info["id_section"]) == (1, b"a name")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_the_pages_of_a_tiff_keep_their_numbers(compression):
    file, shots = BytesIO(), [Image.effect_noise((40, 30), 60) for _ in range(3)]
    options = {"compression": compression, "tiffinfo": {297: (0, 3), 305: "a program"}}
    shots[0].save(file, "TIFF", save_all=True, append_images=shots[1:], **options)
    before, *pages = file.getvalue().split(struct.pack("<HHL", 297, 3, 2))
    numbered = [struct.pack("<HHLHH", 297, 3, 2, at, 3) + page[4:] for at, page in enumerate(pages)]
    seen = reopened(before + b"".join(numbered))
    assert [page.tag_v2[297] for page in ImageSequence.Iterator(seen)] == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("number", [1, (1, 2, 3), (1, 70_000)])
def test_a_number_of_a_page_that_is_none_is_dropped(number):
    file, tags = BytesIO(), TiffImagePlugin.ImageFileDirectory_v2()
    tags[297], tags[305], tags.tagtype[297] = number, "a program", TiffTags.LONG
    Image.effect_noise((40, 30), 60).save(file, "TIFF", tiffinfo=tags)
    seen = reopened(file.getvalue()).tag_v2
    assert (seen.get(297), seen[305]) == (None, "a program")
