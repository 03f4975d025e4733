"""Texts from before Unicode, a word or a line, are read as they were written."""

import encodings
import io
import pkgutil
import random
from string import ascii_letters

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from watcherd.model import Failure, FileFault, Limits
from watcherd.processors.words import count
from watcherd.settings import ConfigurationError, load

#: Everyday phrases between bars, few of them long enough for statistics.
PHRASES = {
    "cp1252": (
        "él café\n|über élève|él.|café|à|é\n|Ü|ÄÖÜ\n|ÉTÉ|À BIENTÔT, NOËL\n|naïve café\n|Où est-ce?\n|"
        "Grüße aus München|Straße 12\nKöln\n|São Paulo, 12\n|Smörgåsbord på bordet\n|"
        "¿Qué tal? Mañana será otro día.\n|½ cup of sugar\nand 1 cup of flour\n|temp: 20°C\n|£5|5 µm ± 0,1|"
        "© 2020 Foo|name;city\nJosé;Bogotá\nAna;Lima\n|“quoted” text — here|It’s a dog’s life\n|€ 20,00\n|"
        "10 € pour le cœur\n|«\xa0Bonjour\xa0»\n|30\xa0000\xa0€\n|Ærø og Åland\n|Voilà… c’est tout\n|"
        "Fußgängerübergänge\n|être ou ne pas être|«Éric»|Coração|El niño comió piña\n|…|–|"
        "El señor Søren también pidió café, allí, en Málaga, así: «naïf»\n|"
        "José;Bogotá\nFrançois;Orléans\nJürgen;Köln\nØystein;Tromsø\nMária;Málaga\nÅsa;Malmö\n"
    ),
    "cp1251": (
        "Привет|Привет мир\n|Москва, Россия\n|Да|да|Я иду домой.\n|Как дела? Хорошо!\n|ПРИВЕТ МИР|"
        "«Война и мир»\n|Что это — «кот»?\n|Договор № 5\n|Hello, мир!\n|Ёлка\n|Добрий день, друже\n"
    ),
    "koi8-r": "Привет|Привет мир\n|Да|дела|Я иду домой.\n|Как дела? Хорошо!\n|ПРИВЕТ МИР|Доброе утро\n",
    "cp932": (
        "日本|はい|こんにちは 世界\n|テスト\n|日本語のテキスト\n|ありがとう\u3000ございます\n|東京 大阪 京都\n|"
        "ソフトウェア|今日は天気がいいですね。\n|ｶﾀｶﾅ テスト\n|表示|メール: abc@example.com\n"
    ),
    "big5": (
        "你好 世界\n|謝謝\n|台北市 信義區\n|今天天氣\u3000很好。\n|我愛你|生日快樂|早安|不客氣|請問 廁所 在哪裡\n"
    ),
    "gb18030": (
        "你好|中文|你好 世界\n|北京市 海淀区\n|今天天气\u3000很好。\n|我爱你|生日快乐|不客气|咖啡|"
        "请问 厕所 在哪里\n|葡萄酒 10 瓶\n|谢谢你"
    ),
    "euc_kr": "안녕|안녕 세계\n|안녕하세요\n|감사합니다\n|서울 부산\n|나는 너를 사랑해\n|이름: 김철수\n|한국어",
    "euc_jp": "こんにちは 世界\n|日本語のテキスト\n|東京 大阪\n",
    "cp866": "Привет мир\n|Я иду домой.\n",
    "cp850": "für die Größe\n|más información\n",
    "cp1250": (
        "Příliš žluťoučký kůň úpěl ďábelské ódy. Dobrý den, jak se máte?\n|"
        "Posílám Vám fakturu za měsíc červen. S pozdravem Jiří Dvořák\n|"
        "Köszönöm szépen, és további szép napot kívánok Önnek! A szerződést holnap írjuk alá.\n|"
        "Ludzie rodzą się wolni i równi pod względem swej godności i powinni żyć w duchu życzliwości.\n|"
        "Fiinţele umane sunt înzestrate cu raţiune şi conştiinţă, şi trebuie să se comporte frăţeşte.\n|"
        "Četiri žene šeću sviješću, a ljudska bića rađaju se slobodna.\n"
    ),
    "cp1254": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar, kardeşçe yaşarlar.\n",
    "cp1257": (
        "Žmonės gimsta laisvi ir lygūs savo orumu ir teisėmis, jiems suteiktas protas, sąžinė ir širdis.\n|"
        "Cilvēki piedzimst brīvi un vienlīdzīgi savā pašcieņā un tiesībās.\n"
    ),
    "cp1253": "Καλημέρα κόσμε\n",
    "cp1255": "שלום עולם\n",
    "cp1256": "مرحبا بالعالم\n",
    "cp874": "สวัสดีชาวโลก วันนี้อากาศดีมาก เราไปเดินเล่นที่สวนสาธารณะกัน\n",
}

EVERY_PHRASE = [(name, text) for name, texts in PHRASES.items() for text in texts.split("|")]

LETTERS = [chr(code) for code in range(0xC0, 0x100) if chr(code).isalpha()]
SPACES = [" ", "\n", "\t", "\r\n", "\xa0"]


def phrases(letters):
    """Return texts of words of `letters`, and of what may stand between words in Latin-1.

    No more than two letters stand side by side without one of ASCII, as in any language that is written so.
    """
    few = st.text(st.sampled_from(letters), max_size=2)
    begin = st.lists(st.tuples(few, st.sampled_from(ascii_letters)).map("".join), min_size=1, max_size=4).map("".join)
    word = st.sampled_from(letters) | st.tuples(begin, few).map("".join)
    part = st.tuples(word, st.sampled_from(SPACES))
    return st.lists(part, min_size=1, max_size=9).map(lambda parts: "".join(word + space for word, space in parts))


def counted(data):
    return count(io.BytesIO(data))


def is_utf8(data):
    return data.decode("utf-8", "ignore").encode() == data


@pytest.mark.parametrize(("encoding", "text"), EVERY_PHRASE)
def test_an_everyday_phrase_is_read_as_it_was_written(encoding, text):
    data = text.encode(encoding)
    assert not is_utf8(data)
    words = counted(data)
    assert data.decode(words.encoding) == text
    assert (words.words, words.characters, words.lines) == (len(text.split()), len(text), text.count("\n"))


UTF_16_MARKS = b"\xff\xfe", b"\xfe\xff"

TAKEN_FOR_WESTERN = (
    ("cp850", "Voilà, à la mode.\n"),
    ("mac_roman", "Alle Menschen sind frei und gleich an Würde und Rechten geboren.\n" * 40),
    ("cp1250", "Děkuji, dobrý večer.\n"),
)


@pytest.mark.parametrize(("encoding", "text"), TAKEN_FOR_WESTERN)
def test_a_text_that_is_taken_for_western_has_its_words_counted_right(encoding, text):
    words = counted(text.encode(encoding))
    assert (words.encoding, words.words, words.characters) == ("cp1252", len(text.split()), len(text))


@pytest.mark.parametrize(
    ("encoding", "text"), [("cp850", "Está allá.\n"), ("cp850", "À 10\xa0h\n"), ("mac_roman", "À 10\xa0h †7\n")]
)
def test_a_hard_space_of_one_encoding_that_is_a_letter_of_the_other_is_the_known_limit(encoding, text):
    words = counted(text.encode(encoding))
    assert words.encoding == "cp1252"
    assert words.words != len(text.split())


def test_words_of_accented_letters_alone_are_taken_for_another_alphabet_which_is_the_known_limit():
    assert counted("àá\xa0àá\xa0àá\xa0".encode("latin-1")).encoding == "cp866"


@settings(max_examples=300, deadline=None)  # the first guess imports a library
@given(st.one_of(phrases(LETTERS), phrases([*LETTERS, *"abcdefghijklmnopqrstuvwxyzABC"]), phrases("éèàçÀÉ")))
def test_no_phrase_in_latin_1_gets_a_wrong_count_of_words(text):
    data = text.encode("latin-1")
    assume(not is_utf8(data) and not data.startswith(UTF_16_MARKS))
    assert counted(data).words == len(text.split())


@settings(max_examples=300, deadline=None)  # the first guess imports a library
@given(st.binary(min_size=1, max_size=80))
def test_nothing_without_a_mark_is_taken_for_utf_16_or_32_or_7(data):
    assume(not data.startswith((*UTF_16_MARKS, b"\0\0\xfe\xff")))
    try:
        encoding = counted(data).encoding
    except FileFault as fault:
        assert fault.failure is Failure.NOT_TEXT  # noqa: PT017 (both ends are right, but for a third)
    else:
        assert not encoding.startswith(("utf-16", "utf-32", "utf-7"))


def test_a_text_that_fits_nothing_is_western_with_its_bad_bytes_counted():
    words = counted(b"caf\xe9 \x81\x9d\n")
    assert (words.encoding, words.words, words.invalid_bytes) == ("cp1252", 2, 2)


#: What one encoding or another has, and what some of them write in several bytes, or give a meaning of their own.
PARTS = ["hello", "é", "日本", "Привет", "שלום", "ก", "ｶﾀｶﾅ", "안녕", "😀", "~", "+", "&"]

CODECS = sorted(module.name for module in pkgutil.iter_modules(encodings.__path__))
#: What no encoding of texts is: none at all, bytes to bytes, letters to letters, and names of hosts.
OF_NO_TEXT = {"aliases", "base64_codec", "bz2_codec", "hex_codec", "idna", "mbcs", "oem", "punycode", "quopri_codec"}
OF_NO_TEXT |= {"rot_13", "undefined", "uu_codec", "zlib_codec"}


def configured(encoding, folder):
    """Return what the settings make of the name of an encoding; None where they refuse it."""
    environ = {"WATCHERD_TEXT__ENCODING": encoding, "STATE_DIRECTORY": str(folder / "state")}
    try:
        return load({"inbox": "in", "outbox": "out"}, environ, folder).text.encoding
    except ConfigurationError:
        return None


def test_the_settings_refuse_what_is_no_encoding_of_texts(tmp_path):
    assert {name for name in CODECS if configured(name, tmp_path) is None} == OF_NO_TEXT


def written_in(encoding):
    """Return a text of words and spaces that this encoding has, several times as long as a chunk."""
    parts = [part for part in PARTS if _has(encoding, part)]
    spaces = [space for space in (*SPACES, "\u3000", "\x1c", "\u2028") if _has(encoding, space)]
    dice = random.Random(1)
    return "".join(dice.choice(parts) + dice.choice(spaces) for _ in range(300))


def _has(encoding, part):
    try:
        return part.encode(encoding).decode(encoding) == part
    except UnicodeError:
        return False


@pytest.mark.parametrize("encoding", sorted(set(CODECS) - OF_NO_TEXT))
def test_a_text_in_any_encoding_of_python_s_has_the_words_that_it_has_in_one_piece(encoding, tmp_path):
    data = written_in(encoding).encode(encoding)
    text = data.decode(encoding)
    words = count(io.BytesIO(data), limits=Limits(encoding=configured(encoding, tmp_path), chunk=64))
    assert (words.words, words.characters, words.lines) == (len(text.split()), len(text), text.count("\n"))
    assert words.invalid_bytes == 0
