"""Result of a measurement in continuous sound: one record per condition, and the files. Knows nothing of networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.detection.stream_metrics import LabelCurve, OperatingPoint, Sweep, area, operating_points
from hybridspeech.detection.stream_report import write_stream_report
from hybridspeech.evaluation.event_plots import plot_det
from hybridspeech.evaluation.intervals import count_speakers
from hybridspeech.records import to_json
from hybridspeech.storage.locations import is_url, join, normalized
from hybridspeech.storage.objects import write_bytes

METRICS_NAME, DET_NAME = "stream.json", "det.png"


@dataclass(frozen=True, kw_only=True)
class StreamCondition:
    """Measurement in one condition.

    Parameters
    ----------
    name : "clean" or "10 dB"; of recordings: the name of the file or folder
    snr_db : level of the background noise that was added, in dB; None: none was added
    num_words, num_speakers : target words in the sound, and their speakers; 0 if they are unknown
    hours : duration of the sound without target words
    num_other_clips, repeats : different clips in it, and how often each one is used on average; of recordings: their number
    chosen : measurement at the threshold of the result
    at_rates : measurement at each of RATES_PER_HOUR (0.1, 0.5, 1 and 10 false accepts per hour, all labels together)
    area : mean miss rate from 0.1 to 10 false accepts per hour, evenly over the logarithm of the rate
    curve, labels : measurement at each threshold of the sweep, of all labels and of each one
    """

    name: str
    snr_db: float | None
    num_words: int
    num_speakers: int
    hours: float
    num_other_clips: int
    repeats: float
    chosen: OperatingPoint
    at_rates: tuple[OperatingPoint, ...]
    area: float
    curve: tuple[OperatingPoint, ...]
    labels: tuple[LabelCurve, ...]


@dataclass(frozen=True, kw_only=True)
class StreamResult:
    """Result of `evaluate_stream` and `evaluate_recording`.

    Parameters
    ----------
    threshold : that of all labels; of `evaluate_recording`, that of labels without their own
    target_fa_per_hour : rate for which the threshold was chosen and stored in the run; None: it is that of the run
    metrics, det : files
    """

    run: str
    threshold: float
    target_fa_per_hour: float | None
    conditions: tuple[StreamCondition, ...]
    metrics: str
    det: str
    warnings: tuple[str, ...]


def stream_condition(
    name: str,
    swept: Sweep,
    num_other_clips: int,
    chosen: OperatingPoint,
    snr_db: float | None = None,
) -> StreamCondition:
    """Summarise the counts of one condition.

    Parameters
    ----------
    num_other_clips : number of different clips in the sound without target words
    chosen : measurement at the threshold of the result
    """
    points = swept.points()
    return StreamCondition(
        name=name,
        snr_db=snr_db,
        num_words=len(swept.words),
        num_speakers=count_speakers([word.speaker for word in swept.words]),
        hours=swept.hours,
        num_other_clips=num_other_clips,
        repeats=swept.num_others / num_other_clips,
        chosen=chosen,
        at_rates=operating_points(points),
        area=area(points),
        curve=points,
        labels=swept.curves(),
    )


def stream_result(
    run: str | Path,
    place: str,
    threshold: float,
    target: float | None,
    conditions: Sequence[StreamCondition],
    warnings: Sequence[str],
) -> StreamResult:
    """Return the result of measurements whose files are in the folder `place`."""
    return StreamResult(
        run=normalized(str(run)) if is_url(run) else str(Path(run).absolute()),
        threshold=threshold,
        target_fa_per_hour=target,
        conditions=tuple(conditions),
        metrics=join(place, METRICS_NAME),
        det=join(place, DET_NAME),
        warnings=tuple(warnings),
    )


def write_stream_files(result: StreamResult, folder: Path, report: str | Path | None) -> None:
    """Write the result, the DET curves and the report.

    Raises
    ------
    ConfigError: a file can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    curves = {
        condition.name: [(point.false_accepts_per_hour, point.miss_rate) for point in condition.curve]
        for condition in result.conditions
    }
    hours = min(condition.hours for condition in result.conditions)
    plot_det(curves, hours, folder / DET_NAME)
    write_bytes(str(folder / METRICS_NAME), json.dumps(to_json(result), indent=2) + "\n")
    if report:
        write_stream_report(Path(report), result.run, result.threshold, result.conditions, folder / DET_NAME)
