"""Synthetic speech: the same bytes for a seed, in the layout of Speech Commands; testing speakers are not in training."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridspeech.commands.synthesize import synthesize
from hybridspeech.config import Progress
from hybridspeech.corpora.espeak import SAMPLE_RATE_HZ, Voice, speak
from hybridspeech.corpora.speakers import VOICES, Speaker, make_speakers, synthesize_words
from hybridspeech.corpora.synthesis import WORDS
from hybridspeech.errors import ConfigError, ManifestError, MissingExtraError, OutputExistsError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.manifest.splits import split_by_hash
from hybridspeech.manifest.tasks import select_task


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 30 words of 4 speakers. Read only."""
    out = tmp_path_factory.mktemp("spoken")
    synthesize(out, clips_per_word=4, num_workers=1)
    return out


# eSpeak NG


def test_speech_does_not_depend_on_earlier_calls() -> None:
    voice = Voice(name="en-us+f3")
    first = speak(["cat", "six"], voice, seed=1)
    speak(["happy"], Voice(name="en+m4", rate_wpm=120), seed=2)
    again = speak(["cat", "six"], voice, seed=1)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


def test_another_seed_gives_another_utterance() -> None:
    first, second = (speak(["cat"], Voice(name="en-us+f3"), seed=seed)[0] for seed in (1, 2))
    assert first.dtype == np.int16
    assert not np.array_equal(first, second)


def test_voices_and_words_differ() -> None:
    sounds = [speak(["cat", "six"], Voice(name=name)) for name in ("en-us", "en+f1")]
    assert len({sound.tobytes() for pair in sounds for sound in pair}) == 4


def test_all_voices_give_the_same_samples_in_any_order() -> None:
    def hashes(names: list[str]) -> dict[str, int]:
        return {name: hash(speak(["six"], Voice(name=name), seed=1)[0].tobytes()) for name in names}

    shuffled = random.Random(0).sample(VOICES, len(VOICES))
    assert hashes(shuffled) == hashes(list(VOICES))


def test_a_faster_voice_takes_less_time() -> None:
    slow, fast = (speak(["seven"], Voice(name="en-us", rate_wpm=rate))[0].size for rate in (100, 250))
    assert fast < slow < 2 * SAMPLE_RATE_HZ


def test_an_unknown_voice_is_an_error_and_later_calls_work() -> None:
    with pytest.raises(ConfigError, match="voice 'xx-klingon' is unknown"):
        speak(["cat"], Voice(name="xx-klingon"))
    assert speak(["cat"], Voice(name="en-us"))[0].size


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingExtraError, match="needs the extra 'demo'"):
        synthesize(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# The data set


def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path, spoken: Path) -> None:
    for name, num_workers in (("one", 1), ("two", 2)):
        synthesize(tmp_path / name, clips_per_word=4, num_workers=num_workers)
    assert digest(tmp_path / "one") == digest(tmp_path / "two") == digest(spoken)


def test_another_seed_gives_other_speakers(tmp_path: Path, spoken: Path) -> None:
    synthesize(tmp_path / "out", clips_per_word=4, num_workers=1, seed=1)
    there, here = (
        {name: value for name, value in digest(root).items() if name.endswith(".wav")}
        for root in (tmp_path / "out", spoken)
    )
    assert not set(there.values()) & set(here.values())


def test_more_clips_per_word_keep_the_first_clips(tmp_path: Path, spoken: Path) -> None:
    synthesize(tmp_path / "out", clips_per_word=6, num_workers=1)
    more = digest(tmp_path / "out")
    assert all(more[name] == value for name, value in digest(spoken).items() if "_nohash_" in name)


def test_clips_are_short_pcm_and_neither_silent_nor_clipped(spoken: Path) -> None:
    for clip in read_manifest(spoken).clips:
        info = soundfile.info(clip.path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        samples, _ = soundfile.read(clip.path)
        assert 4_000 < samples.size <= 16_000
        assert 0.1 < np.abs(samples).max() < 0.9
        quiet, loud = np.percentile(samples[: samples.size // 400 * 400].reshape(-1, 400).std(axis=1), [5, 95])
        assert loud > 10 * quiet  # a word in noise that is 20 dB or more below it


def test_the_lists_are_those_of_the_hash_rule(spoken: Path) -> None:
    found = read_manifest(spoken)
    assert found.split_rule == "lists"
    assert found.counts() == {"training": 60, "validation": 30, "testing": 30}
    assert found.labels == WORDS
    assert found.ignored == found.notes == ()
    assert found.clips == read_manifest(spoken, ManifestConfig(split="hash")).clips


def test_speakers_take_turns(tmp_path: Path) -> None:
    result = synthesize(tmp_path / "out", words=["yes", "no"], clips_per_word=5, num_speakers=2, num_workers=1)
    speakers = make_speakers(2, seed=0)
    assert sorted(path.name for path in (tmp_path / "out/yes").iterdir()) == sorted(
        [f"{speakers[0].speaker_id}_nohash_{take}.wav" for take in (0, 1, 2)]
        + [f"{speakers[1].speaker_id}_nohash_{take}.wav" for take in (0, 1)]
    )
    assert (result.num_clips, result.num_speakers, result.splits) == (
        10,
        2,
        {"training": 6, "validation": 0, "testing": 4},
    )


@given(seed=st.integers(0, 2**64), num_speakers=st.integers(1, 400))
@settings(max_examples=25, deadline=None)
def test_speakers_are_distinct_and_have_the_splits_of_the_hash_rule(seed: int, num_speakers: int) -> None:
    speakers = make_speakers(num_speakers, seed)
    assert len({speaker.speaker_id for speaker in speakers}) == num_speakers
    assert all(split_by_hash(speaker.speaker_id) == speaker.split for speaker in speakers)
    assert len({speaker.voice.name for speaker in speakers}) == min(num_speakers, len(VOICES))
    assert sum(speaker.split == "testing" for speaker in speakers) == (num_speakers + 8) // 10


def test_fewer_speakers_are_the_first_of_more_speakers() -> None:
    larger: list[Speaker] = make_speakers(30, seed=7)
    assert make_speakers(10, seed=7) == larger[:10]


def test_background_noise_is_longer_than_a_clip(spoken: Path) -> None:
    noises = {path.name: soundfile.info(path).duration for path in (spoken / "_background_noise_").iterdir()}
    assert noises == {"white_noise.wav": 10.0, "pink_noise.wav": 10.0, "mains_hum.wav": 10.0}


def test_the_settings_are_written_down(spoken: Path) -> None:
    written = json.loads((spoken / "synthesis.json").read_text())
    assert (written["seed"], written["num_clips"], written["words"]) == (0, 120, list(WORDS))
    assert "No person was recorded" in (spoken / "README.md").read_text()


def test_progress_counts_every_clip(tmp_path: Path) -> None:
    seen: list[Progress] = []
    synthesize(tmp_path / "out", words=["yes", "no"], clips_per_word=3, num_workers=1, on_progress=seen.append)
    assert [(progress.done, progress.total) for progress in seen] == [(2, 6), (4, 6), (6, 6)]


# Words of a user


@pytest.fixture(scope="module")
def own_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two words, one of them with two spellings, and near misses. Read only."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "words.txt").write_text("Schlüssel\nLicht an\tan\nmach das Licht an\tan\n", encoding="utf-8")
    synthesize(
        *(folder / "out",),
        words=folder / "words.txt",
        language="de",
        negatives=2,
        clips_per_word=20,
        num_speakers=15,
        clip_duration_ms=1_800,
        num_workers=1,
    )
    return folder


def test_each_label_and_the_near_misses_have_a_folder_that_preprocess_takes(own_words: Path) -> None:
    found = read_manifest(own_words / "out")
    assert found.labels == ("Schlüssel", "_unknown_", "an")
    assert found.split_rule == "lists"
    assert [len(list((own_words / "out" / label).iterdir())) for label in found.labels] == [20, 8, 20]
    speakers = {clip.speaker: clip.split for clip in found.clips}
    assert len(speakers) == 15
    written = json.loads((own_words / "out/synthesis.json").read_text(encoding="utf-8"))
    assert written["texts"] == {"an": ["Licht an", "mach das Licht an"]}
    assert len(written["negatives"]) == 4
    assert written["num_clips"] == 48 == len(found.clips)


def test_the_near_misses_are_all_taken_when_a_task_names_unknown(own_words: Path) -> None:
    config = ManifestConfig(task="words:an,_unknown_", unknown_percentage=25)
    chosen = select_task(read_manifest(own_words / "out"), config, ())
    counts = Counter((clip.label_name, clip.clip_id.partition("/")[0]) for clip in chosen.clips)
    assert counts == {("an", "an"): 20, ("_unknown_", "_unknown_"): 8, ("_unknown_", "Schlüssel"): 6}


def test_words_of_a_user_have_the_same_bytes_for_any_number_of_processes(own_words: Path, tmp_path: Path) -> None:
    again = synthesize(
        *(tmp_path / "out",),
        words=str(own_words / "words.txt"),
        language="de",
        negatives=2,
        clips_per_word=20,
        num_speakers=15,
        clip_duration_ms=1_800,
        num_workers=2,
    )
    assert digest(tmp_path / "out") == digest(own_words / "out")
    assert again.splits == read_manifest(tmp_path / "out").counts()


def test_phrases_are_spoken_to_their_end(own_words: Path) -> None:
    for path in (own_words / "out/an").iterdir():
        samples, _ = soundfile.read(path)
        assert samples.size <= 28_800
        if samples.size == 28_800:  # not one of those that are cut after the word
            levels = samples.reshape(-1, 400).std(axis=1)
            assert levels[-1] < 0.2 * levels.max()


def test_a_slow_voice_speaks_a_long_word_faster() -> None:
    (slow,) = (replace(each, voice=replace(each.voice, rate_wpm=80)) for each in make_speakers(1, seed=0))
    (clip,) = synthesize_words(slow, 0, ["happy birthday"], seed=0)
    levels = np.resize(clip, 16_000).reshape(-1, 400).std(axis=1)
    assert levels[-1] < 0.2 * levels.max()


def test_a_word_list_of_several_blocks_is_complete(tmp_path: Path) -> None:
    words = [f"number {i}" for i in range(70)]
    result = synthesize(tmp_path / "out", words=words, clips_per_word=1, num_workers=1, clip_duration_ms=1_500)
    assert result.num_clips == 70
    assert sorted(path.parent.name for path in (tmp_path / "out").rglob("*_nohash_0.wav")) == sorted(words)


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("turn on the light in the kitchen", {}, r"takes 1\.\d s, and a clip has 1000 ms; give --clip-duration-ms \d"),
        ("yes", {"language": "german"}, r"'german' is unknown to espeak-ng; the nearest of \d+ are de \(German\)"),
        ("yes", {"language": "de,xx"}, "'xx' is unknown"),
        ("日本", {}, "can't be spoken by the voice of language 'en-us', which names its letters"),
        ("hello", {"language": "ru"}, "language 'ru', which speaks it as language 'en'"),
        ("?!", {}, "has no letter or digit"),
        ("yes", {"negatives": -1}, "negatives is -1"),
        ("yes", {"clip_duration_ms": 50}, "clip duration is 50 ms"),
    ],
)
def test_a_word_that_can_not_be_spoken_is_refused(
    tmp_path: Path, text: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        synthesize(tmp_path / "out", words=[text], **arguments)
    assert list(tmp_path.iterdir()) == []


# Existing and unfinished outputs


def test_only_our_own_output_folder_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    synthesize(out, words=["yes"], clips_per_word=1, num_workers=1)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        synthesize(out, words=["no"], clips_per_word=1, num_workers=1)
    synthesize(out, words=["no"], clips_per_word=1, num_workers=1, overwrite=True)
    assert read_manifest(out).labels == ("no",)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    with pytest.raises(ConfigError, match=r"thesis\.txt"):
        synthesize(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine/thesis.txt").exists()


def test_an_interrupted_synthesis_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "out", words=["yes"], clips_per_word=3, num_workers=2, on_progress=interrupt)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_killed_synthesis_is_not_taken_for_complete(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from hybridspeech.commands.synthesize import synthesize\n"
        "def kill(progress): os.kill(os.getpid(), signal.SIGKILL)\n"
        "synthesize(sys.argv[1], words=['yes', 'no'], clips_per_word=3, num_workers=1, on_progress=kill)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], timeout=60, check=False)
    assert (tmp_path / "out/_unfinished").is_dir()
    with pytest.raises(ManifestError, match="not finished"):
        read_manifest(tmp_path / "out")
    with pytest.raises(OutputExistsError):
        synthesize(tmp_path / "out", clips_per_word=1)
    synthesize(tmp_path / "out", words=["yes"], clips_per_word=1, num_workers=1, overwrite=True)
    assert read_manifest(tmp_path / "out").labels == ("yes",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"words": []}, "expected one or more"),
        ({"words": ["yes", "yes"]}, "'yes' is there already, in word 1"),
        ({"words": ["_yes"]}, "'_yes' can't be the name"),
        ({"words": ["a/b"]}, "'a/b' can't be the name"),
        ({"words": [".."]}, "'..' can't be the name"),
        ({"clips_per_word": 0}, "clips_per_word is 0; expected 1 or more"),
        ({"num_speakers": 0}, "num_speakers is 0"),
        ({"num_workers": -1}, "num_workers is -1"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
    ],
)
def test_invalid_settings_are_refused(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        synthesize(tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
