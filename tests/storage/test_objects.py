from __future__ import annotations

import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hybridspeech.errors import ConfigError, MissingExtraError, StorageError
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.storage import retries, s3_listing
from hybridspeech.storage.filesystems import untested_note
from hybridspeech.storage.locations import is_url, join, normalized
from hybridspeech.storage.objects import (
    create_exclusively,
    delete_files,
    download,
    is_file,
    list_files,
    read_bytes,
    stat_file,
    upload,
    write_bytes,
)
from hybridspeech.storage.parallel_reads import read_many


@pytest.fixture(params=["local", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty location of each kind."""
    if request.param == "s3":
        return str(request.getfixturevalue("s3_url"))
    return f"memory://test/{uuid.uuid4().hex}" if request.param == "memory" else str(tmp_path)


def write(place: str, name: str, content: bytes) -> None:
    if not is_url(place):
        Path(place, name).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(join(place, name), content)


def test_a_written_file_is_read(place: str) -> None:
    write(place, "a b/ü+%.json", b"one")
    assert read_bytes(join(place, "a b/ü+%.json")) == b"one"
    before = stat_file(join(place, "a b/ü+%.json"))
    write(place, "a b/ü+%.json", b"three")
    after = stat_file(join(place, "a b/ü+%.json"))
    assert read_bytes(join(place, "a b/ü+%.json")) == b"three"
    assert (before.num_bytes, after.num_bytes, after.name) == (3, 5, "ü+%.json")
    assert before.version != after.version


def test_files_are_listed_at_any_depth_in_the_order_of_names(place: str) -> None:
    for name in ("b/2.wav", "a.wav", "b/1.wav"):
        write(place, name, name.encode())
    assert [(stat.name, stat.num_bytes) for stat in list_files(place)] == [("a.wav", 5), ("b/1.wav", 7), ("b/2.wav", 7)]
    assert [stat.name for stat in list_files(join(place, "b"))] == ["1.wav", "2.wav"]
    assert list_files(join(place, "nothing")) == []


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_objects_are_a_source(s3_url: str) -> None:
    names = [f"word{i % 30:02}/{i:05}_nohash_0.wav" for i in range(100_000)]
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda name: write_bytes(join(s3_url, name), b"RIFF"), names))
    assert [(stat.name, stat.num_bytes) for stat in list_files(s3_url)] == [(name, 4) for name in sorted(names)]
    manifest = read_manifest(s3_url)
    assert [clip.clip_id for clip in manifest.clips] == sorted(names)
    assert len(manifest.labels) == 30


def test_names_with_special_characters_are_listed(place: str) -> None:
    names = ["a b/ü+%'.wav", "a b/&<x>.wav", "~,;=@.wav"]
    for name in names:
        write(place, name, b"12")
    assert [stat.name for stat in list_files(place)] == sorted(names)
    assert [stat.name for stat in list_files(join(place, "a b"), prefix="ü+")] == ["ü+%'.wav"]


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_a_list_of_several_answers_is_complete(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{folder}/{number}" for folder in "ab" for number in range(5)]
    for name in names:
        write(place, name, b"x")
    monkeypatch.setattr(s3_listing, "OBJECTS_AT_ONCE", 3)
    assert [stat.name for stat in list_files(place)] == names
    assert [stat.version for stat in list_files(place)] == [stat_file(join(place, name)).version for name in names]


def test_a_name_with_the_same_beginning_is_not_listed(place: str) -> None:
    write(place, "word/1.wav", b"1")
    write(place, "words/1.wav", b"1")
    assert [stat.name for stat in list_files(join(place, "word"))] == ["1.wav"]


def test_a_missing_file_is_file_not_found(place: str) -> None:
    for call in (read_bytes, stat_file):
        with pytest.raises(FileNotFoundError):
            call(join(place, "missing"))
    assert not is_file(join(place, "missing"))


def test_many_files_are_read_in_order_and_a_missing_one_is_an_error_in_its_place(place: str) -> None:
    names = [f"{number}.wav" for number in range(100)]
    for name in names:
        write(place, name, name.encode() * 50)
    names.insert(40, "missing.wav")
    found = list(read_many(join(place, name) for name in names))
    assert isinstance(found.pop(40), FileNotFoundError)
    assert found == [f"{number}.wav".encode() * 50 for number in range(100)]


def test_deleting_ignores_missing_files_and_keeps_others(place: str) -> None:
    for name in ("1", "2", "3"):
        write(place, name, b"x")
    delete_files(join(place, name) for name in ("1", "3", "missing"))
    assert [stat.name for stat in list_files(place)] == ["2"]


@pytest.mark.parametrize("place", ["memory", "s3"], indirect=True)
def test_an_object_is_created_by_one_caller_only(place: str) -> None:
    assert create_exclusively(join(place, "lock"), b"first")
    assert not create_exclusively(join(place, "lock"), b"second")
    assert read_bytes(join(place, "lock")) == b"first"


@pytest.mark.parametrize("place", ["memory", "s3"], indirect=True)
@pytest.mark.parametrize("num_bytes", [0, 70_000])
def test_a_file_is_uploaded_and_downloaded(place: str, num_bytes: int, tmp_path: Path) -> None:
    content = os.urandom(num_bytes)
    (tmp_path / "shard").write_bytes(content)
    upload(tmp_path / "shard", join(place, "shard"))
    download(join(place, "shard"), tmp_path / "deep" / "copy")
    assert (tmp_path / "deep" / "copy").read_bytes() == content


def test_a_download_of_another_size_than_expected_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)
    write_bytes("memory://test/short", b"short")
    with pytest.raises(StorageError, match="5 of 9 bytes arrived"):
        download("memory://test/short", tmp_path / "copy", num_bytes=9)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_bucket_is_one_sentence(s3_url: str) -> None:
    url = "s3://no-such-bucket-here/name"
    for call in (lambda: list_files(url), lambda: read_bytes(url), lambda: write_bytes(url, b"x")):
        with pytest.raises(StorageError, match=r"s3://no-such-bucket-here.*: the bucket does not exist"):
            call()


def test_wrong_credentials_are_one_sentence_without_the_secret(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(join(s3_url, "a"), b"x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    code = f"from hybridspeech.storage.objects import read_bytes; read_bytes({join(s3_url, 'a')!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("hybridspeech.errors.StorageError: s3://")
    assert "credentials" in last
    assert "a-wrong-secret" not in done.stderr


def test_an_unknown_scheme_and_a_missing_package_give_advice() -> None:
    with pytest.raises(ConfigError, match="expected s3://"):
        read_bytes("nosuch://bucket/a")
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from hybridspeech.storage.objects import read_bytes; read_bytes('s3://bucket/a')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert MissingExtraError.__name__ in done.stderr
    assert "[s3]" in done.stderr.split("pip install ")[1]
    assert untested_note("hdfs://host/a") and not untested_note("s3://bucket/a")


def test_a_local_path_imports_no_fsspec(tmp_path: Path) -> None:
    code = (
        "import sys; from hybridspeech.storage import objects\n"
        f"objects.write_bytes({str(tmp_path / 'a')!r}, b'x'); objects.list_files({str(tmp_path)!r})\n"
        "sys.exit('fsspec' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("s3:/b//k/", "s3://b/k"), ("file:///a/b", "/a/b"), ("s3://b", "s3://b"), ("/a/../b", "/b")],
)
def test_locations_are_normalized(given: str, expected: str) -> None:
    assert normalized(given) == expected


@pytest.mark.parametrize("given", ["s3://user:secret@host/a", "s3://b/../c", "s3://"])
def test_a_url_with_a_password_or_without_a_bucket_is_refused(given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        normalized(given)
    assert "secret" not in str(caught.value)
