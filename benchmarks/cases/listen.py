"""listen: how much continuous sound one core takes, from a file and live."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.cases.stream import continuous_sound, untrained_run
from benchmarks.records import Outcome
from hybridspeech.audio.streams import sound_blocks
from hybridspeech.config import FeatureConfig
from hybridspeech.detection.config import DetectionConfig, Thresholds
from hybridspeech.detection.listener import BATCH_SIZE, Listener, hear
from hybridspeech.evaluation.file_predictions import load_run

FEATURES = FeatureConfig(kind="logmel")
LIVE_CHUNK_MS = 20


def measure(source: Path, scratch: Path, *, network: str, is_live: bool, seconds: float) -> Outcome:
    """Return seconds of sound per second of CPU time.

    Parameters
    ----------
    source : folder of clips, which are the sound
    is_live : samples arrive in chunks of LIVE_CHUNK_MS, and each window is classified alone; else a file is read
    seconds : length of the sound
    """
    trained = load_run(untrained_run(scratch / "run", network, FEATURES)[0])
    wave = continuous_sound(source, seconds, FEATURES)
    path = scratch / "sound.wav"
    soundfile.write(path, wave, FEATURES.sample_rate_hz)

    def listened(blocks: Iterator[np.ndarray]) -> float:
        """Listen to a sound, and return the CPU time."""
        listener = Listener(trained, Thresholds(), DetectionConfig(), "", 1 if is_live else BATCH_SIZE)
        started = time.process_time()
        for _ in hear(listener, blocks, ""):
            pass
        return time.process_time() - started

    def blocks() -> Iterator[np.ndarray]:
        chunk = LIVE_CHUNK_MS * FEATURES.sample_rate_hz // 1000
        chunks = (wave[first : first + chunk] for first in range(0, wave.size, chunk))
        return chunks if is_live else sound_blocks(path, FEATURES.sample_rate_hz)

    listened(chain([wave[: BATCH_SIZE * FEATURES.num_samples]]))  # compiles
    return Outcome(value=seconds / listened(blocks()))
