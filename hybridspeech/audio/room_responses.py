"""Room impulse responses: read from a folder, cut to what a clip needs, and applied. Knows nothing of spectrograms.

A response starts at the direct sound, its largest sample, so that a reverberated clip is not delayed. Of several channels,
as of a microphone array, the first is used: the mean of channels with different delays is the response of no microphone.
"""

from __future__ import annotations

import numpy as np

from hybridspeech.audio.decode import read_recording
from hybridspeech.audio.formats import is_recording
from hybridspeech.audio.mixing import mean_power
from hybridspeech.audio.sound_files import first_channel
from hybridspeech.errors import AudioError, ConfigError
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import list_files

RESPONSE_S = 1.0
"""Duration of a response from the direct sound on. At a reverberation time of 1 s, it has decayed by 60 dB."""
MAX_RECORDING_S = 30
"""Longest file; a longer one is taken for a recording of something else."""
MAX_VALUES = 1 << 26
"""Most samples of all responses together: 256 MB in each training worker."""


def find_responses(folder: str) -> tuple[str, ...]:
    """Return the paths of the audio files below a folder, at a path or URL, sorted by name; hidden ones are left out.

    Raises
    ------
    ConfigError: there is none.
    """
    names = [stat.name for stat in list_files(folder)]
    names = [name for name in names if is_recording(name) and not f"/{name}".count("/.")]
    if not names:
        raise ConfigError(f"{folder}: no audio files; expected a folder of room impulse responses, such as WAV files")
    return tuple(join(folder, name) for name in names)


def read_responses(paths: tuple[str, ...], sample_rate_hz: int) -> np.ndarray:
    """Read room impulse responses.

    Returns
    -------
    float32 [shape=(len(paths), RESPONSE_S * sample_rate_hz)], zero-padded; the direct sound is sample 0 and has the value 1

    Raises
    ------
    AudioError: a file can't be used, is silent, or is longer than MAX_RECORDING_S. ConfigError: there are too many.
    """
    length = round(RESPONSE_S * sample_rate_hz)
    if len(paths) * length > MAX_VALUES:
        raise ConfigError(
            f"{len(paths)} room impulse responses; expected at most {MAX_VALUES // length} at {sample_rate_hz} Hz: give a "
            "folder with fewer"
        )
    responses = np.zeros((len(paths), length), np.float32)
    for path, response in zip(paths, responses, strict=True):
        direct = _from_direct_sound(path, read_recording(path, sample_rate_hz, first_channel), sample_rate_hz)[:length]
        response[: direct.size] = direct
    return responses


def _from_direct_sound(path: str, recording: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    duration_s = recording.size / sample_rate_hz
    if duration_s > MAX_RECORDING_S:
        raise AudioError(
            "too-long",
            f"{path}: {duration_s:.1f} s; expected an impulse response of at most {MAX_RECORDING_S} s; remove the file",
        )
    peak = int(np.abs(recording).argmax()) if recording.size else 0
    if not recording.size or recording[peak] == 0:
        raise AudioError("silent", f"{path}: all samples are 0; expected a room impulse response; remove the file")
    response: np.ndarray = recording[peak:] / recording[peak]
    return response


def reverberated(wave: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return a clip as it sounds in a room, with the mean power that it has without it; the tail after its end is cut.

    Parameters
    ----------
    wave : float32 [shape=(num_samples,)], full scale = 1.0
    response : float32 [shape=(length,)]; the direct sound is sample 0

    Returns
    -------
    float32 [shape=(num_samples,)]; not limited to full scale
    """
    import scipy.fft

    response = response[: wave.size]
    size = scipy.fft.next_fast_len(wave.size + response.size - 1, real=True)
    spectrum = scipy.fft.rfft(wave, size) * scipy.fft.rfft(response, size)
    wet: np.ndarray = scipy.fft.irfft(spectrum, size)[: wave.size]
    power = mean_power(wet)
    return np.asarray(wet * np.float32(np.sqrt(mean_power(wave) / power) if power else 1.0))
