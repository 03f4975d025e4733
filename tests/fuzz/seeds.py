"""The seed corpora: small files of every kind, made anew each time. Run with `words` or `grayscale` and a folder."""

import codecs
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

SENTENCES = {
    "ascii": "The quick brown fox\tjumps\r\nover  the lazy dog.\n",
    "spaces": "a\u0085b\u00a0c\u1680d\u2000e\u200af\u2028g\u2029h\u202fi\u205fj\u3000k\x1cl\x1fm\n",
    "cyrillic": "Съешь же ещё этих мягких французских булок, да выпей чаю.\n",
    "german": "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg.\n",
    "japanese": "吾輩は猫である。名前はまだ無い。\n",
    "wide": "😀 𐍈 \U0010ffff \ud7ff \ue000\n",
}
MARKED = {
    "utf-8-sig": "utf-8-sig",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "utf-32-le": "utf-32-le",
    "utf-32-be": "utf-32-be",
}
OLDER = {"cyrillic": ("cp1251", "koi8-r"), "german": ("cp1252", "iso-8859-15"), "japanese": ("shift_jis", "euc-jp")}
MARKS = {
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


def words():
    """Yield (name, content) of texts in every encoding that is told apart."""
    for name, text in SENTENCES.items():
        yield name, text.encode()
        yield f"{name}-long", text.encode() * 40
        for encoding in MARKED:
            yield f"{name}-{encoding}", MARKS.get(encoding, b"") + text.encode(encoding)
        for encoding in OLDER.get(name, ()):
            yield f"{name}-{encoding}", text.encode(encoding) * 20
    yield "damaged", SENTENCES["german"].encode() * 30 + b"\xff\xc3" + b"plain words " * 40
    yield "binary", bytes(range(256))


def grayscale():
    """Yield (name, content) of pictures in every format, mode and kind of chunk that has code of its own."""
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield f"png-{mode}", encoded(mode, "PNG", dpi=(72, 72))
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"tga-{mode}", encoded(mode, "TGA", rle=mode != "1")
    for mode in ("1", "L", "P", "RGB"):
        yield f"bmp-{mode}", encoded(mode, "BMP")
    for mode in ("1", "L", "RGB", "I;16"):
        yield f"ppm-{mode}", encoded(mode, "PPM")
    for mode in ("L", "RGB", "CMYK"):
        yield f"jpeg-{mode}", encoded(mode, "JPEG", quality=80)
    yield "jpeg-progressive", encoded("RGB", "JPEG", progressive=True, exif=exif(), comment=b"a comment")
    yield "jpeg-444", encoded("RGB", "JPEG", subsampling=0, quality=95)
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"tiff-{compression}", encoded("RGB", "TIFF", compression=compression)
    for mode in ("1", "L", "P", "RGBA", "CMYK", "I;16", "F"):
        yield f"tiff-{mode}", encoded(mode, "TIFF")
    yield "tiff-group4", encoded("1", "TIFF", compression="group4")
    yield "tiff-big", encoded("RGB", "TIFF", big_tiff=True)
    yield "gif", encoded("P", "GIF", transparency=3)
    for name in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
        more = {"save_all": True, "append_images": [picture("RGB", turn) for turn in (1, 2)], "duration": 40}
        yield f"moving-{name}", encoded("RGB", name, **more)
    yield "webp", encoded("RGBA", "WEBP")
    yield "webp-lossless", encoded("RGBA", "WEBP", lossless=True, exif=exif())
    yield "avif", encoded("RGBA", "AVIF")
    yield "jp2", encoded("RGB", "JPEG2000")
    yield "j2k", encoded("L", "JPEG2000", no_jp2=True)


def picture(mode, turn=0):
    """Return a small picture with edges, and with every value of its mode."""
    grey = Image.radial_gradient("L").resize((23, 17)).rotate(turn * 40)
    bands = [grey.rotate(angle) for angle in (0, 90, 180)]
    colours = Image.merge("RGB", bands)
    if mode in {"RGBA", "LA"}:
        colours.putalpha(grey.rotate(45))
    if mode == "I;16":
        return grey.convert("I").point(lambda value: value * 257).convert("I;16")
    return colours.quantize(16) if mode == "P" else colours.convert(mode)


def encoded(mode, name, **options):
    """Return a picture as the bytes of a file."""
    file = BytesIO()
    picture(mode).save(file, name, **options)
    return file.getvalue()


def exif():
    """Return an EXIF block that says how the picture is to be turned."""
    block = Image.Exif()
    block[0x0112] = 6
    return block.tobytes()


def write(seeds, folder):
    """Write one corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in seeds:
        (folder / name.replace(";", "")).write_bytes(content)


if __name__ == "__main__":
    write({"words": words, "grayscale": grayscale}[sys.argv[1]](), Path(sys.argv[2]))
