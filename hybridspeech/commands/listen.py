"""The verb `listen`: words in continuous sound, from files of any length or from a pipe. Knows nothing of shards."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.audio.streams import pipe_blocks, sound_blocks
from hybridspeech.config import OnProgress, Progress, silent
from hybridspeech.detection.config import DetectionConfig, Thresholds
from hybridspeech.detection.listener import BATCH_SIZE, Event, Listener, hear
from hybridspeech.detection.threshold_file import settings_of
from hybridspeech.errors import ConfigError
from hybridspeech.evaluation.audio_files import find_audio_files
from hybridspeech.evaluation.event_plots import plot_timeline
from hybridspeech.evaluation.file_predictions import TrainedRun, check_finished, load_run

PIPE = "-"
"""The source that stands for standard input."""


def listen(
    run: str | Path,
    files: str | Path | Iterable[str | Path],
    *,
    thresholds: Thresholds | None = None,
    detection: DetectionConfig | None = None,
    pipe_rate_hz: int = 16_000,
    plot: str | Path | None = None,
    model: str | None = None,
    on_progress: OnProgress = silent,
) -> Iterator[Event]:
    """Find the words of a run in continuous sound, and yield each event as soon as it is known.

    Every `hop_ms`, the network classifies a window as long as a clip, exactly as `predict` does; a decoder turns the
    probabilities into events. The memory does not depend on the length of the sound.

    Parameters
    ----------
    run : run directory of a finished training; a local path or a URL
    files : audio files of any length, and folders, as in `predict`; or "-" alone for standard input: mono PCM 16 samples
        (little endian), or a WAV stream of them. `load_listener` takes samples from any other source
    thresholds : lowest scores of events; None: those that `evaluate_stream` has stored in the run, else 0.8
    detection : settings of windows and decoder; None: those of the stored thresholds, else the defaults
    pipe_rate_hz : sample rate of standard input, unless it is a WAV stream
    plot : PNG file for a timeline of one file, which is written at the end
    model : "module:function" of a custom network, which is imported only if it is named here

    Yields
    ------
    Event, in the order of files and of time. A file that can't be read to its end gives an Event with its error at last.

    Raises
    ------
    RunError: the run is not finished. ConfigError: a setting can not work, or there is no file. Both are raised before the
    first event.
    """
    given = [files] if isinstance(files, (str, Path)) else list(files)
    is_live = PIPE in map(str, given)
    if is_live and len(given) > 1:
        raise ConfigError('"-" (standard input) was given with other files; give it alone')
    if not 1 <= pipe_rate_hz <= 768_000:
        raise ConfigError(f"sample rate of standard input is {pipe_rate_hz} Hz; expected 1 to 768000")
    check_finished(run, model)
    paths = [PIPE] if is_live else [file.path for file in find_audio_files(given)]
    if plot is not None and len(paths) > 1:
        raise ConfigError(
            f"{len(paths):,} files were given; a timeline shows one: give a single file, or leave out the plot"
        )
    settings = settings_of(run, thresholds, detection)
    on_progress(Progress(stage="start", message="importing TensorFlow and loading the network"))
    heard = _Hearing(
        trained=load_run(run, model),
        thresholds=settings[0],
        detection=settings[1],
        pipe_rate_hz=pipe_rate_hz,
        plot=None if plot is None else Path(plot),
    )
    heard.listener("")  # checks the thresholds
    return heard.events(paths, on_progress)


def load_listener(
    run: str | Path,
    *,
    thresholds: Thresholds | None = None,
    detection: DetectionConfig | None = None,
    model: str | None = None,
) -> Listener:
    """Load a run for live sound from any source of samples; parameters and errors as `listen`.

    `push` of the Listener takes the next samples, at the sample rate of the run, and returns the events that they end.
    """
    return Listener(load_run(run, model), *settings_of(run, thresholds, detection), file="", batch_size=1)


@dataclass(frozen=True, kw_only=True)
class _Hearing:
    """A loaded run and all settings."""

    trained: TrainedRun
    thresholds: Thresholds
    detection: DetectionConfig
    pipe_rate_hz: int
    plot: Path | None

    def listener(self, path: str) -> Listener:
        batch_size = 1 if path == PIPE else BATCH_SIZE
        return Listener(self.trained, self.thresholds, self.detection, path, batch_size)

    def events(self, paths: Sequence[str], on_progress: OnProgress) -> Iterator[Event]:
        for number, path in enumerate(paths, start=1):
            yield from self._events_of(path)
            if len(paths) > 1:
                on_progress(Progress(stage="listen", done=number, total=len(paths), unit="files"))

    def _events_of(self, path: str) -> Iterator[Event]:
        rate_hz = self.trained.features.sample_rate_hz
        blocks = pipe_blocks(_read_stdin, rate_hz, self.pipe_rate_hz) if path == PIPE else sound_blocks(path, rate_hz)
        listener, found = self.listener(path), list[Event]()
        try:
            with closing(blocks):
                for event in hear(listener, blocks, path):
                    if self.plot is not None and event.error is None:
                        found.append(event)
                    yield event
        finally:  # live sound ends with Ctrl-C
            if self.plot is not None:
                spans = [(str(event.label), event.start_s, event.end_s, event.score or 0.0) for event in found]
                plot_timeline(spans, listener.duration_s, path if path != PIPE else "standard input", self.plot)


def _read_stdin(num_bytes: int) -> bytes:
    return os.read(sys.stdin.fileno(), num_bytes)
