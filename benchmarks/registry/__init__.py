"""The cases as data: peers, sizes and targets, in the order of the report. Imports none of the peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.registry import object_stores, preprocessing, shards, streams, training
from benchmarks.spec import Case
from hybridspeech.errors import ConfigError

CASES: Mapping[str, Case] = {
    **preprocessing.CASES,
    **shards.CASES,
    **training.CASES,
    **object_stores.CASES,
    **streams.CASES,
}


def select(patterns: Sequence[str]) -> dict[str, list[str]]:
    """Return the cases and the names of their peers that match one of the patterns; all if there are none.

    Parameters
    ----------
    patterns : part of a case's name, or of "case/peer", such as ``train``, ``stft-stage/spark`` or ``/tf-``

    Raises
    ------
    ConfigError: a pattern matches nothing.
    """
    names = {case: [f"{case}/{peer}" for peer in CASES[case].peers] for case in CASES}
    for pattern in patterns:
        if not any(pattern in name for found in names.values() for name in found):
            raise ConfigError(f"no case or peer matches {pattern!r}; the cases are {', '.join(CASES)}")
    chosen = {
        case: [name.partition("/")[2] for name in found if not patterns or any(p in name for p in patterns)]
        for case, found in names.items()
    }
    return {case: peers for case, peers in chosen.items() if peers}
