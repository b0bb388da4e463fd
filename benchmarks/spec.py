"""What a case is: who is timed, how much is done, what is promised. Records only."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SIZES = ("tiny", "small", "full")


@dataclass(frozen=True)
class Peer:
    """Who is timed. Without one of the modules in `needs` the peer is skipped, and the report says so."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Modules of `needs` that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


@dataclass(frozen=True)
class Size:
    """How much is done. `timeout_s` is for one repeat. `num_clips` 0: all that there are (a synthesised set: 1,200)."""

    num_clips: int
    repeats: int = 3
    timeout_s: float = 900.0
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Promise:
    """`peer` is at least `ratio` times as good as `than`.

    `bound` names a peer that no engine can beat: what it reaches says whether the promise could be kept at all.
    """

    peer: str
    than: str
    ratio: float
    bound: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One table and one plot of the report.

    Parameters
    ----------
    target : "module:function", called with the input folder, a scratch folder, and the settings of the size and of the
        peer, in a fresh process; it returns an Outcome
    than : the peers that the others are compared with in the report; if empty, the first
    seeded : give each repeat its number as `seed`
    single_threaded : keep numeric libraries to one thread, so that a value is one of a core
    """

    title: str
    about: str
    target: str
    unit: str
    sizes: Mapping[str, Size]
    peers: Mapping[str, Peer]
    input: Literal["clips", "stft-shards", "logmel-shards", "waveform-shards"] = "clips"
    better: Literal["higher", "lower"] = "higher"
    than: tuple[str, ...] = ()
    promises: tuple[Promise, ...] = ()
    single_threaded: bool = False
    seeded: bool = False
