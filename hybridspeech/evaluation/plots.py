"""Pictures as PNG files: confusion matrices and spectrograms. The one home of matplotlib.

Uses matplotlib's object interface, not pyplot's state: nothing is shared, and no window system is needed.
"""

from __future__ import annotations

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
    """Draw a confusion matrix: shade is the share of a true label's clips, numbers are clips; empty cells stay empty.

    Parameters
    ----------
    counts : int [shape=(num_labels, num_labels)], true labels down, predicted labels across

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
    """Draw a reliability diagram: a dot a bin, as large as its share of the clips; a calibrated network is on the diagonal.

    Parameters
    ----------
    bins : (mean confidence, accuracy, clips) of each bin that has clips

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
    """Draw spectrograms, float32 [shape=(num_bins, num_frames)], dB, under their titles and on one colour scale.

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


def _figure(width: float, height: float) -> Figure:
    """An empty figure on white, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white", dpi=150)


def _plain(text: str) -> str:
    """A label that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def _save(figure: Figure, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)  # a script without a font
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, format="png")
        except OSError as error:
            raise ConfigError(f"{path}: can't be written ({error.strerror}); choose another place") from error
