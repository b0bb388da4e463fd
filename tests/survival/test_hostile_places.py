"""Outputs that can't be written, are full, or are being written by another job."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.process_faults import OPTIONS, SHARDS, SMALL, Undisturbed, command, files_of, job
from support.small_disk import mounted

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import EngineConfig
from hybridspeech.errors import ConfigError, HybridspeechError, OutputExistsError
from hybridspeech.shards.index import ShardIndex
from hybridspeech.storage.output import claim_output

LOCAL = ("--engine", "local")
MARKS = ("index.json", "_progress")


def run(*arguments: str, **options: object) -> tuple[int, str]:
    """Run a command; returns exit code and standard error."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload]
    return done.returncode, done.stderr


def errors_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error: ")]


@dataclass
class Disk:
    """A mounted file system that a test can fill."""

    path: Path

    def resize(self, kib: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kib}k", str(self.path)], check=True, timeout=30)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64m", "tmpfs") as path:
        yield Disk(path)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "read-only", "-t", "tmpfs", "-o", "size=4k,ro", "tmpfs") as path:
        yield path


# From too small for the manifest, over settings, records and shards, to the last few files.
@pytest.mark.parametrize("kib", [4, 8, 12, 16, 20, 24, 32, 64, 100, 300, 700, 1000])
def test_a_full_disk_is_one_sentence_and_a_resume_finishes(
    kib: int, clips: Path, disk: Disk, undisturbed: Undisturbed
) -> None:
    out = disk.path / "out"
    disk.resize(kib)
    with pytest.raises(HybridspeechError, match=r"No space left on device") as caught:
        preprocess(clips, out, features=SMALL, shards=SHARDS, engine="local")
    assert str(out) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert half_written(out) == []
    disk.resize(64_000)
    assert (
        preprocess(clips, out, features=SMALL, shards=SHARDS, engine="local", resume=True).digest == undisturbed.digest
    )
    assert files_of(out) == undisturbed.files


def half_written(out: Path) -> list[Path]:
    """Return temporary files, and files that mark a finished output."""
    return [path for path in out.rglob("*") if path.suffix == ".tmp" or path.name in ("_lock", "index.json")]


@pytest.mark.cluster
def test_a_full_disk_stops_spark_and_a_resume_finishes(clips: Path, disk: Disk, undisturbed: Undisturbed) -> None:
    out, options = disk.path / "out", ("--master", "local[2]", *OPTIONS)
    disk.resize(1000)
    code, said = run(*command(clips, out, *options))
    assert code == 1, said
    assert [("No space left on device" in line, str(out) in line) for line in errors_in(said)] == [(True, True)], said
    assert "Traceback" not in said
    assert half_written(out) == []
    disk.resize(64_000)
    assert run(*command(clips, out, *options, "--resume"))[0] == 0
    assert files_of(out) == undisturbed.files


@pytest.mark.slow
def test_a_file_size_limit_is_one_sentence(clips: Path, tmp_path: Path, undisturbed: Undisturbed) -> None:
    """As a full disk, for machines where no file system can be mounted."""
    out = tmp_path / "out"
    code, said = run(
        *command(clips, out, *LOCAL, *OPTIONS),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000)),
    )
    assert (code, len(errors_in(said)), "Traceback" in said) == (1, 1, False), said
    assert "File too large" in said
    assert str(out) in said
    assert half_written(out) == []
    said = run(*command(clips, out, *LOCAL, *OPTIONS, "--resume"))
    assert said[0] == 0, said
    assert files_of(out) == undisturbed.files


def test_a_read_only_output_is_one_sentence(clips: Path, read_only: Path) -> None:
    code, said = run(*command(clips, read_only / "out", *LOCAL, *OPTIONS))
    assert code == 2
    (error,) = errors_in(said)
    assert error.startswith(f"error: {read_only}/out: can't write there (Read-only file system); choose")
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["/proc/out", "/dev/null", "FILE", "FILE/out"])
def test_an_output_that_is_not_a_folder_is_one_sentence(name: str, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    place = name.replace("FILE", str(tmp_path / "file"))
    code, said = run(*command(clips, Path(place), *LOCAL, *OPTIONS))
    assert code == 2
    (error,) = errors_in(said)
    assert error.startswith(f"error: {place}: can't write there")
    assert "Traceback" not in said
    assert (tmp_path / "file").read_text() == "mine"


def test_an_output_on_another_file_system_works(clips: Path, disk: Disk, undisturbed: Undisturbed) -> None:
    config = EngineConfig(num_executors=2)
    preprocess(clips, disk.path / "out", features=SMALL, shards=SHARDS, engine="local", engine_config=config)
    assert files_of(disk.path / "out") == undisturbed.files


@pytest.mark.slow
def test_the_second_of_two_jobs_on_one_output_is_refused(clips: Path, tmp_path: Path, undisturbed: Undisturbed) -> None:
    out = tmp_path / "out"
    arguments = command(clips, out, *LOCAL, *OPTIONS)
    with job(arguments) as first:
        first.run_until(lambda: bool(list(out.glob("*.tfrecord"))))
        os.kill(first.child.pid, signal.SIGSTOP)
        for option in ("--resume", "--overwrite"):
            code, said = run(*arguments, option)
            assert code == 2
            assert [f"{out}: another job is writing there" in line for line in errors_in(said)] == [True], said
        os.kill(first.child.pid, signal.SIGCONT)
        assert first.child.wait(timeout=120) == 0
    assert files_of(out) == undisturbed.files


def test_many_jobs_hold_the_lock_one_at_a_time(tmp_path: Path) -> None:
    """Each job removes the lock file: a job that waited for the old file must not take itself for the owner of a new one."""
    out, inside, most = tmp_path / "out", 0, 0
    counting, deadline = threading.Lock(), time.monotonic() + 2

    def come_and_go() -> None:
        nonlocal inside, most
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(ConfigError),
                claim_output(out, marks=(), overwrite=False, resume=True),
            ):
                with counting:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0)
                with counting:
                    inside -= 1

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert most == 1


@pytest.mark.parametrize("then", ["overwrite", "resume"])
def test_an_interrupted_emptying_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    """A half-empty folder is still recognised as an output; the emptying is interrupted after each step."""
    steps, names = 0, ["_progress/a.json", "a.tfrecord", "index.json", "manifest.parquet"]
    remove = os.unlink

    def unlink(path: os.PathLike[str] | str, **options: int) -> None:
        nonlocal steps
        if Path(path).name != "_lock":
            steps -= 1
            if steps < 0:
                raise KeyboardInterrupt
        remove(path, **options)

    def unlink_path(path: Path, missing_ok: bool = False) -> None:
        if path.exists() or not missing_ok:
            unlink(path)

    for count in range(len(names)):
        out = tmp_path / str(count)
        for name in names:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).touch()
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", unlink)
            patch.setattr(Path, "unlink", unlink_path)  # Python 3.10 keeps its own reference to os.unlink
            steps = count
            with pytest.raises(KeyboardInterrupt), claim_output(out, marks=MARKS, overwrite=True, resume=False):
                pass
        assert not (out / "index.json").exists()
        with pytest.raises(OutputExistsError), claim_output(out, marks=MARKS, overwrite=False, resume=False):
            pass
        with claim_output(out, marks=MARKS, overwrite=then == "overwrite", resume=then == "resume"):
            assert [path.name for path in out.iterdir()] == ["_lock"]


@pytest.mark.slow
def test_wrong_file_times_do_not_change_the_result(clips: Path, tmp_path: Path, undisturbed: Undisturbed) -> None:
    """File times decide neither which shards are finished nor their bytes."""
    out, source = tmp_path / "out", tmp_path / "source"
    shutil.copytree(clips, source)
    arguments = command(source, out, *LOCAL, *OPTIONS, "--resume")
    with job(arguments) as running:
        running.run_until(lambda: len(list(out.glob("*.tfrecord"))) > 20)
        os.killpg(running.child.pid, signal.SIGKILL)
        assert running.left() == []
    for number, path in enumerate([*out.rglob("*"), *source.rglob("*.wav")]):
        os.utime(path, (0, 0) if number % 2 else (4_000_000_000, 4_000_000_000))
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120)
    result = json.loads(done.stdout)
    assert round(result["clips_per_s"] * result["work_s"]) < 250
    assert files_of(out) == undisturbed.files
    assert ShardIndex.load(out).verify(out) == []
