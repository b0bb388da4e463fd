"""Files of words to synthesize, and texts that sound nearly like them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridspeech.corpora.espeak import pronounce
from hybridspeech.corpora.pronunciation import edit_distance, near_misses, tokens, unspeakable
from hybridspeech.corpora.word_list import Word, read_words
from hybridspeech.errors import ConfigError


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "words.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_labels_texts_comments_and_line_ends(tmp_path: Path) -> None:
    words = read_words(
        written(tmp_path, "\ufeff# mine\r\n\nlights  on\tlight-on\r\n stop\nturn it on \t light-on\ncafe\u0301")
    )
    assert words == (
        Word(label="light-on", texts=("lights on", "turn it on")),
        Word(label="stop", texts=("stop",)),
        Word(label="caf\u00e9", texts=("caf\u00e9",)),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no word; expected one word or phrase per line"),
        ("\n# only this\n", "has no word"),
        (b"caf\xe9", r"is not UTF-8 \(byte 4\); convert it"),
        (
            "caf\u00e9\nyes\ncafe\u0301",
            r"line 3: 'caf\u00e9' is there already, in .*line 1 \(compared in Unicode's form NFC\)",
        ),
        ("AC/DC", r"line 1: label 'AC/DC' .* it has a slash; write another label after a tab"),
        ("a\tb\\c", "it has a backslash; write another label$"),
        ("..", "it begins with '.'"),
        (".wav", "it begins with '.'"),
        ("_background_noise_", "it begins with '_'"),
        ("e.g.", "it ends with a dot"),
        ("ok, go", "it has a comma"),
        ("yes\t", "it is empty"),
        ("\tyes", "'' is no text"),
        ("a\x00b", "is no text"),
        ("a\tb\tc", "has 3 columns; expected a word and, after a tab, its label"),
        ("\u00e4" * 101, "it has more than 200 bytes"),
    ],
)
def test_an_unusable_file_is_refused_with_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_words(written(tmp_path, content))


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"words.txt: can't be read \(No such file"):
        read_words(tmp_path / "words.txt")
    with pytest.raises(ConfigError, match="has 10,000,001 bytes; expected at most 10,000,000"):
        read_words(written(tmp_path, b"x" * 10_000_001))


@pytest.mark.parametrize(
    ("text", "language", "problem"),
    [
        ("happy", "en-us", ""),
        ("x", "en-us", ""),
        ("vitamin C", "en-us", ""),
        ("\u65e5", "en-us", "names its letters"),
        ("\u65e5\u672c", "de", "names its letters"),
        ("hello", "ru", "speaks it as language 'en'"),
        ("...", "en-us", "is silent"),
        ("\u043f\u0440\u0438\u0432\u0435\u0442", "ru", ""),
        ("\u4f60\u597d", "cmn", ""),
        ("\u3053\u3093\u306b\u3061\u306f", "ja", ""),
        ("\u0645\u0631\u062d\u0628\u0627", "ar", ""),
        ("\u0928\u092e\u0938\u094d\u0924\u0947", "hi", ""),
    ],
)
def test_a_voice_that_does_not_know_the_letters_is_noticed(text: str, language: str, problem: str) -> None:
    assert unspeakable([text], language) == [problem]


def test_near_misses_sound_nearly_like_a_word_and_like_no_other() -> None:
    words = [Word(label=text, texts=(text,)) for text in ("right", "light", "turn on the light")]
    found = near_misses(words, 4, ("en-us", "en"), seed=0)
    assert len(found) == 12 == len(set(found))
    assert found == near_misses(words, 4, ("en-us", "en"), seed=0)
    assert found != near_misses(words, 4, ("en-us", "en"), seed=1)
    for accent in ("en-us", "en"):
        sounds = [tokens(each) for each in pronounce([word.label for word in words], accent)]
        for near in map(tokens, pronounce(found, accent)):
            assert near not in sounds
    (right,) = map(tokens, pronounce(["right"], "en-us"))
    assert {edit_distance(tokens(each), right) for each in pronounce(found[:4], "en-us")} == {1}


def test_a_short_word_has_few_near_misses() -> None:
    assert 0 < len(near_misses([Word(label="x", texts=("\u4f60\u597d",))], 50, ("cmn",), seed=0)) < 50


@pytest.mark.parametrize(
    ("one", "other", "distance"), [("", "", 0), ("kat", "kat", 0), ("kat", "bat", 1), ("at", "kats", 2)]
)
def test_the_edit_distance_counts_phonemes(one: str, other: str, distance: int) -> None:
    assert edit_distance(one, other) == edit_distance(other, one) == distance
