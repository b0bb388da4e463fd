"""Warnings about unknown speakers, empty or unexpected splits, and labels with few clips."""

from __future__ import annotations

from pathlib import Path

from support.empty_files import tree

from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.manifest.source_warnings import source_warnings


def warnings_of(source: Path, **settings: object) -> tuple[str, ...]:
    config = ManifestConfig(**settings)  # type: ignore[arg-type]
    found = read_manifest(source, config)
    return source_warnings(found.clips.names(), config, found.split_rule)


def table(root: Path, splits: dict[str, int], labels: tuple[str, ...] = ("no", "yes")) -> Path:
    """A table in which each split has a speaker with this number of clips of each label."""
    rows = [
        f"{label}-{split}-{take}.wav,{label},speaker-{split},{split}"
        for label in labels
        for split, count in splits.items()
        for take in range(count)
    ]
    tree(root, rows[0].partition(",")[0])
    (root / "clips.csv").write_text("\n".join(["path,label,speaker,split", *rows]))
    return root / "clips.csv"


def test_good_clips_give_no_warning(speech_commands: Path, tmp_path: Path) -> None:
    assert warnings_of(table(tmp_path, {"training": 5, "validation": 1, "testing": 9})) == ()
    assert warnings_of(speech_commands) == ()


def test_unknown_speakers_are_counted_with_consequence_and_remedy(tmp_path: Path) -> None:
    names = [f"{word}/{name}_{take}.wav" for word in ("no", "yes") for name in ("anna", "ben") for take in range(10)]
    warning, *_ = warnings_of(tree(tmp_path, *names, "no/carl_nohash_0.wav"))
    assert warning.startswith(
        "the speaker of 40 of 41 clips is unknown, so clips of one speaker may be in training and"
    )
    assert "--speaker-pattern prefix, which finds 2 speakers (anna, ben)" in warning


def test_one_split_needs_no_speakers(tmp_path: Path) -> None:
    names = [f"{word}/anna_{take}.wav" for word in ("no", "yes") for take in range(5)]
    assert warnings_of(tree(tmp_path, *names), split="none") == ()


def test_a_split_without_clips_is_named_unless_none_were_requested(tmp_path: Path) -> None:
    source = table(tmp_path, {"training": 5, "testing": 5})
    (warning,) = warnings_of(source)
    assert warning.startswith("there are no clips for validation (so there is no early stopping")
    assert not any("no clips" in text for text in warnings_of(source, split="none"))
    hashed = warnings_of(source, split="hash", validation_percentage=0, testing_percentage=0)
    assert hashed == ()


def test_labels_with_few_training_clips_are_named(tmp_path: Path) -> None:
    source = table(tmp_path, {"training": 4, "validation": 9, "testing": 9})
    (warning,) = warnings_of(source)
    assert warning.startswith("labels with fewer than 5 clips for training: no (4), yes (4); a network does not learn")


def test_a_share_far_from_the_requested_one_is_reported(tmp_path: Path) -> None:
    """The hash rule puts speaker b into testing, and the other speakers into training."""
    names = [f"yes/b_nohash_{take}.wav" for take in range(17)] + [f"yes/{name}_nohash_0.wav" for name in "acd"]
    warnings = warnings_of(tree(tmp_path, *names))
    assert any(text.startswith("split testing has 17 of 20 clips (85 %), and 10 % were requested") for text in warnings)


def test_shares_of_lists_and_columns_are_not_compared(tmp_path: Path) -> None:
    assert warnings_of(table(tmp_path, {"training": 5, "validation": 5, "testing": 90})) == ()
