"""Which texts a voice can speak, and texts that sound nearly like a word. Knows nothing of files and sound.

Near misses are made by changing letters, so that they exist in every language, and selected by their phonemes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from hybridspeech.corpora.espeak import pronounce
from hybridspeech.corpora.word_list import Word
from hybridspeech.records import check

NEAREST, FARTHEST = 0.15, 0.5
"""Distance of a near miss, as a fraction of the number of phonemes of its word; at least one phoneme."""
TRIES = 60
"""Candidates for each near miss that is requested."""
MAX_TRIES = 3_000
"""Candidates for one word."""
LETTER_NAME = 3
"""Phonemes of the name of a letter; descriptions are longer."""
_LATIN = "abcdefghijklmnopqrstuvwxyz"
_NOT_PHONEMES = re.compile(r"[ˈˌːˑ͡‿\s]|\([^)]*\)")
_OTHER_LANGUAGE = re.compile(r"\(([a-z-]+)\)")


def check_speakable(words: Sequence[Word], accents: Sequence[str]) -> None:
    """Check that voices of these accents can speak every text.

    Raises
    ------
    ConfigError: one has no letter or digit; or the voice is silent, names the letters, or changes to another language.
    """
    texts = [text for word in words for text in word.texts]
    for text in texts:
        check(any(map(str.isalnum, text)), f"{text!r} has no letter or digit; expected a word or a phrase")
    for accent in accents:
        for text, problem in zip(texts, unspeakable(texts, accent), strict=True):
            check(
                not problem,
                f"{text!r} can't be spoken by the voice of language {accent!r}, which {problem}; choose --language, or "
                "spell it as that language does, with the label after a tab",
            )


def unspeakable(texts: Sequence[str], accent: str) -> list[str]:
    """Return for each text what the voice does instead of speaking it as words; empty if it speaks them."""
    whole = pronounce(texts, accent)
    parts = [[part for part in re.split(r"[\W\d_]+", text) if part] for text in texts]
    spoken = iter(_spelled([part for each in parts for part in each], accent))
    answers = []
    for phonemes, words in zip(whole, parts, strict=True):
        spelled = [next(spoken) for _ in words]
        other = _OTHER_LANGUAGE.search(phonemes)
        if not tokens(phonemes):
            answers.append("is silent")
        elif other:
            answers.append(f"speaks it as language {other[1]!r}")
        else:
            answers.append("names its letters" if any(spelled) else "")
    return answers


def _spelled(words: Sequence[str], accent: str) -> list[bool]:
    """Return whether a voice names each letter of a word: letters of a script that it does not know, each as a word or more.

    A word of one letter is compared with the next letter of its script: both may be "Chinese letter".
    """
    letters = [word for word in words if len(word) == 1]
    following = dict(zip(letters, pronounce([chr(ord(letter) + 1) for letter in letters], accent), strict=True))
    answers = []
    for word, phonemes in zip(words, pronounce(words, accent), strict=True):
        num_letters = sum(unicodedata.category(character) != "Mn" for character in word)
        is_same = len(tokens(phonemes)) > LETTER_NAME and phonemes == following.get(word)
        answers.append(is_same or (num_letters > 1 and len(phonemes.split()) >= num_letters))
    return answers


def near_misses(words: Sequence[Word], count: int, accents: Sequence[str], seed: int) -> tuple[str, ...]:
    """Return texts that sound nearly like the words, at most `count` for each; fewer if a word has too few neighbours.

    Their phonemes differ from those of every word in every accent, and from each other. The nearest are chosen first.

    Parameters
    ----------
    accents : languages of the voices; the distance is measured in the first
    """
    texts = [text for word in words for text in word.texts]
    alphabet = _alphabet(texts)
    forbidden = {accent: set(map(tokens, pronounce(texts, accent))) for accent in accents}
    chosen: dict[tuple[str, ...], str] = {}
    for i, word in enumerate(words):
        found = _candidates(word.texts[0], min(MAX_TRIES, count * TRIES), alphabet, np.random.default_rng([seed, 4, i]))
        for accent in accents:
            found = [text for text, sound in _sounds(found, accent).items() if sound not in forbidden[accent]]
        sounds = _sounds([word.texts[0], *found], accents[0])
        near = _nearest(sounds, chosen)
        speakable = [text for text, problem in zip(near, unspeakable(near, accents[0]), strict=True) if not problem]
        chosen.update((sounds[text], text) for text in speakable[:count])
    return tuple(chosen.values())


def _sounds(texts: Sequence[str], accent: str) -> dict[str, tuple[str, ...]]:
    return dict(zip(texts, map(tokens, pronounce(texts, accent)), strict=True))


def _nearest(sounds: Mapping[str, tuple[str, ...]], taken: Collection[tuple[str, ...]]) -> list[str]:
    """Return the near misses of the first text among the others, the nearest first; one for each sound that is not taken."""
    own, *others = sounds.values()
    least, most = (max(1, round(share * len(own))) for share in (NEAREST, FARTHEST))
    distances = {sound: edit_distance(sound, own) for sound in others if sound not in taken}
    texts = {sound: text for text, sound in sounds.items()}
    return [texts[sound] for sound in sorted(distances, key=distances.__getitem__) if least <= distances[sound] <= most]


def _candidates(text: str, count: int, alphabet: str, draw: np.random.Generator) -> list[str]:
    """Return variants of a text in random order: some letters changed, or a word of a phrase left out."""
    found = dict.fromkeys(_parts(text))
    for _ in range(count):
        variant = text
        for _ in range(int(draw.integers(1, 3 + len(text) // 6))):
            variant = _changed(variant, alphabet, draw)
        found[variant] = None
    return [each for each in (" ".join(variant.split()) for variant in found) if each]


def _parts(text: str) -> Iterator[str]:
    words = text.split(" ")
    for i in range(len(words) if len(words) > 1 else 0):
        yield " ".join(words[:i] + words[i + 1 :])


def _changed(text: str, alphabet: str, draw: np.random.Generator) -> str:
    """Return a text with one letter replaced, removed, added, or exchanged with the next."""
    places = [i for i, character in enumerate(text) if character.isalpha()]
    if not places:
        return text
    i, letter = int(draw.choice(places)), alphabet[int(draw.integers(len(alphabet)))]
    changes = (letter + text[i + 1 :], text[i + 1 :], letter + text[i:], text[i + 1 : i + 2] + text[i] + text[i + 2 :])
    return unicodedata.normalize("NFC", text[:i] + changes[int(draw.choice(4, p=(0.6, 0.15, 0.15, 0.1)))])


def _alphabet(texts: Sequence[str]) -> str:
    """Return the letters of the texts, and all Latin ones if a text has any."""
    letters = {character for text in texts for character in text.casefold() if character.isalpha()}
    return "".join(sorted(letters | set(_LATIN) if letters & set(_LATIN) else letters))


def tokens(phonemes: str) -> tuple[str, ...]:
    """Return phonemes without stress, length and word boundaries: what differs audibly between words."""
    return tuple(bare for each in re.split(r"[_\s]", phonemes) if (bare := _NOT_PHONEMES.sub("", each)))


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the least number of phonemes to replace, remove or add (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, mine in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, theirs in enumerate(other, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (mine != theirs))
    return row[-1]
