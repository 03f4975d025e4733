"""Words, lines and characters against Python's own decoder and `str.split`."""

import codecs
import gzip
import io
import json
import os
import random
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from watcherd.model import Failure, FileFault, Limits, Words
from watcherd.processors.reading import TextReader
from watcherd.processors.tally import Scratch, Tally
from watcherd.processors.words import count, process

SPACES = list(filter(str.isspace, map(chr, range(sys.maxunicode + 1))))
#: The first and last characters of each length, and neighbours of white space.
EDGES = [chr(code) for code in (0x41, 0x7F, 0x80, 0xA1, 0x7FF, 0x800, 0x168F, 0x2043, 0x3042, 0xD7FF, 0xE000, 0xFEFF)]
WIDE = [chr(code) for code in (0xFFFF, 0x10000, 0x1F600, 0x10FFFF)]
TEXTS = st.text(st.sampled_from(SPACES + EDGES + WIDE), max_size=60)
CHUNKS = st.integers(4, 17)
TRICKY = bytes.fromhex("E0 ED F0 F4 F5 C0 C1 C2 E1 E2 E3 FF 80 85 8F 90 9A 9F A0 BF 20 41 0A")
BYTES = st.lists(st.sampled_from(TRICKY), max_size=60).map(bytes)
MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
ORDER = "le" if sys.byteorder == "little" else "be"
RUSSIAN = (
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Широкая электрификация южных губерний даст мощный "
    "толчок подъёму сельского хозяйства. Поехали в город, чтобы купить хлеба и молока; погода была хорошая.\n"
)
JAPANESE = (
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n何でも薄暗いじめじめした所で泣いていた。\n"
)
CHINESE = "今天天气很好,我们去公园散步,看见许多花开了。\n学校的学生正在读书,老师说历史很重要。\n"
TAIWANESE = "臺灣的春天很溫暖,我們去公園散步,看見許多花開了。\n學校的學生正在讀書,老師說歷史很重要。\n"
GERMAN = "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg.\nDie Bäume blühen im Frühling.\n"


def expected(text, size, encoding="utf-8", invalid=0):
    return Words(
        words=len(text.split()),
        lines=text.count("\n"),
        characters=len(text),
        bytes=size,
        encoding=encoding,
        invalid_bytes=invalid,
    )


def counted(data, **options):
    return count(io.BytesIO(data), limits=Limits(**options))


def block_of(data):
    return np.frombuffer(bytearray(data), np.uint8)


@given(TEXTS.filter(lambda text: not text.startswith("\ufeff")), st.none() | CHUNKS)
def test_utf8_is_counted_as_python_splits_it(text, chunk):
    data = text.encode()
    options = {"chunk": chunk, "encoding": "utf-8"} if chunk else {}
    assert counted(data, **options) == expected(text, len(data))


@given(TEXTS, CHUNKS, st.sampled_from(sorted(MARKS)))
def test_a_mark_tells_the_encoding_and_is_no_character(text, chunk, encoding):
    data = MARKS[encoding] + text.encode(encoding)
    if encoding == "utf-16-le" and data.startswith(codecs.BOM_UTF32_LE):
        return  # that is UTF-32
    assert counted(data, chunk=chunk) == expected(text, len(data), encoding)


@given(BYTES, CHUNKS | st.just(64))  # in many blocks, and in one
def test_what_is_no_utf8_to_python_is_none_and_is_replaced_as_python_replaces_it(data, chunk):
    text, kept = data.decode(errors="replace"), data.decode(errors="ignore").encode()
    assert counted(data, chunk=chunk, encoding="utf-8") == expected(text, len(data), invalid=len(data) - len(kept))


@given(BYTES, CHUNKS, st.sampled_from(["shift_jis", "gb18030", "cp1251", "utf-16-be", "ascii"]))
def test_a_given_encoding_is_exact_across_chunks(data, chunk, encoding):
    words = counted(data, chunk=chunk, encoding=encoding)
    text = data.decode(encoding, "replace")
    assert (words.words, words.lines, words.characters) == (len(text.split()), text.count("\n"), len(text))


def test_every_lead_byte_takes_exactly_the_second_bytes_that_python_lets_it():
    scratch = Scratch(8)
    seconds = bytes.fromhex("41 7F 80 8F 90 9F A0 BF C0")
    for lead, second, more in product(range(0x80, 0x100), seconds, range(3)):
        data = bytes([lead, second]) + b"\x80" * more
        kept = data.decode(errors="ignore").encode()
        assert Tally(scratch).add(block_of(data)) == (kept == data), data.hex()


@given(st.lists(st.integers(0, 0x7F), min_size=1, max_size=60).map(bytes))
@example(bytes(range(0x80)))
def test_plain_text_is_counted_as_when_it_is_looked_at_closely(data):
    plain, close = Tally(Scratch(128)), Tally(Scratch(128))
    assert close.add(block_of("é ".encode()))  # what follows it is looked at
    for tally in (plain, close):
        assert tally.add(block_of(data))
    assert (plain.words, plain.lines, plain.characters) == (close.words - 1, close.lines, close.characters - 2)
    assert (plain.words, plain.lines) == (len(data.decode().split()), data.count(b"\n"))


@given(BYTES.filter(bool))
@example(b"ASCII, and then \xff")
def test_a_block_that_is_refused_is_as_it_was(data):
    tally, block = Tally(Scratch(len(data))), block_of(data)
    if not tally.add(block):
        assert block.tobytes() == data


@pytest.mark.parametrize("byte", range(0x80))
def test_each_byte_of_ascii_parts_words_or_does_not_as_python_has_it(byte):
    data = b"a" + bytes([byte]) + b"b c\n"
    tally = Tally(Scratch(8))
    assert tally.add(block_of(data))
    assert tally.words == len(data.decode().split())


def test_a_text_of_many_chunks_is_one_text():
    text = "".join(random.Random(1).choices([*SPACES, *EDGES[:8], *WIDE, "word"], k=700_000))
    assert counted(text.encode()) == expected(text, len(text.encode()))


def test_an_empty_file_has_no_words():
    assert counted(b"") == expected("", 0)


def test_a_file_is_counted_from_its_start(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"two words\n")
    with path.open("rb", buffering=0) as source:
        source.read(5)
        assert count(source).words == 2


@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        (RUSSIAN, "windows-1251", "cp1251"),
        (RUSSIAN, "koi8-r", "koi8-r"),
        (JAPANESE, "shift_jis", "cp932"),
        (CHINESE, "gb18030", "gb18030"),
        (TAIWANESE, "big5", "big5"),
    ],
)
def test_an_older_encoding_is_detected_and_counted(text, encoding, found):
    text *= 20
    data = text.encode(encoding)
    assert counted(data) == expected(text, len(data), found)


def test_western_text_is_read_in_an_encoding_that_gives_its_letters():
    data = (GERMAN * 5).encode("cp1252")
    words = counted(data)
    assert data.decode(words.encoding) == GERMAN * 5


def test_the_first_bad_byte_may_be_far_behind_the_start():
    data = (b"plain words " * 10_000) + (RUSSIAN * 1000).encode("windows-1251")
    text = data.decode("windows-1251")
    assert counted(data) == expected(text, len(data), "cp1251")


def test_less_than_one_bad_byte_in_a_thousand_is_damage():
    data = b"word " * 1000 + b"\xff" + b" word" * 1000
    assert counted(data) == expected(data.decode(errors="replace"), len(data), invalid=1)


def test_a_character_cut_off_at_the_end_is_damage():
    data = RUSSIAN.encode() + "я".encode()[:1]
    assert counted(data) == expected(data.decode(errors="replace"), len(data), invalid=1)


def test_a_stray_nul_is_a_character_of_the_text():
    assert counted(b"one\0two three\n").words == 2


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(random.Random(1).randbytes(5000), id="random"),
        pytest.param(gzip.compress(RUSSIAN.encode(), mtime=1), id="gzip"),
        pytest.param(b"%PDF-1.7\n1 0 obj\n", id="pdf"),
        pytest.param(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01", id="jpeg"),
        pytest.param(b"\x7fELF\x02\x01\x01" + bytes(57), id="elf"),
        pytest.param("no mark".encode("utf-16-le") * 9, id="utf-16 without a mark"),
        pytest.param(bytes(100_000), id="hole"),
        pytest.param(b"\x81\xfe\xff\x8d" * 20, id="no encoding"),
    ],
)
def test_what_is_binary_is_no_text(data):
    with pytest.raises(FileFault) as fault:
        counted(data)
    assert fault.value.failure is Failure.NOT_TEXT


@pytest.mark.parametrize(
    ("data", "told"),
    [(b"%PDF-1.7\n", "utf-16"), ("no mark".encode("utf-16-le") * 9, "utf-16"), (b"caf\xe9 \x02", "cp1252")],
)
def test_an_encoding_that_is_told_is_named_as_the_mend_where_it_is_one(data, told):
    with pytest.raises(FileFault, match="is no text") as fault:
        counted(data)
    mended = counted(data, encoding=told) if "`encoding`" in str(fault.value) else None
    assert (mended is None) == data.startswith(b"%PDF")


def test_what_is_binary_behind_its_first_chunk_is_no_text():
    with pytest.raises(FileFault) as fault:
        counted(b"words " * 10 + bytes(100), chunk=16)
    assert fault.value.failure is Failure.NOT_TEXT


def test_a_sample_from_the_middle_of_a_text_has_whole_words_alone():
    data = b"first " + b"abc def\n" * 20_000 + b"last"
    reader = TextReader(io.BytesIO(data), memoryview(bytearray(4096)), len(data), lambda: None)
    sample = reader.around(80_007)  # both ends of it are within words
    assert sample in data
    assert {*sample.split()} == {b"abc", b"def"}
    assert reader.around(9).startswith(b"first ")
    assert reader.around(len(data) - 1).endswith(b"last")


def test_a_file_of_the_largest_size_passes():
    assert counted(b"a" * 9, max_bytes=9).words == 1


def test_reading_a_place_twice_does_not_make_a_file_larger():
    data = b"word " * 2000 + b"\xff"
    assert counted(data, max_bytes=len(data)).invalid_bytes == 1


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_larger_file_is_refused(size):
    with pytest.raises(FileFault) as fault:
        counted(b"a" * size, max_bytes=size - 1)
    assert fault.value.failure is Failure.TOO_LARGE


def test_a_sparse_file_is_refused_before_it_is_read(tmp_path):
    calls = []
    with (tmp_path / "sparse.txt").open("w+b", buffering=0) as source:
        source.write(b"word " * 20_000)
        source.truncate(1 << 40)
        with pytest.raises(FileFault) as fault:
            count(source, limits=Limits(max_bytes=1 << 22), checkpoint=lambda: calls.append(1))
    assert fault.value.failure is Failure.TOO_LARGE
    assert len(calls) == 1


def test_the_checkpoint_ends_the_work_in_the_middle():
    calls = []

    def checkpoint():
        calls.append(1)
        if len(calls) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        count(io.BytesIO(b"word " * 1_000_000), checkpoint=checkpoint)


class OneLongLine:
    """A file of one line: a word of `size` bytes, `head` first, that nobody holds in memory."""

    def __init__(self, size, head=b""):
        self.size, self.position, self.head = size, 0, head

    def seek(self, offset, whence=os.SEEK_SET):
        """Go somewhere, as files do."""
        self.position = offset + (self.size if whence == os.SEEK_END else 0)
        return self.position

    def readinto(self, view):
        """Fill `view` with the one word."""
        size = min(len(view), self.size - self.position)
        view[:size] = (self.head[self.position :] + b"x" * size)[:size]
        self.position += size
        return size


@pytest.mark.parametrize("encoding", ["auto", "cp1251"])
def test_memory_does_not_grow_with_the_file(encoding):
    tracemalloc.start()
    try:
        words = count(OneLongLine(100 << 20), limits=Limits(encoding=encoding))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert words.words == 1
    assert peak < 16 << 20


@pytest.mark.parametrize(("encoding", "head"), [("utf-7", b"+"), ("unicode_escape", b"\\N{")])
def test_a_sequence_that_never_ends_is_refused_before_it_fills_the_memory(encoding, head):
    text = OneLongLine(8 << 20, head)
    with pytest.raises(FileFault, match="a sequence of more than 1,048,576 bytes"):
        count(text, limits=Limits(encoding=encoding))
    assert text.position < 4 << 20


def test_a_sequence_as_long_as_a_page_is_read_to_its_end():
    data = b"+" + b"MEIw" * 30_000 + b"- end"
    assert counted(data, encoding="utf-7").words == len(data.decode("utf-7").split())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_mark_is_no_character_where_the_encoding_is_given(encoding):
    data = "\ufeffa b".encode("utf-16-le")
    assert counted(data, encoding=encoding) == expected("a b", len(data), "utf-16-le")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_without_a_mark_a_given_encoding_has_the_order_that_python_gives_it(encoding):
    data = "two words".encode(encoding)[len("".encode(encoding)) :]
    assert counted(data, encoding=encoding) == expected(data.decode(encoding), len(data), f"{encoding}-{ORDER}")


def test_what_a_codec_of_python_fails_at_is_a_fault_of_the_file():
    with pytest.raises(FileFault, match="cannot be read as iso2022_jp") as fault:
        counted(b"plain \x1b$(hello world", encoding="iso2022_jp")
    assert fault.value.failure is Failure.NOT_TEXT


def test_threads_do_not_disturb_each_other():
    texts = [(character + " ") * 300_000 for character in "aßшか😀"]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(counted, [text.encode() for text in texts]))
    assert results == [expected(text, len(text.encode())) for text in texts]


def processed(data, name):
    content, _ = process(io.BytesIO(data), name=name, limits=Limits(), checkpoint=lambda: None)
    return content


def test_a_result_is_one_line_of_json_in_the_order_of_the_contract():
    line = processed("gut ß\n".encode(), "größe/a.txt")
    assert line.decode() == (
        '{"source": "größe/a.txt", "words": 2, "lines": 1, "characters": 6, "bytes": 7, "encoding": "utf-8"}\n'
    )


def test_an_undecodable_name_is_shown_and_kept_exactly():
    fields = json.loads(processed(b"a", os.fsdecode(b"a\xff.txt")))
    assert list(fields)[:2] == ["source", "source_b64"]
    assert (fields["source"], fields["source_b64"]) == ("a\ufffd.txt", "Yf8udHh0")


def test_bad_bytes_are_in_the_result():
    assert json.loads(processed(b"word " * 1000 + b"\xff", "a.txt"))["invalid_bytes"] == 1
