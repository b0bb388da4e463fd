"""Folders as a source: clips and ignored files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.empty_files import tree

from hybridspeech.audio import ffmpeg
from hybridspeech.errors import ManifestError
from hybridspeech.manifest.clips import Manifest
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.parquet import to_parquet
from hybridspeech.manifest.reader import read_manifest


def ids(manifest: Manifest) -> list[str]:
    return [clip.clip_id for clip in manifest.clips]


def test_real_clips_are_split_as_published(speech_commands: Path) -> None:
    found = read_manifest(speech_commands)
    assert found.split_rule == "lists"
    assert found.counts() == {"training": 1112, "validation": 180, "testing": 408}
    assert len(found.labels) == 30
    assert found.ignored == found.notes == ()


def test_the_hash_rule_gives_the_published_lists(speech_commands: Path) -> None:
    by_lists = read_manifest(speech_commands, ManifestConfig(split="lists"))
    by_hash = read_manifest(speech_commands, ManifestConfig(split="hash"))
    assert by_hash.clips == by_lists.clips


def test_each_folder_is_a_label_and_clips_are_sorted(tmp_path: Path) -> None:
    found = read_manifest(tree(tmp_path, "no/b.wav", "yes/x.FLAC", "no/take 2/ä.mp3", "no/a.ogg"))
    assert ids(found) == ["no/a.ogg", "no/b.wav", "no/take 2/ä.mp3", "yes/x.FLAC"]
    assert found.labels == ("no", "yes")
    assert [clip.label for clip in found.clips] == [0, 0, 0, 1]
    assert found.clips[2].path == str(tmp_path / "no/take 2/ä.mp3")


def test_folders_that_start_with_underscore_or_dot_are_ignored(tmp_path: Path) -> None:
    found = read_manifest(tree(tmp_path, "no/a.wav", "_background_noise_/hum.wav", ".cache/a.wav", "README.md"))
    assert found.labels == ("no",)
    assert found.ignored == ()


def test_ignored_files_are_named(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav", "no/.DS_Store", "no/._a.wav", "no/notes.txt", "no/.git/x.wav", "loose.wav")
    os.mkfifo(tmp_path / "no/pipe.wav")
    (tmp_path / "no/loop").symlink_to(tmp_path, target_is_directory=True)
    found = read_manifest(tmp_path)
    assert ids(found) == ["no/a.wav"]
    assert found.ignored == (
        *("loose.wav", "no/.DS_Store", "no/._a.wav", "no/.git", "no/loop", "no/notes.txt", "no/pipe.wav"),
    )


def test_a_link_to_a_file_is_a_clip_also_when_broken(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav")
    (tmp_path / "no/b.wav").symlink_to("a.wav")
    (tmp_path / "no/c.wav").symlink_to("gone.wav")
    (tmp_path / "no/d.wav").symlink_to("d.wav")
    assert ids(read_manifest(tmp_path)) == ["no/a.wav", "no/b.wav", "no/c.wav", "no/d.wav"]


def test_the_source_may_be_a_link_or_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "real", "no/a.wav")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert read_manifest("link").clips[0].path == str(tmp_path / "link/no/a.wav")


def test_names_that_are_not_utf8_or_have_line_breaks_are_kept(tmp_path: Path) -> None:
    names = [b"\xff_nohash_0.wav", b"a\nb.wav"]
    (tmp_path / "no").mkdir()
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path / "no") + b"/" + name)).touch()
    found = read_manifest(tmp_path)
    assert ids(found) == ["no/\\udcff_nohash_0.wav", "no/a\nb.wav"]
    assert [os.fsencode(clip.path).rpartition(b"/")[2] for clip in found.clips] == names
    assert found.clips[0].speaker == "\\udcff"
    (tmp_path / "manifest.parquet").write_bytes(to_parquet(found))


def test_a_word_with_a_line_break_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"'a\\nb' contains a line break"):
        read_manifest(tree(tmp_path, "a\nb/x.wav"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no word folder here"),
        (["a.wav", "b.wav"], "It holds 2 audio files directly: if it is one word's folder, give the folder above"),
        (["yes/a.wav", "no/README"], "no audio file in 'no'; put clips there"),
        (["yes/a.wav", "no/b.caf"], "no audio file in 'no';.* 'no/b.caf' can't be decoded: convert to WAV or FLAC"),
        (["_noise_/a.wav"], "no word folder here"),
    ],
)
def test_the_error_for_an_unsuitable_folder_gives_the_reason(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(tree(tmp_path, *names))


def test_recordings_of_phones_are_named_with_the_remedy_until_they_are_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "is_installed", lambda: False)
    tree(tmp_path, "no/a.wav", "no/b.M4A", "no/c.d.webm", "yes/a.wav")
    found = read_manifest(tmp_path)
    assert ids(found) == ["no/a.wav", "no/b.M4A", "no/c.d.webm", "yes/a.wav"]
    (note,) = found.notes
    assert note.startswith("2 files of an unsupported format, e.g. 'no/b.M4A'; install PyAV (pip install ")
    assert note.endswith(
        "or convert to WAV or FLAC, for example with ffmpeg -i clip.m4a clip.wav, and preprocess again"
    )
    converted = read_manifest(tree(tmp_path, "no/b.wav", "no/c.d.wav"))
    assert ids(converted) == ["no/a.wav", "no/b.wav", "no/c.d.wav", "yes/a.wav"]
    assert (converted.ignored, converted.notes) == (("no/b.M4A", "no/c.d.webm"), ())


def test_the_error_for_linked_word_folders_gives_the_reason(tmp_path: Path) -> None:
    (tmp_path / "no").symlink_to(tree(tmp_path / "elsewhere", "a.wav"), target_is_directory=True)
    (tmp_path / "elsewhere").rename(tmp_path / "_elsewhere")
    with pytest.raises(ManifestError, match="links, which are not followed"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("gone", "no such folder or file"), ("set.tar.gz", "unknown kind.*Unpack an archive")]
)
def test_a_source_of_an_unknown_kind_is_refused(tmp_path: Path, name: str, message: str) -> None:
    tree(tmp_path, "set.tar.gz")
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav")
    (tmp_path / "no").chmod(0)
    with pytest.raises(ManifestError, match="can't list"):
        read_manifest(tmp_path)
    (tmp_path / "no").chmod(0o700)


def test_an_unfinished_data_set_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav", "_unfinished/yes/b.wav")
    with pytest.raises(ManifestError, match=r"not finished .*run the command that makes it again"):
        read_manifest(tmp_path)


def test_a_single_label_gives_a_note(tmp_path: Path) -> None:
    found = read_manifest(tree(tmp_path, "speech/yes/a.wav", "speech/no/a.wav"))
    assert found.notes == ("there is only one label, 'speech'; if the words are folders below it, give that folder",)
