"""Normal forms of ids, labels and speakers. Knows nothing of where they come from."""

from __future__ import annotations

import unicodedata


def valid_text(text: str) -> str:
    """Return the text, with backslash escapes for what is not valid Unicode."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def normal_text(text: str) -> str:
    """Return the text in Unicode normal form C and without outer white space; still with surrogate escapes.

    Two spellings that look the same are the same label or speaker: file systems and tables differ in their normal form.
    """
    return text.strip() if text.isascii() else unicodedata.normalize("NFC", text).strip()
