"""The settings of word detection in continuous sound. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hybridspeech.errors import ConfigError
from hybridspeech.manifest.config import SILENCE, UNKNOWN
from hybridspeech.records import check

NOT_DETECTED = (SILENCE, UNKNOWN)
"""Labels that are never events."""


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """Settings of word detection.

    Parameters
    ----------
    hop_ms : time from window to window, rounded to a multiple of the hop length of the features
    smoothing_ms : the probabilities of the windows that begin within this time are averaged
    lookahead_ms : an event is final when no window that begins within this time after it has a higher score
    suppression_ms : time after an event in which no other event begins

    Raises
    ------
    ConfigError: a value is out of range.
    """

    hop_ms: float = 100.0
    smoothing_ms: float = 300.0
    lookahead_ms: float = 300.0
    suppression_ms: float = 800.0

    def __post_init__(self) -> None:
        check(1 <= self.hop_ms <= 60_000, f"hop_ms is {self.hop_ms}; expected 1 to 60000")
        for name in ("smoothing_ms", "lookahead_ms", "suppression_ms"):
            value = getattr(self, name)
            check(0 <= value <= 60_000, f"{name} is {value}; expected 0 to 60000")


@dataclass(frozen=True, kw_only=True)
class DecoderSettings:
    """Settings of a decoder, in windows.

    Parameters
    ----------
    thresholds : lowest score of an event of each label, 0 to 1; above 1: the label is never an event
    num_smoothed : number of consecutive windows whose probabilities are averaged, 1 or more
    lookahead, suppression : number of windows; see DetectionConfig
    """

    thresholds: tuple[float, ...]
    num_smoothed: int = 1
    lookahead: int = 0
    suppression: int = 0


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Lowest scores of events: `default`, or that of a label in `labels`; 0 to 1.

    Raises
    ------
    ConfigError: a value is out of range.
    """

    default: float = 0.8
    labels: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in {"threshold": self.default, **self.labels}.items():
            check(0 < value <= 1, f"threshold {name} is {value}; expected more than 0, at most 1")

    def of(self, labels: Sequence[str]) -> tuple[float, ...]:
        """Return the threshold of each label; that of silence and unknown words is never reached.

        Raises
        ------
        ConfigError: a label has a threshold and does not exist, or is never an event.
        """
        for name in self.labels:
            if name not in labels or name in NOT_DETECTED:
                known = ", ".join(label for label in labels if label not in NOT_DETECTED)
                raise ConfigError(f"threshold of {name!r}: no such word; the run detects {known}")
        return tuple(2.0 if label in NOT_DETECTED else self.labels.get(label, self.default) for label in labels)
