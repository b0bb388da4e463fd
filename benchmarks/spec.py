"""Records that define a case: its peers, its sizes and its targets."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SIZES = ("tiny", "small", "full")


@dataclass(frozen=True)
class Peer:
    """An implementation that is timed. It is skipped, and the report says so, if a module in `needs` is not installed.

    `packages` are what pip installs for it into an environment of its own if a module is missing; empty: nothing.
    `shards` is the kind of a second input, which the function gets as `shards`; empty: there is none.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    shards: str = ""
    packages: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Modules of `needs` that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


@dataclass(frozen=True)
class Size:
    """Amount of work. `timeout_s` is the limit of one repeat. `num_clips` 0: all clips (1,200 synthesized ones)."""

    num_clips: int
    repeats: int = 3
    timeout_s: float = 900.0
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """`peer` is at least `ratio` times as good as `baseline`.

    `fact` names a fact of the outcomes, of which less is better, that is compared instead of the values. When the target is
    missed, the report shows `reason`, and the ratio of `bound`, a peer that is an upper limit for `peer`.
    """

    peer: str
    baseline: str
    ratio: float
    bound: str = ""
    fact: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One table and one plot of the report.

    Parameters
    ----------
    target : "module:function", called with the input folder, a scratch folder, and the settings of the size and of the
        peer, in a fresh process; it returns an Outcome
    baselines : the peers that the others are compared with in the report; if empty, the first
    seeded : pass the number of the repeat as `seed`
    single_threaded : limit numeric libraries to one thread, so that a value is per core
    """

    title: str
    about: str
    target: str
    unit: str
    sizes: Mapping[str, Size]
    peers: Mapping[str, Peer]
    input: Literal["clips", "stft-shards", "logmel-shards", "waveform-shards", "table"] = "clips"
    better: Literal["higher", "lower"] = "higher"
    baselines: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    single_threaded: bool = False
    seeded: bool = False


def sizes(tiny: Size, small: Size, full: Size) -> Mapping[str, Size]:
    """Return the sizes of a case by their names."""
    return dict(zip(SIZES, (tiny, small, full), strict=True))
