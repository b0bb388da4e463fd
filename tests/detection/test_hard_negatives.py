from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hybridspeech.detection.hard_negatives import hardest_windows, separated_maxima
from hybridspeech.detection.listener import WindowPlan

PLAN = WindowPlan(length=16_000, hop=1_600, sample_rate_hz=16_000)
LABELS = ("_silence_", "_unknown_", "no", "yes")


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(0, 6))
def test_every_window_is_near_a_chosen_one_that_scores_at_least_as_high(scores: list[int], suppression: int) -> None:
    chosen = separated_maxima(np.array(scores, np.float32), suppression)
    assert all(abs(a - b) > suppression for a in chosen for b in chosen if a != b)
    for index, score in enumerate(scores):
        assert any(abs(index - each) <= suppression and scores[each] >= score for each in chosen)


def row(name: str, first: int, probabilities: list[list[float]], error: str | None = None) -> dict[str, Any]:
    posteriors = np.array(probabilities, "<f4").tobytes()
    return {"clip_id": name, "path": f"/{name}", "first_window": first, "posteriors": posteriors, "error": error}


def test_the_windows_with_the_most_probable_words_of_all_files_are_chosen() -> None:
    quiet, speech, word = [0.9, 0.1, 0.0, 0.0], [0.1, 0.5, 0.3, 0.1], [0.0, 0.1, 0.1, 0.8]
    rows = [
        row("a.wav", 0, [quiet] * 8),
        row("a.wav", 8, [word, speech, quiet]),  # windows 8 to 10
        row("b.wav", 0, [quiet, speech]),
        row("c.wav", 0, [speech], error="damaged"),
        row("c.wav", 1, [word], error="damaged"),  # behind the damage
    ]
    found = hardest_windows(rows, PLAN, LABELS, suppression=2, count=3)
    assert [(each.file.clip_id, each.start, each.label) for each in found] == [
        ("a.wav", 8 * 1_600 - PLAN.lead, "_unknown_"),
        ("b.wav", 1_600 - PLAN.lead, "_unknown_"),
        ("c.wav", -PLAN.lead, "_unknown_"),
    ]
    np.testing.assert_allclose([each.score for each in found if each.score], [0.8, 0.3, 0.3], atol=1e-6)
    everything = hardest_windows(rows, PLAN, LABELS, suppression=0, count=100)
    assert [each.label for each in everything].count("_silence_") == 10
