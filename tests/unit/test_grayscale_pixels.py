"""What becomes of pixels: for every lossless format and mode exactly what Pillow's `convert` gives."""

import struct
import zlib
from io import BytesIO
from itertools import product

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageStat, TiffImagePlugin

from watcherd.model import Failure, FileFault, Limits
from watcherd.processors.grayscale import convert, reader, source, tiff, turbo

SIZE = (61, 43)


def band(angle):
    """Return one band of smooth values, another for each angle."""
    return Image.radial_gradient("L").resize((90, 90)).rotate(angle, expand=False).crop((0, 0, *SIZE))


def colours():
    return Image.merge("RGB", [band(0), band(35), band(70).point(lambda value: 255 - value)])


def deep():
    picture = Image.new("I;16", SIZE)
    picture.putdata([index * 25 % 65536 for index in range(SIZE[0] * SIZE[1])])
    return picture


def picture(mode):
    if mode == "I;16":
        return deep()
    if mode == "I":
        return deep().convert("I")
    if mode == "F":
        return band(0).convert("F")
    if mode == "P":
        return colours().quantize(50)
    if mode in {"RGBA", "LA"}:
        seen = colours()
        seen.putalpha(band(110))
        return seen.convert(mode)
    return colours().convert(mode)


def encoded(seen, name, **options):
    file = BytesIO()
    seen.save(file, name, **options)
    return file.getvalue()


def decoded(data):
    seen = Image.open(BytesIO(data))
    seen.load()
    return seen


LOSSLESS = [
    *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    ("PNG", "P", {"transparency": 7}),
    ("PNG", "P", {"transparency": bytes(range(0, 250, 5))}),
    ("PNG", "L", {"transparency": 100}),
    ("PNG", "RGB", {"transparency": (0, 0, 0)}),
    *(
        ("TIFF", mode, {"compression": compression})
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F")
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate")
    ),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "RGB", {"compression": "packbits"}),
    ("TIFF", "RGB", {"big_tiff": True}),
    ("TIFF", "RGBA", {"compression": "jpeg"}),
    ("TIFF", "LAB", {}),
    *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB")),
    *(("PPM", mode, {}) for mode in ("1", "L", "RGB", "I;16", "F")),
    *(("TGA", mode, {"rle": rle}) for mode in ("L", "LA", "P", "RGB", "RGBA") for rle in (False, True)),
    ("TGA", "1", {}),
    *(("JPEG2000", mode, {}) for mode in ("L", "LA", "RGB", "RGBA", "I;16")),
    ("JPEG2000", "RGB", {"no_jp2": True}),
    *(("WEBP", mode, {"lossless": True, "exact": True}) for mode in ("L", "RGB", "RGBA")),
    *(("GIF", mode, {}) for mode in ("1", "L", "P")),
]


@pytest.mark.parametrize(("name", "mode", "options"), LOSSLESS)
def test_a_lossless_picture_becomes_exactly_what_convert_gives(name, mode, options):
    data = encoded(picture(mode), name, **options)
    result, said = convert(BytesIO(data))
    source, seen = decoded(data), decoded(result)
    expected = (source.convert("RGB") if source.mode == "LAB" else source).convert(said.mode)
    assert (seen.format, seen.size, said.frames) == (name, source.size, 1)
    assert seen.convert(said.mode).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("name", "mode", "options", "grey"),
    [
        ("PNG", "RGB", {}, "L"),
        ("PNG", "P", {}, "L"),
        ("PNG", "P", {"transparency": 3}, "LA"),
        ("PNG", "RGB", {"transparency": (0, 0, 0)}, "LA"),
        ("PNG", "RGBA", {}, "LA"),
        ("PNG", "I;16", {}, "I;16"),
        ("TIFF", "I;16", {}, "I;16"),
        ("TIFF", "F", {}, "F"),
        ("TIFF", "CMYK", {}, "L"),
        ("PPM", "I;16", {}, "I"),
        ("TGA", "RGBA", {}, "LA"),
        ("WEBP", "RGBA", {}, "LA"),
        ("AVIF", "RGBA", {}, "LA"),
        ("AVIF", "RGB", {}, "L"),
        ("JPEG", "CMYK", {}, "L"),
    ],
)
def test_the_mode_keeps_transparency_and_depth(name, mode, options, grey):
    assert convert(BytesIO(encoded(picture(mode), name, **options)))[1].mode == grey


def test_a_deep_png_keeps_its_transparent_level():
    data = encoded(deep(), "PNG", transparency=25)
    assert decoded(convert(BytesIO(data))[0]).info["transparency"] == 25


def plain_tiff(order, bits, kind, content, compression=1):
    """Return a TIFF of one grey strip, put together by hand: Pillow writes none with the high byte first."""
    width, height = SIZE
    tags = {
        256: width,
        257: height,
        258: bits,
        259: compression,
        262: 1,
        273: 8 + 2 + 10 * 12 + 4,
        277: 1,
        278: height,
        279: len(content),
    }
    tags[339] = kind
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    mark = b"MM" if order == ">" else b"II"
    return mark + struct.pack(f"{order}HIH", 42, 8, len(tags)) + entries + bytes(4) + content


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("code", "kind"), [("H", 1), ("h", 2), ("i", 2), ("f", 3)])
def test_deep_grey_is_exact_in_either_order_of_bytes(order, code, kind, packed):
    values = [number * 25 % 30_000 for number in range(SIZE[0] * SIZE[1])]
    content = struct.pack(f"{order}{len(values)}{code}", *values)
    packing = (zlib.compress(content), 8) if packed else (content,)
    data = plain_tiff(order, 8 * struct.calcsize(code), kind, *packing)
    assert np.asarray(decoded(convert(BytesIO(data))[0])).ravel().tolist() == values


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_grey_of_8_bits_with_a_sign_keeps_it(order, packed):
    content = bytes(number % 256 for number in range(SIZE[0] * SIZE[1]))
    packing = (zlib.compress(content), 8) if packed else (content,)
    seen = decoded(convert(BytesIO(plain_tiff(order, 8, 2, *packing)))[0])
    assert (seen.tag_v2[339], seen.tobytes()) == ((2,), content)


def planes_tiff(order, bits, extra, *planes, meant=2, palette=()):
    """Return a TIFF of plain colours, or what else is `meant`, one plane behind the other: Pillow writes none."""
    count, size = len(planes), len(planes[0])
    tags = {256: SIZE[0], 257: SIZE[1], 258: [bits] * count, 259: 1, 262: meant}
    tags |= {273: [], 277: count, 278: SIZE[1]}
    tags |= (
        {279: [size] * count, 284: 2} | ({320: [*palette]} if palette else {}) | ({338: extra[0]} if extra else {})
    )
    lists = 8 + 2 + len(tags) * 12 + 4
    start = lists + (3 * count + len(palette)) * 4
    tags[273] = [start + number * size for number in range(count)]
    entries, beside = b"", b""
    for tag, value in tags.items():
        values = value if isinstance(value, list) else [value]
        place = values[0] if len(values) == 1 else lists + len(beside)
        beside += struct.pack(f"{order}{len(values)}I", *values) if len(values) > 1 else b""
        entries += struct.pack(f"{order}HHII", tag, 4, len(values), place)
    mark = b"MM" if order == ">" else b"II"
    return mark + struct.pack(f"{order}HIH", 42, 8, len(tags)) + entries + bytes(4) + beside + b"".join(planes)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("code", "BH")
@pytest.mark.parametrize(("extra", "mode"), [([], "RGB"), ([0], "RGB"), ([1], "RGBa"), ([2], "RGBA")])
def test_plain_colours_in_planes_are_exact_in_8_and_16_bits(order, code, extra, mode):
    seen = picture("RGBA").convert("RGBa") if mode == "RGBa" else picture("RGBA" if extra else "RGB")
    packing = f"{order}{SIZE[0] * SIZE[1]}{code}"
    levels = [[level * (257 if code == "H" else 1) for level in band.tobytes()] for band in seen.split()]
    planes = [struct.pack(packing, *values) for values in levels]
    result, said = convert(BytesIO(planes_tiff(order, 8 * struct.calcsize(code), extra, *planes)))
    expected = seen.convert("RGB") if extra == [0] else seen.convert("RGBA") if mode == "RGBa" else seen
    assert decoded(result).tobytes() == expected.convert(said.mode).tobytes()
    assert said.mode == ("L" if mode == "RGB" else "LA")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("extra", "mode", "meant", "palette"),
    [(1, "La", 1, ()), (2, "LA", 1, ()), (2, "LA", 3, [*range(0, 1 << 16, 257)] * 3)],
)
def test_grey_and_its_alpha_in_planes_are_exact(order, extra, mode, meant, palette):
    seen = picture("LA").convert(mode)
    planes = [seen.getchannel(band).tobytes() for band in seen.getbands()]
    result, said = convert(BytesIO(planes_tiff(order, 8, [extra], *planes, meant=meant, palette=palette)))
    assert (said.mode, decoded(result).tobytes()) == ("LA", seen.convert("LA").tobytes())


def test_lab_in_planes_is_what_it_is_in_one():
    seen = Image.merge("LAB", colours().split())
    levels, *signed = seen.split()
    planes = [levels, *(band.point(lambda value: value ^ 0x80) for band in signed)]
    result, _ = convert(BytesIO(planes_tiff("<", 8, [], *(plane.tobytes() for plane in planes), meant=8)))
    assert decoded(result).tobytes() == decoded(convert(BytesIO(encoded(seen, "TIFF")))[0]).tobytes()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_numbers_of_colours_may_begin_with_their_lowest_bit(bits):
    numbers, count = [*range(1 << bits)][-8 // bits :], 1 << bits
    row = int("".join(f"{number:0{bits}b}" for number in numbers)[::-1], 2)
    seen = Image.frombytes("P", (len(numbers), 1), bytes([row] * len(numbers)))
    seen.putpalette([level % count * 10 for level in range(256) for _ in "rgb"])  # the first reds are greens, too
    data = encoded(seen, "TIFF", tiffinfo={266: 2})
    for tag, before, after in ((258, (1, 8), (1, bits)), (320, (768,), (3 * count,))):
        entry = struct.Struct(f"<HH{len(before)}I")
        data = data.replace(entry.pack(tag, 3, *before), entry.pack(tag, 3, *after))
    assert decoded(convert(BytesIO(data))[0]).tobytes() == bytes(number * 10 for number in numbers)


@pytest.mark.parametrize("packed", [False, True])
def test_levels_of_32_bits_without_a_sign_are_exact_or_refused_and_never_below_black(packed):
    def tiff_of(values):
        content = struct.pack(f"<{len(values)}I", *values)
        return BytesIO(plain_tiff("<", 32, 1, *((zlib.compress(content), 8) if packed else (content,))))

    values = [0x7FFF_FFFF - number for number in range(SIZE[0] * SIZE[1])]
    assert np.asarray(decoded(convert(tiff_of(values))[0])).ravel().tolist() == values
    with pytest.raises(FileFault) as fault:
        convert(tiff_of([0x8000_0000, *values[1:]]))
    assert fault.value.failure is Failure.UNSUPPORTED


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("code", "kind"), [("H", 1), ("f", 3)])
def test_deep_grey_that_counts_down_from_white_does_not_become_its_negative(code, kind, packed):
    values = [number * 25 % 30_000 for number in range(SIZE[0] * SIZE[1])]
    content = struct.pack(f"<{len(values)}{code}", *values)
    packing = (zlib.compress(content), 8) if packed else (content,)
    data = plain_tiff("<", 8 * struct.calcsize(code), kind, *packing)
    black, white = (struct.pack("<HHII", 262, 4, 1, zero) for zero in (1, 0))
    seen = decoded(convert(BytesIO(data.replace(black, white)))[0])
    assert (seen.tag_v2[262], np.asarray(seen).ravel().tolist()) == (0, values)


@pytest.mark.parametrize("packed", [False, True])
def test_twelve_bits_become_sixteen_and_white_stays_white(packed):
    row = struct.pack(">Q", 0xFFF_800_001_000 << 16)[:6] * (SIZE[0] // 4) + bytes(2)  # two values in three bytes
    packing = (zlib.compress(row * SIZE[1]), 8) if packed else (row * SIZE[1],)
    seen = decoded(convert(BytesIO(plain_tiff("<", 12, 1, *packing)))[0])
    assert (seen.mode, [seen.getpixel((x, 42)) for x in range(4)]) == ("I;16", [0xFFFF, 0x8008, 16, 0])


def test_colours_of_a_tiff_that_are_written_in_8_bits_are_not_taken_for_black():
    source = colours().quantize(50)
    data = encoded(source, "TIFF")
    with Image.open(BytesIO(data)) as seen:
        deep = seen.tag_v2[320]
    small = struct.pack(f"<{len(deep)}H", *(level >> 8 for level in deep))
    result, _ = convert(BytesIO(data.replace(struct.pack(f"<{len(deep)}H", *deep), small)))
    assert decoded(result).tobytes() == source.convert("L").tobytes()


def test_of_a_png_with_deep_alpha_the_upper_bytes_are_kept():
    rows = b"\0\x12\x34\xff\xff\xab\xcd\x80\x01"  # no filter; grey and alpha twice, of 16 bits
    result, said = convert(BytesIO(png((2, 1), 16, 4, rows)))
    assert (said.mode, decoded(result).tobytes()) == ("LA", b"\x12\xff\xab\x80")


@pytest.mark.parametrize(
    ("depth", "colours", "row", "key"),
    [
        pytest.param(1, 0, b"\x80", (1,), id="1 bit"),
        pytest.param(2, 0, b"\xd0", (3,), id="2 bits"),
        pytest.param(4, 0, b"\xf1", (15,), id="4 bits"),
        pytest.param(8, 0, b"\xff\x01", (255,), id="8 bits"),
        pytest.param(8, 2, b"\x12\x34\x56\x12\x34\x57", (0x12, 0x34, 0x56), id="8 bits each"),
        pytest.param(16, 2, b"\x12\x34\x56\x78\x9a\xbc" + bytes(6), (0x1234, 0x5678, 0x9ABC), id="16 bits each"),
    ],
)
def test_the_transparent_level_of_a_png_is_so_whatever_its_depth(depth, colours, row, key):
    result, said = convert(BytesIO(png((2, 1), depth, colours, b"\0" + row, key)))
    assert (said.mode, decoded(result).getchannel("A").tobytes()) == ("LA", b"\0\xff")


def png(size, depth, colours, rows, key=()):
    """Return a PNG made by hand, as Pillow does not write all varieties; `key` is the transparent level or colour."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", *size, depth, colours, 0, 0, 0)),
        *([(b"tRNS", struct.pack(f">{len(key)}H", *key))] if key else ()),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    whole = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


def test_a_bmp_with_alpha_keeps_grey_and_alpha():
    source = picture("RGBA")
    blank = encoded(source, "BMP")
    masks = b"".join(mask.to_bytes(4, "little") for mask in (0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    head = blank[:10] + (122).to_bytes(4, "little") + (108).to_bytes(4, "little") + blank[18:30]
    data = head + (3).to_bytes(4, "little") + blank[34:54] + masks + bytes(52) + blank[54:]
    assert decoded(data).tobytes() == source.tobytes()
    result, said = convert(BytesIO(data))
    assert (said.mode, decoded(result).convert("LA").tobytes()) == ("LA", source.convert("LA").tobytes())


def test_a_gif_of_all_levels_keeps_its_hole():
    levels = Image.new("P", (16, 16))
    levels.putpalette(bytes(level for level in range(256) for _ in "rgb"))
    levels.putdata(range(256))
    result, said = convert(BytesIO(encoded(levels, "GIF", transparency=9, optimize=False)))
    seen = decoded(result).convert("LA")
    assert said.mode == "LA"
    assert [value == 0 for value in seen.getchannel("A").tobytes()] == [level == 9 for level in range(256)]
    assert seen.getchannel("L").tobytes()[10:] == bytes(range(10, 256))


@pytest.mark.parametrize(("mode", "grey"), [("L", "L"), ("LA", "LA"), ("RGB", "L"), ("RGBA", "LA")])
def test_colours_that_the_pixels_of_a_tga_do_not_use_are_ignored(mode, grey):
    data = bytearray(encoded(picture(mode), "TGA"))
    data[1], data[3:8] = 1, struct.pack("<HHB", 0, 2, 24)  # two colours of three bytes
    mapped = bytes(data[:18]) + b"\0\0\xff\xff\0\0" + bytes(data[18:])
    result, said = convert(BytesIO(mapped))
    assert (said.mode, decoded(result).tobytes()) == (grey, picture(mode).convert(grey).tobytes())


@pytest.mark.parametrize("gap", range(3))
def test_run_lengths_of_a_bmp_are_exact_or_refused_wherever_they_begin(gap):
    runs = (
        bytes([0, 3, 1, 2, 3, 0]) + bytes([1, 1]) + bytes([0, 1])
    )  # three, and a byte to make it even; one; the end
    greys = b"".join(bytes([level, level, level, 0]) for level in (0, 50, 100, 150))
    start = 14 + 40 + len(greys) + gap
    sizes = struct.pack("<IiiHHIIiiII", 40, 4, 1, 1, 8, 1, len(runs), 0, 0, 4, 0)
    data = struct.pack("<2sIII", b"BM", start + len(runs), 0, start) + sizes + greys + bytes(gap) + runs
    if gap % 2:
        with pytest.raises(FileFault) as fault:
            convert(BytesIO(data))
        assert fault.value.failure is Failure.UNSUPPORTED
    else:
        assert decoded(convert(BytesIO(data))[0]).tobytes() == bytes([50, 100, 150, 50])


@pytest.mark.parametrize(("flags", "mode"), [(0x20, "L"), (0x21, "LA")])
def test_a_bit_of_a_tga_that_is_not_said_to_be_of_transparency_is_none(flags, mode):
    header = struct.pack("<BBB5xHHHHBB", 0, 0, 2, 0, 0, 2, 4, 16, flags)
    result, said = convert(BytesIO(header + struct.pack("<HH", 0x8000 | 31 << 10, 31) * 4))
    assert (said.mode, decoded(result).getchannel("L").tobytes()) == (mode, bytes([76, 29] * 4))


@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF", "BMP"])
def test_the_format_is_the_contents_and_not_the_names(name):
    assert convert(BytesIO(encoded(picture("L"), name)))[1].format == name


def test_a_lossless_avif_stays_so():
    data = encoded(Image.effect_noise((64, 64), 60), "AVIF", quality=100)
    assert decoded(convert(BytesIO(data))[0]).tobytes() == decoded(data).tobytes()


@pytest.mark.parametrize(("name", "options"), [("WEBP", {}), ("AVIF", {}), ("JPEG2000", {"irreversible": True})])
def test_a_lossy_picture_stays_near_its_grey_one(name, options):
    data = encoded(picture("RGB"), name, **options)
    result, _ = convert(BytesIO(data))
    off = ImageChops.difference(decoded(result).convert("L"), decoded(data).convert("L"))
    assert ImageStat.Stat(off).mean[0] < 1.5


def codestream(bits, levels):
    """Return a JPEG 2000 of one row, of levels of so many bits: Pillow writes none of fewer than 8.

    They are coded as what they are above or below the middle, which is another with another number of bits.
    """
    middle = (1 << 7) - (1 << bits - 1)
    row = Image.frombytes("L", (len(levels), 1), bytes(middle + level for level in levels))
    data = bytearray(encoded(row, "JPEG2000", no_jp2=True, num_resolutions=1))
    data[42] = bits - 1
    return bytes(data)


def box(name, *parts):
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), name) + content


@pytest.mark.parametrize("bits", range(1, 9))
def test_white_stays_white_in_a_jpeg_2000_of_few_bits(bits):
    white = (1 << bits) - 1
    result, said = convert(BytesIO(codestream(bits, [0, white, white // 2])))
    assert (said.mode, decoded(result).tobytes()) == ("L", bytes([0, 255, round(white // 2 * 255 / white)]))


@pytest.mark.parametrize("bits", [4, 8])
def test_colours_of_a_jpeg_2000_are_found_by_few_bits(bits):
    greys = [level * 16 for level in range(16)]
    palette = struct.pack(">HB3B", 16, 3, 7, 7, 7) + bytes(grey for grey in greys for _ in "rgb")
    shape = struct.pack(">IIHBBBB", 1, 16, 1, bits - 1, 7, 0, 0)
    channels = b"".join(struct.pack(">HBB", 0, 1, number) for number in range(3))
    colour = struct.pack(">BBBI", 1, 0, 0, 16)
    head = box(b"ihdr", shape), box(b"colr", colour), box(b"pclr", palette), box(b"cmap", channels)
    mark = box(b"jP  ", b"\r\n\x87\n"), box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    data = b"".join((*mark, box(b"jp2h", *head), box(b"jp2c", codestream(bits, range(16)))))
    assert decoded(convert(BytesIO(data))[0]).tobytes() == bytes(greys)


def test_a_lossy_jpeg_2000_does_not_grow_whatever_is_before_its_pixels():
    noise = Image.effect_noise((600, 400), 60)
    data = encoded(noise, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[20])
    start = data.index(b"jp2c") - 4
    said = b"a map: \xff\x51 \xff\x52".ljust(70_000, b".")
    before = struct.pack(">I4s", 8 + len(said), b"xml ") + said
    data = data[:start] + before + data[start:]
    assert len(convert(BytesIO(data))[0]) <= len(data)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg", "raw"])
def test_a_tiff_keeps_its_compression(compression):
    data = encoded(picture("RGB"), "TIFF", compression=compression)
    assert decoded(convert(BytesIO(data))[0]).info["compression"] == compression


def test_a_tiff_keeps_its_predictor():
    data = encoded(picture("RGB"), "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    result, _ = convert(BytesIO(data))
    assert decoded(result).tag_v2[317] == 2
    assert decoded(result).tobytes() == decoded(data).convert("L").tobytes()


@pytest.fixture(params=["libturbojpeg.so.0", "libnothing.so.0"])
def library(request, monkeypatch, lacking):
    """Have a test pass with TurboJPEG, and without it."""
    monkeypatch.setattr(turbo, "LIBRARY", request.param)
    turbo.library.cache_clear()
    if turbo.library() is None and "turbo" in request.param:
        lacking("libturbojpeg is not installed")
    yield turbo.library()
    turbo.library.cache_clear()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("strip", [1 << 12, 1 << 30], ids=["many strips", "one strip"])
@pytest.mark.parametrize("size", [(1, 1), (61, 43), (2000, 131)])
@pytest.mark.parametrize("options", [{}, {"big_tiff": True}, {"tiffinfo": {274: 3}}, {"tiffinfo": {274: 6}}])
def test_plain_rows_become_grey_in_bands_as_they_do_together(monkeypatch, options, size, strip):
    monkeypatch.setattr(TiffImagePlugin, "STRIP_SIZE", strip)
    data = encoded(colours().resize(size), "TIFF", **options)
    bands = [convert(BytesIO(data))[0]]
    monkeypatch.setattr(tiff, "grey_of_strips", lambda *_: None)
    assert bands == [convert(BytesIO(data))[0]]


def test_turbojpeg_makes_of_every_colour_the_grey_that_pillow_makes(library):
    ramp = Image.frombytes("L", (256, 256), bytes(range(256)) * 256)
    steps = ramp.transpose(Image.Transpose.TRANSPOSE)
    for blue in range(256):
        pixels = Image.merge("RGB", [ramp, steps, Image.new("L", ramp.size, blue)]).tobytes()
        levels = bytearray(1 << 16)
        assert turbo.grey(pixels, 256, levels, 0) is (library is not None)
        assert library is None or levels == tiff.grey_by_pillow(pixels, 256)


@pytest.mark.parametrize("library", ["libturbojpeg.so.0"], indirect=True)
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("width", [*range(1, 70), 1824, 65_500])
def test_turbojpeg_writes_the_rows_that_it_is_given_and_no_byte_more(width):
    pixels = colours().resize((width, 3)).tobytes()
    levels = bytearray(b"x" * (width * 5))
    assert turbo.grey(pixels, width, levels, width)
    assert levels == b"x" * width + tiff.grey_by_pillow(pixels, width) + b"x" * width


@pytest.mark.parametrize("library", ["libturbojpeg.so.0"], indirect=True)
@pytest.mark.usefixtures("library")
def test_turbojpeg_writes_to_nothing_that_is_too_short():
    with pytest.raises(ValueError, match="Buffer size too small"):
        turbo.grey(bytes(30), 5, bytearray(12), 3)


def test_rows_that_are_too_long_for_turbojpeg_become_grey_all_the_same():
    data = encoded(colours().resize((65_501, 2)), "TIFF")
    assert decoded(convert(BytesIO(data))[0]).tobytes() == decoded(data).convert("L").tobytes()


def test_only_plain_rows_become_grey_in_bands():
    taken = {}
    for mode, compression in product(("RGB", "RGBA", "L", "CMYK"), ("raw", "tiff_lzw")):
        data = BytesIO(encoded(picture(mode), "TIFF", compression=compression))
        file = reader.Reader(data, Limits())
        with source.opened(file, "TIFF") as image:
            taken[mode, compression] = tiff.grey_of_strips(image, file) is not None
    assert [way for way, was in taken.items() if was] == [("RGB", "raw")]


def test_a_repetitive_png_is_searched_for_repetitions():
    board = Image.new("L", (400, 400))
    tile = Image.effect_noise((40, 40), 60)
    for index in range(100):
        board.paste(tile, (index % 10 * 40, index // 10 * 40))
    result, _ = convert(BytesIO(encoded(board.convert("RGB"), "PNG")))
    assert len(result) <= 1.05 * len(encoded(board, "PNG"))


@pytest.mark.parametrize(("sigma", "mode"), [(4, "L"), (60, "L"), (60, "RGBA"), (60, "I;16")])
def test_a_noisy_png_is_no_larger_than_a_thorough_one(sigma, mode):
    grain = Image.effect_noise((300, 200), sigma)
    seen = grain.convert(mode)
    result, said = convert(BytesIO(encoded(seen, "PNG")))
    assert decoded(result).tobytes() == seen.convert(said.mode).tobytes()
    assert len(result) <= 1.1 * len(encoded(seen.convert(said.mode), "PNG"))


def test_a_noisy_part_does_not_decide_for_the_whole_png():
    page = Image.new("L", (400, 1200), 255)
    page.paste(Image.effect_noise((400, 120), 60), (0, 540))
    result, _ = convert(BytesIO(encoded(page.convert("RGB"), "PNG")))
    assert len(result) <= 1.1 * len(encoded(page, "PNG"))
