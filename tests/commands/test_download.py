"""The verb `data download`: a data set from a mirror is complete and checked, or absent."""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.archives import files, special, tar, zipped
from support.http_server import Answer, Server

from hybridspeech.commands.download import DownloadResult, download
from hybridspeech.config import Progress
from hybridspeech.corpora.fetch import FetchConfig
from hybridspeech.corpora.published import PUBLISHED
from hybridspeech.errors import ConfigError, DownloadError, HybridspeechError, ManifestError, OutputExistsError
from hybridspeech.manifest.reader import read_manifest

NAME = "speech-commands-v0.01"
CONTENT = random.Random(0).randbytes(20_000)
QUICK = FetchConfig(timeout_s=5.0, max_failures=3, pause_s=0.0)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SPEECH = tar(
    (special("./", tarfile.DIRTYPE), b""),
    *[(f"./{word}/{speaker:08x}_nohash_0.wav", CONTENT) for word in ("no", "yes") for speaker in range(8)],
    ("./_background_noise_/hum.wav", b""),
    ("./LICENSE", b"CC BY 4.0"),
)


def from_disk(tmp_path: Path, content: bytes = SPEECH) -> dict[str, str]:
    """A mirror of a data set."""
    (tmp_path / "mirror").write_bytes(content)
    return {"url": (tmp_path / "mirror").as_uri(), "sha256": sha256(content)}


def test_a_data_set_is_fetched_checked_and_unpacked(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(SPEECH, start, most=len(SPEECH) // 3))
    seen: list[Progress] = []
    result = download(
        NAME,
        tmp_path / "out",
        url=f"{server.url}?key=secret",
        sha256=sha256(SPEECH),
        fetch_config=QUICK,
        on_progress=seen.append,
    )
    assert result == DownloadResult(
        out=str(tmp_path / "out"),
        name=NAME,
        url=server.url,
        num_bytes=len(SPEECH),
        sha256=sha256(SPEECH),
        num_clips=16,
        num_words=2,
        license="CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)",
        credit="Pete Warden, Speech Commands: A public dataset for single-word speech recognition, 2017",
        is_new=True,
        seconds=result.seconds,
    )
    assert len(read_manifest(tmp_path / "out").clips) == 16
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"no", "yes", "_background_noise_", "LICENSE", "download.json"}
    assert [(p.stage, p.done, p.total) for p in seen if p.done == p.total] == [("download", 1, 1), ("unpack", 1, 1)]


def test_a_complete_data_set_is_not_fetched_again(tmp_path: Path) -> None:
    mirror = from_disk(tmp_path)
    first = download(NAME, tmp_path / "out", **mirror)
    (tmp_path / "mirror").unlink()
    second = download(NAME, tmp_path / "out", **mirror)
    assert second == replace(first, is_new=False, seconds=second.seconds)
    with pytest.raises(DownloadError):
        download(NAME, tmp_path / "out", **mirror, overwrite=True)


def test_a_published_data_set_is_checked_for_size_and_hash(
    tmp_path: Path, serve: Callable[[Answer], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda handler, start: handler.send_range(SPEECH, start))
    with pytest.raises(DownloadError, match="expected 1,489,096,277: it is another file"):
        download(NAME, tmp_path / "out", url=server.url, fetch_config=QUICK)
    assert list((tmp_path / "out").iterdir()) == []
    facts = replace(PUBLISHED[NAME], num_bytes=len(SPEECH), sha256=sha256(SPEECH), url=server.url)
    monkeypatch.setitem(PUBLISHED, NAME, facts)  # type: ignore[arg-type]
    assert download(NAME, tmp_path / "out", fetch_config=QUICK).num_clips == 16


def test_the_folder_around_the_words_of_mini_is_left_out(tmp_path: Path) -> None:
    content = zipped(("mini_speech_commands/yes/a.wav", b"1"), ("__MACOSX/mini_speech_commands/._yes", b""))
    download("mini-speech-commands", tmp_path / "out", **from_disk(tmp_path, content))
    assert read_manifest(tmp_path / "out").clips[0].clip_id == "yes/a.wav"


def test_a_call_continues_an_unfinished_download(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    broken = serve(lambda handler, start: handler.send_range(SPEECH, start, most=5000 if start < 0 else 0))
    with pytest.raises(DownloadError, match="5,000 bytes are kept"):
        download(NAME, tmp_path / "out", url=broken.url, sha256=sha256(SPEECH), fetch_config=QUICK)
    with pytest.raises(ManifestError, match="not finished"):
        read_manifest(tmp_path / "out")
    repaired = serve(lambda handler, start: handler.send_range(SPEECH, start))
    download(NAME, tmp_path / "out", url=repaired.url, sha256=sha256(SPEECH), fetch_config=QUICK)
    assert repaired.asked == [5000]


@pytest.mark.parametrize("moment", ["read_manifest", "_move_into_place"])
def test_a_killed_download_is_not_taken_for_complete(tmp_path: Path, moment: str) -> None:
    mirror = from_disk(tmp_path)
    script = (
        "import os, signal, sys, hybridspeech.commands.download, hybridspeech.corpora.download_folder as folder\n"
        f"folder.{moment} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "hybridspeech.commands.download.download(sys.argv[1], sys.argv[2], url=sys.argv[3], sha256=sys.argv[4])\n"
    )
    command = [sys.executable, "-c", script, NAME, str(tmp_path / "out"), mirror["url"], mirror["sha256"]]
    assert subprocess.run(command, timeout=60, check=False).returncode == -9
    with pytest.raises(ManifestError, match="not finished"):
        read_manifest(tmp_path / "out")
    (tmp_path / "mirror").unlink()
    assert download(NAME, tmp_path / "out", **mirror).num_clips == 16
    assert len(files(tmp_path / "out")) == 16 + 3


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (tar(("../evil.wav", b"")), DownloadError),
        (tar(("yes/a.wav", b""), ("_unfinished/a.wav", b"")), HybridspeechError),
        (tar(("yes/a.wav", b""), ("download.json", b"{}")), DownloadError),
        (tar(("README.md", b"")), ManifestError),
    ],
)
def test_a_refused_data_set_leaves_no_word_folders(tmp_path: Path, content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        download(NAME, tmp_path / "out", **from_disk(tmp_path, content))
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.wav")] == []
    assert not (tmp_path / "out/download.json").exists()


def test_files_of_other_programs_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").touch()
    mirror = from_disk(tmp_path)
    with pytest.raises(OutputExistsError):
        download(NAME, tmp_path / "out", **mirror)
    with pytest.raises(ConfigError, match=r"thesis\.txt"):
        download(NAME, tmp_path / "out", **mirror, overwrite=True)
    download(NAME, tmp_path / "set", **mirror)
    with pytest.raises(OutputExistsError):
        download("mini-speech-commands", tmp_path / "set", **mirror)


def test_a_download_that_was_killed_while_moving_files_is_continued(tmp_path: Path) -> None:
    mirror = from_disk(tmp_path)
    first = download(NAME, tmp_path / "out", **mirror)
    whole = tmp_path / "out/_unfinished/whole"
    whole.mkdir(parents=True)
    for name in ("yes", "download.json"):
        (tmp_path / "out" / name).rename(whole / name)
    (tmp_path / "out/yes").mkdir()
    with pytest.raises(OutputExistsError, match="'yes' is in the way"):
        download(NAME, tmp_path / "out", **mirror)
    (tmp_path / "out/yes").rmdir()
    again = download(NAME, tmp_path / "out", **mirror)
    assert again == replace(first, seconds=again.seconds)
    assert len(read_manifest(tmp_path / "out").clips) == 16


@pytest.mark.parametrize("mark", ["", "[]", '{"name": "speech-commands-v0.01"}'])
def test_a_foreign_download_json_is_ignored(tmp_path: Path, mark: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/download.json").write_text(mark)
    with pytest.raises(OutputExistsError):
        download(NAME, tmp_path / "out", **from_disk(tmp_path))


def test_download_json_has_no_path_of_this_machine(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(SPEECH, start))
    download(NAME, tmp_path / "out", url=server.url, sha256=sha256(SPEECH), fetch_config=QUICK)
    mark = (tmp_path / "out/download.json").read_text()
    assert str(tmp_path) not in mark
    assert json.loads(mark)["sha256"] == sha256(SPEECH)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "libri"}, "'libri' is unknown; choose one of speech-commands-v0.01, "),
        ({"sha256": "abc"}, "'abc'; expected 64"),
        ({"url": "mirror.tar.gz"}, "expected one that starts with"),
    ],
)
def test_invalid_arguments_are_refused(tmp_path: Path, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        download(**{"name": NAME, **arguments}, out=tmp_path / "out")  # type: ignore[arg-type]


def test_every_published_data_set_has_a_hash_and_a_licence() -> None:
    assert set(PUBLISHED) == {"speech-commands-v0.01", "speech-commands-v0.02", "mini-speech-commands"}
    assert all(re.fullmatch("[0-9a-f]{64}", facts.sha256) and facts.num_bytes for facts in PUBLISHED.values())
    assert all(facts.url.startswith("https://") and "Pete Warden" in facts.credit for facts in PUBLISHED.values())
