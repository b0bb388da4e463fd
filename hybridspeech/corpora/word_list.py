"""A file of words to synthesize: one word or phrase per line, and optionally a label after a tab. Knows nothing of voices.

    turn on the light<TAB>light-on
    lights on<TAB>light-on
    stop

Several lines with one label are spellings of the same word. Blank lines, and lines that begin with ``#``, are left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.errors import ConfigError
from hybridspeech.manifest.config import UNKNOWN
from hybridspeech.records import check

MAX_BYTES = 10_000_000
MAX_LABEL_BYTES = 200
"""A file name has at most 255 bytes on most file systems."""
_IN_NO_FOLDER_NAME = {"/": "a slash", "\\": "a backslash", ",": "a comma, which separates the labels of --task"}


@dataclass(frozen=True, kw_only=True)
class Word:
    """A label, which names the folder of its clips, and the texts that are spoken for it."""

    label: str
    texts: tuple[str, ...]


def read_words(path: str | Path) -> tuple[Word, ...]:
    """Read a file of words, in UTF-8; texts and labels are normalized to NFC.

    Raises
    ------
    ConfigError: the file can't be read, is too large or has no word; a word is there twice, or its label can't be the name
        of a folder.
    """
    try:
        size = Path(path).stat().st_size
        check(
            size <= MAX_BYTES,
            f"{path}: has {size:,} bytes; expected at most {MAX_BYTES:,}: one word or phrase per line",
        )
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"{path}: can't be read ({error.strerror}); expected a text file with a word per line"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: is not UTF-8 (byte {error.start + 1}); convert it, for example with iconv"
        ) from error
    words = words_of(_numbered(str(path), text))
    check(bool(words), f"{path}: has no word; expected one word or phrase per line")
    return words


def words_of(lines: Iterable[tuple[str, str]]) -> tuple[Word, ...]:
    """Return the words of lines, in the order of their first texts.

    Parameters
    ----------
    lines : (place for messages, text or text and label with a tab between them)

    Raises
    ------
    ConfigError: as `read_words`.
    """
    places: dict[str, str] = {}
    texts: dict[str, list[str]] = {}
    for place, line in lines:
        text, label = _split(place, line)
        if text in places:
            raise ConfigError(
                f"{place}: {text!r} is there already, in {places[text]} (compared in Unicode's form NFC); remove one of them"
            )
        places[text] = place
        texts.setdefault(label, []).append(text)
    return tuple(Word(label=label, texts=tuple(spoken)) for label, spoken in texts.items())


def _numbered(path: str, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"{path}, line {number}", line


def _split(place: str, line: str) -> tuple[str, str]:
    """Return text and label of a line, normalized.

    Raises
    ------
    ConfigError: there are more than two columns, the text is not printable, or the label can't be the name of a folder.
    """
    columns = [" ".join(unicodedata.normalize("NFC", column).split()) for column in line.split("\t")]
    check(len(columns) <= 2, f"{place}: has {len(columns)} columns; expected a word and, after a tab, its label")
    text, label = columns[0], columns[-1]
    check(bool(text) and text.isprintable(), f"{place}: {text!r} is no text; expected a word or a phrase")
    if problem := _problem(label):
        advice = "write another label after a tab" if len(columns) == 1 else "write another label"
        raise ConfigError(f"{place}: label {label!r} can't be the name of a folder of clips: {problem}; {advice}")
    return text, label


def _problem(label: str) -> str:
    """Return why a label can't be the name of a folder of clips; empty if it can."""
    if label == UNKNOWN:
        return ""
    if not label or not label.isprintable():
        return "it is empty, or has characters that can't be printed"
    if label[0] in "._":
        return f"it begins with {label[0]!r}, and such folders hold no words"
    if label.endswith("."):
        return "it ends with a dot"
    if len(label.encode()) > MAX_LABEL_BYTES:
        return f"it has more than {MAX_LABEL_BYTES} bytes"
    return next((f"it has {name}" for character, name in _IN_NO_FOLDER_NAME.items() if character in label), "")
