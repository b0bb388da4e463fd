"""Splits and speakers of clips: published lists, hash rule, table columns and file names."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.empty_files import tree

from hybridspeech.errors import ManifestError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.manifest.splits import hash_name_of, split_by_hash


def official(filename: str, validation_percentage: float, testing_percentage: float) -> str:
    """`which_set` from the README of Speech Commands v0.01, for Python 3."""
    import hashlib

    hash_name = re.sub(r"_nohash_.*$", "", os.path.basename(filename))  # noqa: PTH119 - as published
    hash_name_hashed = hashlib.sha1(hash_name.encode()).hexdigest()
    percentage_hash = (int(hash_name_hashed, 16) % (2**27 - 1 + 1)) * (100.0 / (2**27 - 1))
    if percentage_hash < validation_percentage:
        return "validation"
    return "testing" if percentage_hash < (testing_percentage + validation_percentage) else "training"


@given(
    name=st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"])),
    take=st.sampled_from(["", "_nohash_0", "_nohash_1_nohash_2", "_nohash_\n"]),
    validation=st.floats(0, 50),
    testing=st.floats(0, 50),
)
@settings(deadline=None)
def test_the_hash_rule_is_the_official_one(name: str, take: str, validation: float, testing: float) -> None:
    file_name = f"{name}{take}.wav"
    expected = official(f"word/{file_name}", validation, testing)
    assert split_by_hash(hash_name_of(file_name), validation, testing) == expected


@given(speakers=st.sets(st.text("0123456789abcdef", min_size=8, max_size=8), min_size=1))
@settings(deadline=None)
def test_a_larger_testing_share_moves_no_speaker_out_of_testing(speakers: set[str]) -> None:
    for speaker in speakers:
        if split_by_hash(speaker, 10, 10) == "testing":
            assert split_by_hash(speaker, 10, 30) == "testing"


def test_a_file_without_nohash_has_no_known_speaker(tmp_path: Path) -> None:
    found = read_manifest(tree(tmp_path, "no/a.wav", "no/0b7ee1a0_nohash_3.wav"))
    assert [clip.speaker for clip in found.clips] == ["0b7ee1a0", ""]
    assert found.split_rule == "hash"
    assert found.clips[1].split == official("a.wav", 10, 10)


def test_lists_take_precedence_over_the_hash_rule(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav", "no/b.wav", "no/c.wav")
    (tmp_path / "testing_list.txt").write_text("no/a.wav\r\n./no/gone.wav\r\n")
    (tmp_path / "validation_list.txt").write_text("\n./no/b.wav")
    found = read_manifest(tmp_path)
    assert [clip.split for clip in found.clips] == ["testing", "validation", "training"]
    assert found.notes[0] == "1 of 3 paths in validation_list.txt and testing_list.txt are missing"


@pytest.mark.parametrize(
    ("name", "split", "drawn"),
    [("testing_list.txt", "testing", "validation"), ("validation_list.txt", "validation", "testing")],
)
def test_a_single_list_is_used_and_the_hash_rule_decides_the_other_split(
    tmp_path: Path, name: str, split: str, drawn: str
) -> None:
    names = [f"no/{speaker:08x}_nohash_0.wav" for speaker in range(40)]
    tree(tmp_path, *names)
    (tmp_path / name).write_text("".join(f"{clip_id}\n" for clip_id in names[:3]))
    found = read_manifest(tmp_path)
    assert [clip.clip_id for clip in found.of_split(split)] == names[:3]
    by_hash = {clip.clip_id: clip.split for clip in read_manifest(tmp_path, ManifestConfig(split="hash")).clips}
    assert [clip.clip_id for clip in found.of_split(drawn)] == [n for n in names[3:] if by_hash[n] == drawn] != []
    assert any(f"the hash rule draws the {drawn} split" in note for note in found.notes)


def test_lists_that_name_no_clip_are_an_error(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav", "validation_list.txt")
    (tmp_path / "testing_list.txt").write_text("data/no/a.wav\n")
    with pytest.raises(ManifestError, match=r"none of the 1 paths.*'data/no/a.wav'"):
        read_manifest(tmp_path)


def test_empty_lists_put_all_in_training(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav", "validation_list.txt", "testing_list.txt")
    assert read_manifest(tmp_path).counts() == {"training": 1, "validation": 0, "testing": 0}


def test_a_clip_in_both_lists_is_an_error(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav")
    for name in ("testing_list.txt", "validation_list.txt"):
        (tmp_path / name).write_text("no/a.wav\n")
    with pytest.raises(ManifestError, match=r"'no/a.wav' is in both"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("split", "message"), [("lists", "needs validation_list.txt, which is missing"), ("column", "needs a column")]
)
def test_a_rule_that_can_not_be_applied_is_an_error(tmp_path: Path, split: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(tree(tmp_path, "no/a.wav"), ManifestConfig(split=split))  # type: ignore[arg-type]


def test_rule_none_puts_all_in_training(tmp_path: Path) -> None:
    found = read_manifest(tree(tmp_path, "no/a.wav", "no/b.wav"), ManifestConfig(split="none"))
    assert {clip.split for clip in found.clips} == {"training"}


def test_a_speaker_in_two_splits_is_an_error_unless_allowed(tmp_path: Path) -> None:
    tree(tmp_path, "no/bob_nohash_0.wav", "no/bob_nohash_1.wav", "no/x.wav", "validation_list.txt")
    (tmp_path / "testing_list.txt").write_text("no/bob_nohash_1.wav\n")
    message = "'bob' is in two splits: 'no/bob_nohash_0.wav' is in training, 'no/bob_nohash_1.wav' in testing"
    with pytest.raises(ManifestError, match=f"{re.escape(message)}.*--allow-speaker-overlap"):
        read_manifest(tmp_path)
    assert read_manifest(tmp_path, ManifestConfig(allow_speaker_overlap=True)).counts()["testing"] == 1
