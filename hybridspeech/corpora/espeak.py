"""A binding of eSpeak NG, which the package `espeakng-loader` (extra ``demo``) contains: words -> samples, or phonemes.

The library keeps its random state, wave phase and filters in static memory, so that its output depends on earlier calls.
`speak` therefore loads it for each call and unloads it afterwards: the same arguments give the same bytes in any
process. That costs about 6 ms per call. Knows nothing of folders and speakers.
"""

from __future__ import annotations

import ctypes
import difflib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridspeech.errors import ConfigError, HybridspeechError
from hybridspeech.registry import requires

SAMPLE_RATE_HZ = 22_050
# From espeak-ng's speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_IPA_BETWEEN_UNDERSCORES = 0x02 | ord("_") << 8
_RATE, _PITCH, _RANGE = 1, 3, 4
_OTHER_CODES = {"zh": "cmn", "no": "nb", "iw": "he"}
"""Usual codes of languages that espeak-ng lists under another one."""
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A voice. `name` is that of an espeak-ng voice, with a variant after a plus, e.g. ``en-us+f3``.

    `rate_wpm` is in words per minute (80 to 450); `pitch` and `pitch_range` are on espeak-ng's scale of 0 to 99.
    """

    name: str
    rate_wpm: int = 160
    pitch: int = 50
    pitch_range: int = 50


def speak(texts: Sequence[str], voice: Voice, seed: int = 0) -> list[np.ndarray]:
    """Synthesize the texts; the same arguments give the same samples. Only one thread runs at a time.

    Returns
    -------
    list of int16 [shape=(num_samples,)], one per text, mono, at SAMPLE_RATE_HZ; silence at the end included

    Raises
    ------
    MissingExtraError: espeakng-loader is not installed. ConfigError: the voice is unknown.
    HybridspeechError: the library does not load or start.
    """
    chunks: list[bytes] = []

    def receive(samples: int | None, count: int, events: int | None) -> int:
        if samples and count:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    spoken = []
    callback = _Callback(receive)
    with _one_at_a_time, _fresh_library(seed) as library:
        library.espeak_SetSynthCallback(callback)
        _set_voice(library, voice.name)
        for parameter, value in ((_RATE, voice.rate_wpm), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range)):
            library.espeak_SetParameter(parameter, value, 0)
        for text in texts:
            chunks.clear()
            encoded = text.encode() + b"\0"
            library.espeak_Synth(encoded, len(encoded), 0, 1, 0, _CHARS_UTF8, None, None)
            spoken.append(np.frombuffer(b"".join(chunks), dtype="<i2"))
    return spoken


def pronounce(texts: Sequence[str], voice: str) -> list[str]:
    """Return the phonemes of the texts in IPA, with ``_`` between phonemes and a space between words.

    Raises
    ------
    As `speak`.
    """
    with _one_at_a_time, _fresh_library(0) as library:
        _set_voice(library, voice)
        return [_pronounced(library, text) for text in texts]


def check_language(code: str) -> None:
    """Check that espeak-ng has a language, e.g. "de" or "pt-br".

    Raises
    ------
    ConfigError: it does not; names the nearest codes. MissingExtraError, HybridspeechError: as `speak`.
    """
    with _one_at_a_time, _fresh_library(0) as library:
        known = _languages(library)
        # "fr" is not listed, but "fr-fr" is; the library takes names and paths too, which are no codes
        is_code = code in known or any(each.startswith(f"{code}-") for each in known)
        if is_code and library.espeak_SetVoiceByName(code.encode()) == 0:
            return
    wanted = code.casefold()
    by_name = [each for each, name in known.items() if len(wanted) > 2 and wanted in name.casefold()]
    alike = difflib.get_close_matches(_OTHER_CODES.get(wanted, wanted), known, 3, 0.5)
    codes = [*dict.fromkeys([*by_name, *alike])]
    nearest = ", ".join(f"{each} ({known[each]})" for each in codes[:5] or sorted(known)[:5])
    raise ConfigError(f"language {code!r} is unknown to espeak-ng; the nearest of {len(known)} are {nearest}")


class _ListedVoice(ctypes.Structure):
    """The beginning of espeak_VOICE; the library returns pointers to such structures."""

    _fields_ = (("name", ctypes.c_char_p), ("languages", ctypes.c_char_p))


def _languages(library: Any) -> dict[str, str]:
    """Return the names of the languages by their codes."""
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_ListedVoice))
    voices = library.espeak_ListVoices(None)
    found, i = dict[str, str](), 0
    while voices[i]:
        voice = voices[i].contents
        code = voice.languages[1:].decode("utf-8", "replace")  # the first byte is a priority
        found.setdefault(code, voice.name.decode("utf-8", "replace"))
        i += 1
    return found


def _set_voice(library: Any, name: str) -> None:
    if library.espeak_SetVoiceByName(name.encode()) != 0:
        raise ConfigError(f"voice {name!r} is unknown to espeak-ng; expected one such as 'en-us' or 'en-us+f3'")


def _pronounced(library: Any, text: str) -> str:
    """Return the phonemes of a text; the library returns them clause by clause."""
    buffer = ctypes.create_string_buffer(text.encode())
    position, clauses = ctypes.c_char_p(ctypes.addressof(buffer)), list[bytes]()
    while position.value is not None:
        clauses.append(
            library.espeak_TextToPhonemes(ctypes.byref(position), _CHARS_UTF8, _IPA_BETWEEN_UNDERSCORES) or b""
        )
    return b" ".join(clauses).decode("utf-8", "replace")


@contextmanager
def _fresh_library(seed: int) -> Iterator[Any]:
    """Load the library; unloading resets its static memory (unless other code has loaded it too)."""
    with requires("demo", "speech synthesis"):
        import espeakng_loader
    try:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
    except (OSError, RuntimeError) as error:
        raise HybridspeechError(
            f"espeak-ng can't be loaded ({error}); install the package espeakng-loader again"
        ) from error
    library.espeak_Synth.argtypes = [
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    try:
        if library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data, _INITIALIZE_DONT_EXIT) != SAMPLE_RATE_HZ:
            raise HybridspeechError("espeak-ng does not start with its data; install espeakng-loader again")
        try:
            library.espeak_ng_SetRandSeed(seed)
            yield library
        finally:
            library.espeak_Terminate()
    finally:
        unload = ctypes.CDLL(None).dlclose
        unload.argtypes = [ctypes.c_void_p]
        unload(library._handle)
