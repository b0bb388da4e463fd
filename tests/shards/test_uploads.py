from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import StorageError
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.shards import writer
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.plan import plan_shards
from hybridspeech.shards.uploads import BackgroundUploads
from hybridspeech.shards.worker import ShardMaker
from hybridspeech.storage.objects import list_files


def test_one_upload_runs_beside_its_caller_and_the_next_waits_for_it() -> None:
    may_end, log = threading.Event(), []

    def first() -> None:
        may_end.wait(30)
        log.append("first")

    with BackgroundUploads() as uploads:
        uploads.submit(first)
        assert log == []
        threading.Timer(0.05, may_end.set).start()
        uploads.submit(lambda: log.append("second"))
        assert log[0] == "first"
    assert log == ["first", "second"]


def test_the_error_of_an_upload_is_raised_at_the_next_one_or_at_the_end() -> None:
    def fail() -> None:
        raise StorageError("refused")

    with pytest.raises(StorageError, match="refused"), BackgroundUploads() as uploads:
        uploads.submit(fail)
    with BackgroundUploads() as uploads:
        uploads.submit(fail)
        with pytest.raises(StorageError, match="refused"):
            uploads.submit(pytest.fail)


def test_a_shard_whose_upload_fails_has_no_record_and_leaves_no_file(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = read_manifest(tones).clips
    config = ShardConfig(num_shards=3).for_features("waveform")
    out = f"memory://test/{tmp_path.name}"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    upload = writer.upload

    def refuse_second(path: Path, location: str) -> None:
        if "00001-of" in location:
            raise StorageError(f"{location}: refused")
        upload(path, location)

    monkeypatch.setattr(writer, "upload", refuse_second)
    maker = ShardMaker(out=out, features=FeatureConfig(kind="waveform"), shards=config, key="")
    with pytest.raises(StorageError, match=r"00001-of-00003\.tfrecord: refused"):
        maker(plan_shards(clips, config))
    names = [stat.name for stat in list_files(out)]
    assert names == ["_progress/training-00000-of-00003.tfrecord.json", "training-00000-of-00003.tfrecord"]
    assert list(tmp_path.iterdir()) == []
