"""One spoken word from the sentence of a transcript. Knows nothing of tables."""

from __future__ import annotations

import unicodedata


def single_word(sentence: str) -> str:
    """Return the word of a sentence, in lower case and without punctuation around it; '' if there is none or several.

    ``"Yes."`` and ``"yes"`` are one label; ``don't`` and ``e-mail`` keep what is within them.
    """
    first, last = 0, len(sentence)
    while first < last and not _is_spoken(sentence[first]):
        first += 1
    while last > first and not _is_spoken(sentence[last - 1]):
        last -= 1
    word = sentence[first:last].lower()
    return "" if len(word.split()) != 1 else word


def _is_spoken(char: str) -> bool:
    """Tell whether a character is a letter, a mark, a number or a symbol such as '%'."""
    return unicodedata.category(char)[0] in "LMN" or unicodedata.category(char) in ("Sc", "Sm") or char in "%&@#"
