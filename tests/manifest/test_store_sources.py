"""A source on an object store has the clips, labels, splits and ids of the same source on a local disk."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from hybridspeech.audio.background_noise import find_noises
from hybridspeech.audio.decode import read_clip, read_recording
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError, ManifestError
from hybridspeech.manifest.clips import Manifest
from hybridspeech.manifest.columns.clip_table import ClipTable
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.storage.copies import upload_files
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import list_files, write_bytes


@pytest.fixture
def local(noisy_tones: Path, tmp_path: Path) -> Path:
    """Clips, noise, lists, tables, and files to be ignored."""
    folder = tmp_path / "source"
    for path in sorted(noisy_tones.rglob("*.wav")):
        target = folder / path.relative_to(noisy_tones)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for name in ("notes.txt", "loose.wav", "low/readme.md", "low/.hidden.wav", "low/.cache/a.wav", "high/deep/b.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "testing_list.txt").write_text("low/00000000_nohash_0.wav\n")
    (folder / "validation_list.txt").write_text("low/00000001_nohash_0.wav\nlow/missing.wav\n")
    (folder / "words.csv").write_text("path,label\nlow/00000000_nohash_0.wav,low\nhigh/00000003_nohash_0.wav,high\n")
    return folder


@pytest.fixture
def stored(local: Path) -> str:
    """The same files on a store."""
    url = f"memory://test/{uuid.uuid4().hex}"
    upload_files(local, [stat.name for stat in list_files(str(local))], url)
    return url


def with_local_paths(manifest: Manifest, url: str, local: Path) -> Manifest:
    clips = ClipTable.of(replace(clip, path=clip.path.replace(url, str(local))) for clip in manifest.clips)
    return replace(manifest, clips=clips, source=str(local), folder=str(local))


def test_a_folder_on_a_store_has_the_local_manifest(local: Path, stored: str) -> None:
    config = ManifestConfig(allow_speaker_overlap=True)
    expected = read_manifest(local, config)
    found = read_manifest(stored, config)
    assert expected.split_rule == "lists"
    assert with_local_paths(found, stored, local) == expected
    assert found.clips[0].path.startswith(stored)


def test_a_table_on_a_store_has_the_local_manifest(local: Path, stored: str) -> None:
    expected = read_manifest(local / "words.csv")
    found = with_local_paths(read_manifest(join(stored, "words.csv")), stored, local)
    assert replace(found, source=expected.source) == expected


def test_a_local_table_may_contain_urls(local: Path, stored: str) -> None:
    for name in ("testing_list.txt", "validation_list.txt"):
        (local / name).unlink()
    (local / "urls.csv").write_text(f"path,label\n{stored}/low/00000002_nohash_0.wav,low\n{stored}/high/b.wav,high\n")
    assert [clip.path for clip in read_manifest(local / "urls.csv").clips] == [
        f"{stored}/high/b.wav",
        f"{stored}/low/00000002_nohash_0.wav",
    ]


def test_noise_and_clips_of_a_store_are_read(local: Path, stored: str) -> None:
    noises = find_noises(stored)
    assert [replace(n, path=n.path.replace(stored, str(local))) for n in noises] == list(find_noises(local))
    assert (read_recording(noises[0].path, 16_000) == read_recording(find_noises(local)[0].path, 16_000)).all()
    name = "low/00000002_nohash_0.wav"
    assert (read_clip(join(stored, name), FeatureConfig()) == read_clip(local / name, FeatureConfig())).all()
    with pytest.raises(AudioError, match="missing"):
        read_clip(join(stored, "low/missing.wav"), FeatureConfig())


def test_an_empty_url_and_an_unfinished_data_set_are_refused(stored: str) -> None:
    with pytest.raises(ManifestError, match="no word folder here"):
        read_manifest(join(stored, "nothing"))
    write_bytes(join(stored, "_unfinished/a"), b"")
    with pytest.raises(ManifestError, match="this data set is not finished"):
        read_manifest(stored)
