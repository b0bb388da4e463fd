"""The stage in PyTorch: `torch.stft` in the workers of a DataLoader; batches of 64 are appended to one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.pipeline import Stage, Stopwatch, list_clips, some
from benchmarks.peers.transforms import AMIN_POWER, TOP_DB
from benchmarks.reference import HOP_LENGTH, LOGMEL, N_FFT, NUM_SAMPLES, SAMPLE_RATE_HZ
from hybridspeech.processes.resources import num_cores

BATCH_SIZE = 64


class Clips:
    """A map-style dataset: reads one clip with soundfile, and computes its features, float32 [shape=(bins, frames)]."""

    def __init__(self, paths: Sequence[str], transform: Callable[[Any], Any]) -> None:
        self._paths, self._transform = paths, transform

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, i: int) -> Any:
        import soundfile
        import torch

        samples, _ = soundfile.read(self._paths[i], dtype="float32")
        wave = torch.zeros(NUM_SAMPLES)
        wave[: samples.size] = torch.from_numpy(samples[:NUM_SAMPLES])
        return self._transform(wave)


def run(source: Path, out: Path, *, features: str = "stft") -> Stage:
    """Preprocess a folder with one worker per core; this process writes."""
    watch = Stopwatch()
    from torch.utils.data import DataLoader

    transform = spectrogram() if features == "stft" else log_mel()
    watch.started()
    paths = list_clips(source)
    data: Any = Clips(paths, transform)
    path, count, shape = out / "features.f32", 0, ()
    with path.open("wb") as file:
        for batch in DataLoader(data, batch_size=BATCH_SIZE, num_workers=num_cores()):
            file.write(batch.numpy())
            count, shape = count + len(batch), batch.shape[1:]
    watch.done()
    stored = np.memmap(path, np.float32, "r", shape=(count, *shape))
    samples = {paths[i]: np.array(stored[i]) for i in some(range(len(paths)))}
    return Stage(num_clips=count, watch=watch, samples=samples)


def spectrogram() -> Callable[[Any], Any]:
    """Return the transform of a clip to a spectrogram."""
    import torch

    window = torch.hann_window(N_FFT)

    def transform(wave: Any) -> Any:
        found = torch.stft(wave, N_FFT, HOP_LENGTH, window=window, pad_mode="constant", return_complex=True)
        return _decibels(found.abs().square())

    return transform


def log_mel() -> Callable[[Any], Any]:
    """Return the transform of a clip to a log-mel spectrogram, with the filters of librosa."""
    import torch
    from librosa.filters import mel

    n_fft, hop_length = LOGMEL["n_fft"], LOGMEL["hop_length"]
    window, filters = torch.hann_window(n_fft), torch.from_numpy(mel(sr=SAMPLE_RATE_HZ, **_filters()))

    def transform(wave: Any) -> Any:
        found = torch.stft(wave, n_fft, hop_length, window=window, pad_mode="constant", return_complex=True)
        return _decibels(filters @ found.abs().square())

    return transform


def _filters() -> dict[str, Any]:
    return {name: value for name, value in LOGMEL.items() if name != "hop_length"}


def _decibels(powers: Any) -> Any:
    import torch

    levels = 10 * torch.log10(torch.clamp(powers, min=AMIN_POWER))
    return torch.maximum(levels, levels.max() - TOP_DB)
