"""Decodes what phones and browsers record (.m4a, .aac, .webm, .amr, .3gp) through PyAV, which bundles FFmpeg.

PyAV is an extra. FFmpeg gets the open file and the format that its first bytes show, so it opens no other file and tries no
other format. Knows nothing of libsndfile.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from hybridspeech.errors import AudioError

EXTRA = "pyav"
FORMATS = {"MPEG-4 audio (such as .m4a)": "mov", "WebM or Matroska": "matroska", "AMR": "amr", "AAC": "aac"}
"""FFmpeg's names of the kinds that `formats.unsupported_kind` returns."""
TOLERANCE_S = 0.1
"""A declared duration is rounded, and may include the encoder's padding."""


@functools.cache
def is_installed() -> bool:
    """Tell whether PyAV is installed, without importing it."""
    return importlib.util.find_spec("av") is not None


class FFmpegFile:
    """An open file, decoded block by block; `num_frames` is the number of samples per channel that were decoded so far.

    Parameters
    ----------
    descriptor : of the file; it stays open
    kind : a key of FORMATS

    Raises
    ------
    AudioError: the file can't be decoded ("damaged"), or has no sound ("empty").
    """

    def __init__(self, descriptor: int, kind: str, name: str) -> None:
        import av

        self._name, self._error = name, av.error.FFmpegError
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            self._container: Any = av.open(io.FileIO(descriptor, closefd=False), format=FORMATS[kind])
        except (self._error, ValueError) as error:
            raise AudioError("damaged", f"{name}: the header of {kind} can't be read: {_reason(error)}") from error
        if problem := self._problem():
            self._container.close()
            raise AudioError(problem[0], f"{name}: {kind} {problem[1]}")
        self._stream = self._container.streams.audio[0]
        self._stream.codec_context.thread_count = 1
        self.samplerate: int = self._stream.rate
        self.channels: int = self._stream.codec_context.channels
        self.num_frames = 0
        duration = self._stream.duration
        self._end = round(duration * self._stream.time_base * self.samplerate) if duration else None
        length_us = self._container.duration
        self._declared = length_us * self.samplerate // 1_000_000 if length_us else 0

    def _problem(self) -> tuple[str, str] | None:
        """Return reason and detail of a file without a sound of known rate and channels; None if there is one."""
        tracks = self._container.streams.audio
        if not tracks:
            return "empty", "without sound; expected an audio track"
        if not tracks[0].rate or not tracks[0].codec_context.channels:
            return "damaged", "without a sample rate; expected a complete file"
        return None

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all samples: float32 [shape=(num_samples, channels)], full scale = 1.0, without the encoder's padding.

        Raises
        ------
        AudioError: as the class; the file is shorter than it declares ("truncated").
        """
        import av

        resampler = av.AudioResampler(format="fltp", layout=self._stream.layout.name, rate=self.samplerate)
        try:
            for frame in self._container.decode(self._stream):
                early = 0 if frame.time is None or frame.time >= 0 else round(-frame.time * self.samplerate)
                for part in resampler.resample(frame):
                    end = None if self._end is None else max(0, self._end - self.num_frames) + early
                    block = part.to_ndarray().T[early:end]
                    early = max(0, early - part.samples)
                    self.num_frames += len(block)
                    yield block
        except (self._error, ValueError) as error:
            detail = f"{self._name}: can't be decoded after {self.num_frames} samples: {_reason(error)}"
            raise AudioError("damaged", detail) from error
        if self.num_frames < self._declared - TOLERANCE_S * self.samplerate:
            detail = f"{self._name}: {self.num_frames} samples; its header declares {self._declared}"
            raise AudioError("truncated", detail)

    def close(self) -> None:
        """Release FFmpeg's memory."""
        self._container.close()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
