"""Which encoding from before Unicode a text was written in, told from a sample of its bytes.

Statistics need a page, and many texts are a line. So the shape of the bytes decides first: where two bytes each give
characters that are in use, side by side, the text is Chinese, Japanese or Korean; where whole words are beyond ASCII
it has another alphabet; where single letters stand among those of ASCII it is Latin. Characters that a language uses
most, as charset-normalizer lists them, tell encodings of one shape apart; what letters it has, those of Latin.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def _span(*ends: int) -> bytes:
    """Return the bytes from each first end to its last one."""
    pairs = zip(ends[::2], ends[1::2], strict=True)
    return bytes(byte for first, last in pairs for byte in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """An encoding of two bytes for a character.

    `usual` are the first bytes, and `second` the second ones, of signs and of characters in everyday use; `more` are
    frequent characters that the lists of `languages` miss. `rare` lowers the score of an encoding that few use.
    """

    name: str
    usual: bytes
    second: bytes
    languages: tuple[str, ...]
    more: str = ""
    rare: float = 0


@dataclass(frozen=True, slots=True)
class _Alphabet:
    """An encoding of one byte for a letter, of an alphabet other than Latin. `signs` occur in any language."""

    name: str
    letters: bytes
    signs: bytes
    languages: tuple[str, ...]
    rare: float = 0.1


_JAPANESE = ("Japanese", "Japanese—", "Japanese——")  # characters, katakana, hiragana
_TRADITIONAL = "這個們來為國說時會對過發後種經麼還進樣開從實學於現當沒動謝請問點見長東車書樂愛氣"
_SYLLABLES = "안녕세계나너우리와요네습니감합했있없것면만수보정주게라러"
_HIGH, _ANY = _span(0xA1, 0xFE), _span(0x40, 0xFE)

#: Of two that fit alike, the first.
_PAIRS = (
    _Pairs("gb18030", _span(0xA1, 0xA3, 0xB0, 0xD7), _HIGH, ("Chinese",)),
    _Pairs("big5", _span(0xA1, 0xC6), _ANY, ("Chinese",), _TRADITIONAL),
    _Pairs("cp932", _span(0x81, 0x83, 0x88, 0x97), _ANY, _JAPANESE),
    _Pairs("euc_kr", _span(0xA1, 0xA3, 0xB0, 0xC8), _HIGH, ("Korean",), _SYLLABLES),
    _Pairs("euc_jp", _span(0xA1, 0xA5, 0xB0, 0xCF), _HIGH, _JAPANESE, rare=0.2),
)

#: Quotes, dashes, the ellipsis, a hard space, and other signs where all code pages of Windows have them.
_SIGNS = bytes.fromhex("84 85 91 92 93 94 95 96 97 A0 A6 A7 A9 AB B0 BB")

#: The letters of each: in one piece, C0 to FF, and elsewhere.
_CYRILLIC = _span(0xC0, 0xFF) + bytes.fromhex("A8 AA AF B2 B3 B4 B8 BA BF")
_KOI8 = _span(0xC0, 0xFF) + bytes.fromhex("A3 B3")
_KOI8_MORE = _KOI8 + bytes.fromhex("A4 A6 A7 AD B4 B6 B7 BD")
_ARABIC = _span(0xC0, 0xFF) + bytes.fromhex("81 8D 8E 8F 90 98")

_ALPHABETS = (
    _Alphabet("cp1251", _CYRILLIC, _SIGNS + b"\xb9", ("Russian", "Ukrainian"), rare=0),
    _Alphabet("koi8-r", _KOI8, b"", ("Russian",)),
    _Alphabet("koi8-u", _KOI8_MORE, b"", ("Ukrainian",), rare=0.15),
    _Alphabet("cp866", _span(0x80, 0x9F, 0xA1, 0xAF, 0xE0, 0xF1), b"\xa0\xfc", ("Russian",)),
    _Alphabet("cp1253", _span(0xB8, 0xBA, 0xBC, 0xFE, 0xA2, 0xA2), _SIGNS, ("Greek",), rare=0.15),
    _Alphabet("cp1255", _span(0xE0, 0xFA), _SIGNS, ("Hebrew",)),
    _Alphabet("cp1256", _ARABIC, _SIGNS + b"\xa1", ("Arabic", "Farsi")),
    _Alphabet("cp874", _span(0xA1, 0xFB), b"\xa0", ("Thai",)),
)

WESTERN = "cp1252"

#: The letters beyond ASCII of languages that are written in each.
_LATIN = {
    WESTERN: (
        "äöüß",  # German
        "àâæçéèêëîïôœùûüÿ",  # French
        "áéíñóúüªº",  # Spanish
        "áâãàçéêíóôõúüªº",  # Portuguese
        "àèéìíîòóùúªº",  # Italian
        "àçèéíïòóúü",  # Catalan
        "áâäèéêëïîíóôöúûü",  # Dutch, Afrikaans
        "åäöéæø",  # the languages of Scandinavia, and Finnish
        "áæðéíóöúýþ",  # Icelandic
        "äöõüšž",  # Estonian
    ),
    "cp1250": (
        "áčďéěíňóřšťúůýž",  # Czech
        "áäčďéíĺľňóôŕšťúýž",  # Slovak
        "áéíóöőúüű",  # Hungarian
        "ąćęłńóśźż",  # Polish
        "ăâîşţ",  # Romanian
        "ćčđšž",  # Croatian, Bosnian, Slovene
    ),
    "cp1254": ("âçğıîöşûü",),  # Turkish
    "cp1257": ("ąčęėįšųūž", "āčēģīķļņšūž"),  # Lithuanian, Latvian
}

_SHAPE_OF_PAIRS, _SHAPE_OF_WORDS = 0.7, 0.95  # the least share that must have the shape
_LIKELY = 0.95  # the least score of an alphabet, as the shape alone is easily met
_PAGE = 8  # bytes beyond ASCII that are enough to tell
#: How much better than Western another Latin encoding has to fit: many letters of Spanish are also Czech.
_CLEARLY = 0.05

_HARD_SPACE = 0xA0  # in Windows' code pages; in KOI8 a line for frames, which hardly any text has

_WIDE = re.compile(r"[^\x00-\x7f]+")
_LATIN_LETTER = re.compile(rb"[A-Za-z]")
#: Within words these are signs to Windows, and letters to DOS or to a Mac of its time.
_NO_LETTERS = re.compile(
    rb"(?<=[A-Za-z])[\x80-\x84\x86-\x89\x8b\x8d\x8f-\x91\x93-\x95\x98\x99\x9b\x9d\xa1-\xa5](?=[A-Za-z\x80-\xff])"
)


def guess(sample: bytes) -> str:
    """Return Python's name of the encoding that best fits `sample`, which has bytes beyond ASCII and is not UTF-8."""
    scores = {page.name: _score_of_pairs(page, sample) for page in _PAIRS}
    scores |= {page.name: _score_of_words(page, sample) for page in _ALPHABETS}
    best = max(scores, key=scores.__getitem__)
    return codecs.lookup(best if scores[best] > 0 else _latin(sample)).name


# Two bytes for a character ------------------------------------------------------------------------------------------


def _score_of_pairs(page: _Pairs, sample: bytes) -> float:
    """Return the share of characters that are in use, and of frequent ones; 0 where too few are."""
    runs = _WIDE.findall(_decoded(sample, page.name))
    total = sum(map(len, runs))
    frequent = {*_frequent(page.languages), *page.more}
    shape = sum(_in_use(run, page, frequent) for run in runs)
    if not total or shape <= _SHAPE_OF_PAIRS * total:
        return 0
    return (shape + sum(char in frequent for run in runs for char in run)) / total - page.rare


def _in_use(run: str, page: _Pairs, frequent: set[str]) -> float:
    """Return how many characters of a run are in use. One alone proves nothing, unless it is frequent."""
    usual = sum(_usual(char, page) for char in run)
    return usual if len(run) > 1 or run in frequent else min(usual, 0)


def _usual(char: str, page: _Pairs) -> float:
    """Return 1 for a character in everyday use, less than 0 for one that a text in Latin makes more often."""
    first, *others = char.encode(page.name, "replace")
    if not others:
        return 0.5  # a narrow katakana, or no character at all
    return first in page.usual if others[0] in page.second and first != _HARD_SPACE else -1


# One byte for a letter ----------------------------------------------------------------------------------------------


def _score_of_words(page: _Alphabet, sample: bytes) -> float:
    """Return a half and how frequent the letters are, where whole words are of this alphabet; 0 elsewhere."""
    own = _own_words(page, sample)
    likeness = sum(_likeness(word.decode(page.name, "replace"), page) for word in own)
    score = 0.5 + likeness / max(sum(map(len, own)), 1)
    return score - page.rare if score >= _LIKELY else 0


def _own_words(page: _Alphabet, sample: bytes) -> list[bytes]:
    """Return the words of this alphabet, where nearly all beyond ASCII is in them; one letter alone is none."""
    high = _beyond_ascii(sample).translate(None, page.signs)
    words = re.findall(b"[A-Za-z" + re.escape(page.letters) + b"]+", sample)
    own = [word for word in words if not _LATIN_LETTER.search(word)]
    most = sum(map(len, own)) > _SHAPE_OF_WORDS * len(high) and len(max(own, key=len)) > 1
    return own if most and _HARD_SPACE not in high.translate(None, page.letters) else []


def _likeness(word: str, page: _Alphabet) -> float:
    """Return how frequent the letters of a word are, less those whose case is odd.

    In two encodings of one alphabet the small letters of each look like the capitals of the other.
    """
    ranks = _frequent(page.languages)
    odd = sum(before.islower() and after.isupper() for before, after in pairwise(word))
    return sum(ranks.get(letter, 0) for letter in word.lower()) - odd


# Latin --------------------------------------------------------------------------------------------------------------


def _latin(sample: bytes) -> str:
    high = _beyond_ascii(sample)
    if len(_NO_LETTERS.findall(sample)) > len(high.translate(None, _span(0x80, 0xBF))):
        return _dos_or_mac(sample)
    if len(high) < _PAGE:
        return WESTERN
    shares = {name: _share_of_letters(name, sample) for name in _LATIN}
    best = max(shares, key=shares.__getitem__)
    return best if shares[best] > max(shares[WESTERN] + _CLEARLY, _LIKELY) else WESTERN


def _share_of_letters(name: str, sample: bytes) -> float:
    """Return the share of letters beyond ASCII that are of one language, of that which has most of them."""
    letters = [letter for letter in _decoded(sample, name).lower() if letter > "\x7f" and letter.isalpha()]
    return max(sum(map(language.count, letters)) for language in _LATIN[name]) / max(len(letters), 1)


def _dos_or_mac(sample: bytes) -> str:
    """Return which of the two makes more sense of a sample; DOS's where both make as much."""
    from charset_normalizer import from_bytes  # noqa: PLC0415 (seldom needed, and a tenth of a second to import)

    best = from_bytes(sample, cp_isolation=["cp850", "mac_roman"]).best()
    return best.could_be_from_charset[0] if best else "cp850"


# What all share -----------------------------------------------------------------------------------------------------


@cache
def _frequent(languages: tuple[str, ...]) -> Mapping[str, float]:
    """Return what languages use most, from 1 for the most frequent down to nearly 0."""
    from charset_normalizer.constant import FREQUENCIES  # noqa: PLC0415 (the same)

    ranked = ((FREQUENCIES[language], len(FREQUENCIES[language])) for language in languages)
    return {char: 1 - rank / size for characters, size in ranked for rank, char in enumerate(characters)}


def _decoded(sample: bytes, encoding: str) -> str:
    """Decode a sample; return nothing where more than one byte in a thousand does not fit."""
    text = sample.decode(encoding, "replace")
    return text if text.count("\ufffd") * 1000 <= len(sample) else ""


def _beyond_ascii(sample: bytes) -> bytes:
    return sample.translate(None, bytes(range(0x80)))
