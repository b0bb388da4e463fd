from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hybridspeech.audio.background_noise import Noise, find_noises
from hybridspeech.errors import ConfigError, ManifestError
from hybridspeech.manifest.clips import Manifest
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.manifest.tasks import add_copies, select_task

HASH = {"validation_percentage": 25.0, "testing_percentage": 25.0}


@pytest.fixture(scope="module")
def manifest(noisy_tones: Path) -> Manifest:
    return read_manifest(noisy_tones, ManifestConfig(**HASH))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def noises(noisy_tones: Path) -> tuple[Noise, ...]:
    return find_noises(noisy_tones)


def counts(manifest: Manifest) -> Counter[tuple[str, str]]:
    return Counter((clip.label_name, clip.split) for clip in manifest.clips)


def test_the_task_all_keeps_every_label(manifest: Manifest, noises: tuple[Noise, ...]) -> None:
    assert select_task(manifest, ManifestConfig(), noises) is manifest


def test_the_task_words_keeps_the_given_words(manifest: Manifest, noises: tuple[Noise, ...]) -> None:
    chosen = select_task(manifest, ManifestConfig(task="words:low,high"), noises)
    assert chosen.labels == ("high", "low")
    assert {(clip.label, clip.label_name) for clip in chosen.clips} == {(0, "high"), (1, "low")}
    assert len(chosen.clips) == 24


def test_unknown_and_silence_are_a_percentage_of_the_words_in_each_split(
    manifest: Manifest, noises: tuple[Noise, ...]
) -> None:
    config = ManifestConfig(task="words:low,high,_unknown_,_silence_", unknown_percentage=50, silence_percentage=100)
    chosen = select_task(manifest, config, noises)
    assert chosen.labels == ("_silence_", "_unknown_", "high", "low")
    found = counts(chosen)
    for split in ("training", "validation", "testing"):
        words = found["low", split] + found["high", split]
        assert found["_unknown_", split] == -(-words // 2)
        assert found["_silence_", split] == words
    unknown = [clip for clip in chosen.clips if clip.label_name == "_unknown_"]
    assert {clip.clip_id.split("/")[0] for clip in unknown} <= {"down", "middle"}


def test_silence_of_a_split_is_cut_out_of_noise_of_that_split(manifest: Manifest, noises: tuple[Noise, ...]) -> None:
    config = ManifestConfig(task="words:low,high,_silence_", silence_percentage=100)
    splits = {noise.path: noise.splits for noise in noises}
    silence = [clip for clip in select_task(manifest, config, noises).clips if clip.label_name == "_silence_"]
    assert len({clip.excerpt for clip in silence}) == len(silence)
    for clip in silence:
        assert splits[clip.path] == (clip.split,)
        assert clip.excerpt is not None
        assert 0 <= min(clip.excerpt) <= max(clip.excerpt) < 1


def test_without_noise_recordings_silence_is_digital_silence(manifest: Manifest) -> None:
    config = ManifestConfig(task="words:low,high,_silence_")
    assert {clip.path for clip in select_task(manifest, config, ()).clips if clip.label_name == "_silence_"} == {""}


def test_the_sample_does_not_change_with_clips_of_other_words(manifest: Manifest, noises: tuple[Noise, ...]) -> None:
    config = ManifestConfig(task="words:low,high,_silence_")
    fewer = Manifest(
        clips=manifest.clips.where("label_name", ("high", "low", "middle")),
        labels=("high", "low", "middle"),
        source="",
        split_rule="hash",
    )
    assert select_task(fewer, config, noises).clips == select_task(manifest, config, noises).clips


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("words:low,hgih", "needs the word 'hgih', and the source has only down, high, low, middle"),
        ("words:down,high,low,middle,_unknown_", "no other word is left for _unknown_"),
    ],
)
def test_a_task_with_missing_words_is_refused(
    manifest: Manifest, noises: tuple[Noise, ...], task: str, sentence: str
) -> None:
    with pytest.raises(ManifestError, match=sentence):
        select_task(manifest, ManifestConfig(task=task), noises)


@pytest.mark.parametrize("task", ["13", "words:", "words:one", "word:a,b"])
def test_an_unknown_task_is_refused(task: str) -> None:
    with pytest.raises(ConfigError, match="choose all, 12, or words:"):
        ManifestConfig(task=task)


def test_the_task_12_has_the_labels_of_speech_commands() -> None:
    words = ManifestConfig(task="12").words
    assert words is not None
    commands = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"}
    assert set(words) == commands | {"_unknown_", "_silence_"}


def test_only_training_clips_have_copies_with_the_id_of_the_clip(manifest: Manifest) -> None:
    copied = add_copies(manifest, 2)
    added = [clip for clip in copied.clips if clip.copy]
    assert len(added) == 2 * len(manifest.of_split("training"))
    assert {clip.split for clip in added} == {"training"}
    assert {clip.recorded_id for clip in added} == {clip.clip_id for clip in manifest.of_split("training")}
    assert len({clip.clip_id for clip in copied.clips}) == len(copied.clips)
