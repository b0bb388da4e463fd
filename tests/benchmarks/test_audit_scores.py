"""Planted faults, and the precision and recall of an audit that looks for them."""

from __future__ import annotations

from pathlib import Path

from support.audio_files import sound

from benchmarks.audit import score_kind
from benchmarks.planted_faults import CHANGES, COPIES, Fault, plant

FAULTS = [
    Fault(kind="near-duplicate", clip_id="no/b.wav", original="no/a.wav", form="gain"),
    Fault(kind="near-duplicate", clip_id="no/d.wav", original="no/c.wav", form="8 kHz"),
    Fault(kind="low-rate", clip_id="no/e.wav", original="no/e.wav", form="8 kHz"),
    Fault(kind="label-doubt", clip_id="yes/f.wav", original="no/f.wav", form="no -> yes"),
    Fault(kind="silence", clip_id="no/g.wav", original="no/g.wav", form="zeros"),
]


def rows(kind: str, *clip_ids: str) -> list[dict[str, str]]:
    return [{"kind": kind, "clip_id": clip_id} for clip_id in clip_ids]


def test_either_clip_of_a_pair_counts_once() -> None:
    score = score_kind(0, "near-duplicate", FAULTS, rows("near-duplicate", "no/a.wav", "no/b.wav", "no/x.wav"), ())
    assert (score.planted, score.hits, score.found, score.own, score.other) == (2, 1, 3, 0, 1)
    assert score.row() == ("0", "near-duplicate", "2", "3", "0.50", "0.67", "0.67")


def test_a_duplicate_made_at_8_khz_is_a_clip_of_a_low_rate() -> None:
    score = score_kind(0, "low-rate", FAULTS, rows("low-rate", "no/d.wav", "no/e.wav"), ())
    assert score.row()[-3:] == ("1.00", "1.00", "1.00")


def test_faults_that_the_recordings_have_are_set_aside_under_their_old_name() -> None:
    found = rows("silence", "yes/f.wav", "no/g.wav", "no/h.wav")
    score = score_kind(0, "silence", FAULTS, found, {("silence", "no/f.wav")})
    assert score.row()[-3:] == ("1.00", "0.33", "0.50")


def test_each_form_is_planted_once_and_a_seed_decides_where(tmp_path: Path) -> None:
    for word in ("no", "yes", "up"):
        (tmp_path / "source" / word).mkdir(parents=True)
        for speaker in range(15):
            (tmp_path / "source" / word / f"{speaker:08x}_nohash_0.wav").write_bytes(sound("WAV", "PCM_16"))
    counts = {"label-doubt": 3, "exact-duplicate": 2, "near-duplicate": len(COPIES)}
    counts |= {kind: len(forms) for kind, forms in CHANGES.items()}
    faults = plant(tmp_path / "source", tmp_path / "one", 3, counts)
    assert faults == plant(tmp_path / "source", tmp_path / "two", 3, counts)
    assert {fault.form for fault in faults} >= {*COPIES, *(form for forms in CHANGES.values() for form in forms)}
    assert len({fault.original for fault in faults}) == len(faults) == sum(counts.values())
    assert all((tmp_path / "one" / fault.clip_id).is_file() for fault in faults)
    assert len(list((tmp_path / "one").glob("*/*.wav"))) == 45 + 2 + len(COPIES)
