"""A binding of eSpeak NG, which the package `espeakng-loader` (extra ``demo``) contains: words -> samples.

The library keeps its random state, wave phase and filters in static memory, so that its output depends on earlier calls.
`speak` therefore loads it for each call and unloads it afterwards: the same arguments give the same bytes in any
process. That costs about 6 ms per call. Knows nothing of folders and speakers.
"""

from __future__ import annotations

import ctypes
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
_RATE, _PITCH, _RANGE = 1, 3, 4
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
        if library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise ConfigError(
                f"voice {voice.name!r} is unknown to espeak-ng; expected one such as 'en-us' or 'en-us+f3'"
            )
        for parameter, value in ((_RATE, voice.rate_wpm), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range)):
            library.espeak_SetParameter(parameter, value, 0)
        for text in texts:
            chunks.clear()
            encoded = text.encode() + b"\0"
            library.espeak_Synth(encoded, len(encoded), 0, 1, 0, _CHARS_UTF8, None, None)
            spoken.append(np.frombuffer(b"".join(chunks), dtype="<i2"))
    return spoken


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
