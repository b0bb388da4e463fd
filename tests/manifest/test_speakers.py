"""Speakers from paths: patterns, presets, and the proposed pattern."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.empty_files import tree

from hybridspeech.errors import ConfigError, ManifestError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.manifest.speakers import PatternProposal, propose_pattern, speaker_finder


@pytest.mark.parametrize(
    ("pattern", "path", "speaker"),
    [
        ("speech-commands", "yes/anna_nohash_0.wav", "anna"),
        ("speech-commands", "yes/anna_01.wav", ""),
        ("speech-commands", "a_nohash_b/anna_01.wav", ""),
        ("prefix", "yes/anna_01.wav", "anna"),
        ("prefix", "yes/anna-2_01.wav", "anna"),
        ("prefix", "my_words/anna.wav", ""),
        ("parent", "yes/anna/01.wav", "anna"),
        ("parent", "yes/set 1/anna/01.wav", "anna"),
        ("parent", "yes/01.wav", ""),
        (r"/(\d+)[a-z]", "yes/12a.wav", "12"),
        (r"/(x)?(?P<speaker>[a-z]+)\d", "yes/anna01.wav", "anna"),
    ],
)
def test_a_pattern_finds_the_speaker(pattern: str, path: str, speaker: str) -> None:
    assert speaker_finder(pattern)(path) == speaker


@pytest.mark.parametrize("pattern", ["(", "[a-z]+", "prefixes"], ids=["invalid", "no-group", "misspelled"])
def test_a_pattern_without_a_group_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"speaker pattern .*; expected speech-commands, prefix, parent, or"):
        ManifestConfig(speaker_pattern=pattern)


def test_a_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    source = tree(tmp_path, "no/anna.wav", "yes/anna.wav")
    with pytest.raises(ManifestError, match=r"'prefix' finds no speaker in any of 2 paths, e.g. 'no/anna.wav'"):
        read_manifest(source, ManifestConfig(speaker_pattern="prefix"))


def test_a_speaker_found_by_a_pattern_is_in_one_split(tmp_path: Path) -> None:
    names = [f"{word}/{name}_{take}.wav" for word in ("no", "yes") for name in "abcdefghij" for take in (1, 2)]
    source = tree(tmp_path, *names)
    found = read_manifest(source, ManifestConfig(speaker_pattern="prefix", testing_percentage=40))
    assert {clip.speaker for clip in found.clips} == set("abcdefghij")
    assert len({(clip.speaker, clip.split) for clip in found.clips}) == 10
    assert found.counts()["testing"] > 0


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("{word}/{speaker}_{take}.wav", "prefix"),
        ("{word}/{speaker}/{take}.wav", "parent"),
        ("{word}/{take}-{speaker}.wav", r"[_-]([^/_-]+)\.[^/.]+$"),
        ("{word}/{word}_{speaker}_{take}.wav", r"/[^/_-]+[_-]([^/_-]+)[_-][^/]*$"),
    ],
)
def test_the_pattern_that_fits_the_names_is_proposed(name: str, pattern: str) -> None:
    clips = [
        (name.format(word=word, speaker=speaker, take=take), word)
        for word in ("no", "yes")
        for speaker in ("anna", "ben")
        for take in ("1", "2")
    ]
    assert propose_pattern(lambda: clips) == PatternProposal(pattern=pattern, speakers=("anna", "ben"))


@pytest.mark.parametrize("name", ["{word}/{word}_{take}.wav", "{word}/take_{take}.wav", "{word}/{word}{take}.wav"])
def test_names_without_speakers_give_no_proposal(name: str) -> None:
    clips = [(name.format(word=word, take=f"{word[0]}{i}"), word) for word in ("no", "yes") for i in range(9)]
    assert propose_pattern(lambda: clips) is None
