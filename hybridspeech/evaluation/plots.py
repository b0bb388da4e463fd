"""Plots as PNG: confusion matrices, reliability diagrams and spectrograms. Knows nothing of runs and shards.

Uses matplotlib's object interface instead of pyplot, which keeps global state and needs a window system.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_confusion(counts: np.ndarray, labels: Sequence[str], title: str, path: Path) -> None:
    """Plot a confusion matrix: colours show fractions of the clips of a true label, numbers show counts.

    Parameters
    ----------
    counts : int [shape=(num_labels, num_labels)], true labels by row, predicted labels by column

    Raises
    ------
    ConfigError: the file can't be written.
    """
    side = max(4.5, 1.8 + 0.32 * len(labels))
    figure = _figure(width=side + 0.8, height=side)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), list(map(_plain, labels)), rotation=90)
    axes.set_yticks(range(len(labels)), list(map(_plain, labels)))
    axes.set(xlabel="predicted", ylabel="true", title=title)
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, ax=axes, label="share of the true label's clips", shrink=0.8)
    _save(figure, path)


def plot_reliability(bins: Sequence[tuple[float, float, int]], title: str, path: Path) -> None:
    """Plot a reliability diagram: one dot per bin, its area proportional to the number of clips.

    Parameters
    ----------
    bins : (mean confidence, accuracy, number of clips) of each bin that has clips

    Raises
    ------
    ConfigError: the file can't be written.
    """
    figure = _figure(width=4.5, height=4.5)
    axes = figure.subplots()
    confidence, accuracy, counts = np.array(bins, float).T
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.plot(confidence, accuracy, linewidth=0.8)
    axes.scatter(confidence, accuracy, 10 + 400 * counts / counts.sum())
    axes.set(xlabel="highest probability", ylabel="accuracy", title=title, xlim=(0, 1.03), ylim=(0, 1.03))
    axes.set_aspect("equal")
    _save(figure, path)


def plot_spectrograms(spectrograms: Mapping[str, np.ndarray], features: FeatureConfig, path: Path) -> None:
    """Plot spectrograms with a common colour scale.

    Parameters
    ----------
    spectrograms : title to float32 [shape=(num_bins, num_frames)], dB
    features : settings of the spectrograms

    Raises
    ------
    ConfigError: the file can't be written.
    """
    from librosa.display import specshow

    columns = min(3, len(spectrograms))
    rows = math.ceil(len(spectrograms) / columns)
    figure = _figure(width=1.2 + 3.2 * columns, height=0.6 + 2.4 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    low, high = min(map(np.min, spectrograms.values())), max(map(np.max, spectrograms.values()))
    settings = {
        "sr": features.sample_rate_hz,
        "hop_length": features.hop_length,
        "n_fft": features.n_fft,
        "x_axis": "s",
        "y_axis": "mel" if features.kind == "logmel" else "hz",
        "vmin": low,
        "vmax": high,
    }
    if features.kind == "logmel":
        settings |= {"fmin": features.fmin_hz, "fmax": features.fmax_hz}
    for axes, (title, spectrogram) in zip(grid.flat, spectrograms.items(), strict=False):
        image = specshow(spectrogram, ax=axes, cmap="magma", **settings)
        axes.set(title=_plain(title))
        axes.label_outer()
    for axes in grid.flat[len(spectrograms) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=grid, label="dB")
    _save(figure, path)


def spectrogram_png(spectrogram: np.ndarray, max_bins: int = 256) -> bytes:
    """Return a spectrogram as a small PNG without axes, low frequencies at the bottom.

    Parameters
    ----------
    spectrogram : float32 [shape=(num_bins, num_frames)], dB
    max_bins : rows of the image at most; adjacent bins are averaged
    """
    from matplotlib.image import imsave

    group = math.ceil(len(spectrogram) / max_bins)
    rows = len(spectrogram) // group
    averaged = spectrogram[: rows * group].reshape(rows, group, -1).mean(axis=1)
    file = io.BytesIO()
    imsave(file, averaged, cmap="magma", origin="lower", format="png")
    return file.getvalue()


def _figure(width: float, height: float) -> Figure:
    """Make an empty figure with a white background; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white", dpi=150)


def _plain(text: str) -> str:
    """Escape dollar signs, which matplotlib takes for formulas."""
    return text.replace("$", r"\$")


def _save(figure: Figure, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)  # no font for a script
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, format="png")
        except OSError as error:
            raise ConfigError(f"{path}: can't be written ({error.strerror}); choose another place") from error
