"""Clips that are longer than the clip duration: the sentence about what was cut off. Knows nothing of decoding."""

from __future__ import annotations

from collections.abc import Collection

CUT_REMEDY = "check that each word is at the start, or set --clip-duration-ms, --on-long split or --on-long reject"


def describe_cut(cuts_s: Collection[float], number: str, clip_duration_ms: int) -> str:
    """Return a sentence about the clips that were cut; '' if there are none.

    Parameters
    ----------
    cuts_s : duration that was cut off each clip that was longer than the clip duration, in seconds
    number : number of all clips with its noun, such as "120 clips"
    """
    if not cuts_s:
        return ""
    verb = "is" if len(cuts_s) == 1 else "are"
    return (
        f"{len(cuts_s):,} of {number} {verb} longer than the clip duration of {clip_duration_ms:,} ms: "
        f"{sum(cuts_s):,.1f} s in total were cut off at their ends, at most {max(cuts_s):,.1f} s of one"
    )
