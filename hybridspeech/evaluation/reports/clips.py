"""Clips on a page: player and spectrogram as data URIs. Knows nothing of predictions."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridspeech.audio.decode import decode_file
from hybridspeech.audio.segments import decode_segment
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError
from hybridspeech.evaluation.plots import spectrogram_png
from hybridspeech.evaluation.reports.page import Html, element, image, joined
from hybridspeech.features.clip_transform import ClipTransform
from hybridspeech.manifest.clips import recording_of
from hybridspeech.manifest.parquet import read_segment
from hybridspeech.shards.index import MANIFEST_NAME, ShardIndex
from hybridspeech.shards.reader import Example, read_shard


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """Where the clips of a page are: finished shards, and the folder of the original audio files, if it is known.

    `features` are those of the spectrograms to show.
    """

    shards: Path
    index: ShardIndex
    features: FeatureConfig
    audio: Path | None = None


def read_positions(source: ClipSource, split: str, positions: Collection[int]) -> dict[int, Example]:
    """Read the examples at these positions of a split, in shard order.

    Raises
    ------
    ShardError: a shard is missing or damaged.
    """
    found: dict[int, Example] = {}
    first = 0
    for shard in source.index.of_split(split):
        if any(first <= position < first + shard.num_examples for position in positions):
            for number, example in enumerate(read_shard(source.shards / shard.name), first):
                if number in positions:
                    found[number] = example
        first += shard.num_examples
    return found


def clip_card(source: ClipSource, example: Example, *lines: object) -> Html:
    """Return a clip with its spectrogram, a player and lines of text."""
    texts = [element("p", line) for line in lines]
    spectrogram = image(_data_uri("image/png", _png(source, example)), f"spectrogram of {example.clip_id}")
    return element("div", spectrogram, _player(source, example), *texts, class_="clip")


def _png(source: ClipSource, example: Example) -> bytes:
    shape = (1, -1) if source.index.features.kind == "waveform" else (1, *source.index.features.shape)
    transform = ClipTransform(source.index.features, source.features)
    return spectrogram_png(transform(example.values.reshape(shape), [example.clip_id], 0)[0])


def _player(source: ClipSource, example: Example) -> Html:
    if source.index.features.kind == "waveform":
        samples = example.values.astype("<i2")
    elif source.audio is None:
        return _without_audio("the shards hold spectrograms; give the folder of the audio files to listen")
    else:
        segment = read_segment(source.shards / MANIFEST_NAME, example.clip_id)
        recording, start_ms = recording_of(example.clip_id, segment)
        path = source.audio / recording
        if not path.resolve().is_relative_to(source.audio.resolve()):
            return _without_audio("the name of the clip is outside the folder of the audio files")
        try:
            if segment:
                wave_ = decode_segment(path, source.features, segment, start_ms).wave
            else:
                wave_ = decode_file(path, source.features, start_ms).wave
        except AudioError as error:
            return _without_audio(str(error))
        samples = np.clip(wave_ * 32_768, -32_768, 32_767).astype("<i2")
    uri = _data_uri("audio/wav", _wav(samples, source.features.sample_rate_hz))
    return element("audio", controls=True, preload="metadata", src=uri)


def _without_audio(reason: str) -> Html:
    return element("p", f"No audio: {reason}.", class_="muted")


def _wav(samples: np.ndarray, sample_rate_hz: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate_hz)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def clip_grid(cards: Sequence[Html]) -> Html:
    """Return clips side by side."""
    return element("div", joined(*cards), class_="clips")
