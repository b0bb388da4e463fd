"""Unpacking of valid and malicious archives."""

from __future__ import annotations

import gzip
import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.archives import files, special, tar, zip_special, zipped

from hybridspeech.corpora.unpack import unpack
from hybridspeech.errors import DownloadError

CONTENT = random.Random(0).randbytes(300_000)


@pytest.mark.parametrize("make", [tar, zipped])
def test_plain_files_are_unpacked(tmp_path: Path, make: Callable[..., bytes]) -> None:
    litter = [("./.DS_Store", b"x"), ("./yes/._a.wav", b"x"), ("__MACOSX/yes/b.wav", b"x")]
    (tmp_path / "archive").write_bytes(make(("./yes/a.wav", b"1"), ("no/deep er/ä.wav", b""), *litter))
    unpack(tmp_path / "archive", tmp_path / "out")
    assert files(tmp_path / "out") == {"yes/a.wav": b"1", "no/deep er/ä.wav": b""}


def test_permissions_of_the_archive_are_not_used(tmp_path: Path) -> None:
    info = special("yes/a.wav", tarfile.REGTYPE)
    info.mode, info.uid, info.mtime = 0o6777, 12345, 0
    (tmp_path / "archive").write_bytes(tar((info, b"1")))
    unpack(tmp_path / "archive", tmp_path / "out")
    made = (tmp_path / "out/yes/a.wav").stat()
    assert (made.st_mode & 0o7111, made.st_uid) == (0, os.geteuid())


EVIL = {
    "absolute": (tar(("/proc/hybridspeech-evil.wav", b"x")), "is not below the folder"),
    "parent": (tar(("yes/../../evil.wav", b"x")), "is not below the folder"),
    "symlink": (tar((special("yes", tarfile.SYMTYPE, ".."), b""), ("yes/evil.wav", b"x")), "'yes' is a link"),
    "hard link": (tar((special("yes/a.wav", tarfile.LNKTYPE, "../evil.wav"), b"")), "'yes/a.wav' is a link"),
    "device": (tar((special("yes/a.wav", tarfile.CHRTYPE), b"")), "is a special file"),
    "pipe": (tar((special("yes/a.wav", tarfile.FIFOTYPE), b"")), "is a special file"),
    "twice": (tar(("yes/a.wav", b"1"), ("yes/a.wav", b"2")), "occurs twice"),
    "file below a file": (tar(("yes", b"1"), ("yes/a.wav", b"2")), "can't unpack"),
    "zip absolute": (zipped(("/proc/hybridspeech-evil.wav", b"x")), "is not below the folder"),
    "zip parent": (zipped(("../evil.wav", b"x")), "is not below the folder"),
    "zip link": (zipped((zip_special("yes", 0o120777), b"..")), "'yes' is a link"),
    "zip device": (zipped((zip_special("yes/a.wav", 0o020666), b"")), "is a special file"),
    "count": (tar(*[(f"yes/{i}.wav", b"") for i in range(101)]), "more than 100 entries"),
    "count of folders": (tar(*[(special(f"{i}", tarfile.DIRTYPE), b"") for i in range(101)]), "more than 100 entries"),
    "size": (tar(("yes/a.wav", bytes(600_000)), ("yes/b.wav", bytes(600_000))), "1,000,000 bytes"),
    "zip size": (zipped(("yes/a.wav", bytes(1_000_001))), "1,000,000 bytes"),
    "cut tar": (tar(("yes/a.wav", CONTENT))[:200_000], "damaged"),
    "cut zip": (zipped(("yes/a.wav", CONTENT))[:200_000], "damaged"),
    "changed zip": (zipped(("a.wav", bytes(99))).replace(b"\x63\x60", b"\x63\x61", 1), "damaged"),
    "no tar": (gzip.compress(CONTENT), "damaged"),
    "no gzip": (b"\x1f\x8b" + CONTENT, "damaged"),
    "page": (b"<!DOCTYPE html>", "neither a .tar.gz nor a .zip; it starts with b'<!DO'"),
    "empty": (b"", "neither a .tar.gz nor a .zip"),
}


@pytest.mark.parametrize("case", EVIL)
def test_an_archive_that_may_not_be_unpacked_is_refused(tmp_path: Path, case: str) -> None:
    content, message = EVIL[case]
    archive, out = tmp_path / "archive", tmp_path / "deep/out"
    archive.write_bytes(content)
    with pytest.raises(DownloadError, match=message):
        unpack(archive, out, max_members=100, max_bytes=1_000_000)
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert {path for path in tmp_path.rglob("*.wav") if out not in path.parents} == set()
    assert not Path("/proc/hybridspeech-evil.wav").exists()
    assert sum(path.stat().st_size for path in out.rglob("*.wav")) <= 1_000_000
