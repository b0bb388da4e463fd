"""The output folder of a download: what is complete, what is unfinished, and the steps between.

    OUT/
      yes/0c540988_nohash_0.wav ...  testing_list.txt ...    as in the archive
      download.json                                          written last: its presence means that all files are there
      _unfinished/                                           archive and unpacked files, until the download is complete

Nothing is unpacked before the SHA-256 of the archive is the published one. Knows nothing of HTTP and archive formats.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hybridspeech.config import OnProgress, Progress
from hybridspeech.corpora.fetch import FetchConfig, OnBytes, fetch
from hybridspeech.corpora.published import LICENSE, PublishedSet
from hybridspeech.corpora.unpack import unpack
from hybridspeech.errors import DownloadError, OutputExistsError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.folders import UNFINISHED_NAME
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.storage.small_files import write_atomically

DOWNLOAD_NAME = "download.json"
FACTS = frozenset({"name", "url", "num_bytes", "sha256", "num_clips", "num_words", "license", "credit"})
"""Keys of download.json."""
_UNPACKED, _COMPLETE = "tree", "whole"


def read_facts(folder: Path, published: PublishedSet) -> dict[str, Any] | None:
    """Return the content of download.json, or None if the folder does not hold this data set."""
    try:
        facts = json.loads((folder / DOWNLOAD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_same = isinstance(facts, dict) and {"name": published.name, "sha256": published.sha256}.items() <= facts.items()
    return facts if is_same and facts.keys() == FACTS else None


def is_unfinished(out: Path, published: PublishedSet) -> bool:
    """Tell whether the folder holds an unfinished download of this data set."""
    work = out / UNFINISHED_NAME
    names = {item.name for item in work.iterdir()} if work.is_dir() else {""}
    is_same = _COMPLETE not in names or read_facts(work / _COMPLETE, published)
    return bool(is_same) and names <= {published.name, f"{published.name}.part", _UNPACKED, _COMPLETE}


def complete(out: Path, published: PublishedSet, config: FetchConfig, on_progress: OnProgress) -> dict[str, Any]:
    """Do all steps that are missing, and return the content of download.json.

    Raises
    ------
    DownloadError: the archive can't be fetched, has another hash, or has forbidden content. ManifestError: it has no
        word folders. OutputExistsError: the folder holds another file of the same name.
    """
    work = out / UNFINISHED_NAME
    whole = work / _COMPLETE
    work.mkdir(mode=0o700, exist_ok=True)
    try:
        if not whole.exists():
            archive = work / published.name
            fetch(
                published.url,
                archive,
                sha256=published.sha256,
                num_bytes=published.num_bytes,
                config=config,
                on_bytes=_in_megabytes("download", on_progress),
            )
            shutil.rmtree(work / _UNPACKED, ignore_errors=True)
            unpack(archive, work / _UNPACKED, on_bytes=_in_megabytes("unpack", on_progress))
            unpacked = work / _UNPACKED / published.root
            _write_facts(unpacked, published, archive.stat().st_size)
            unpacked.rename(whole)
        return _move_into_place(whole, out)
    finally:
        shutil.rmtree(work / _UNPACKED, ignore_errors=True)
        with suppress(OSError):
            work.rmdir()  # stays if it holds files for the next call


def _write_facts(folder: Path, published: PublishedSet, num_bytes: int) -> None:
    found = read_manifest(folder, ManifestConfig(split="none"))
    if (folder / DOWNLOAD_NAME).exists():
        raise DownloadError(f"the archive holds {DOWNLOAD_NAME}, a name that this command reserves; give another URL")
    facts = {
        "name": published.name,
        "url": urlsplit(published.url)._replace(query="", fragment="").geturl(),
        "num_bytes": num_bytes,
        "sha256": published.sha256,
        "num_clips": len(found.clips),
        "num_words": len(found.labels),
        "license": LICENSE,
        "credit": published.credit,
    }
    write_atomically(folder / DOWNLOAD_NAME, json.dumps(facts, indent=2) + "\n")


def _move_into_place(whole: Path, out: Path) -> dict[str, Any]:
    """Move all unpacked files to `out`, download.json last; a killed call leaves in `whole` what it has not moved."""
    unpacked = sorted(whole.iterdir(), key=lambda path: (path.name == DOWNLOAD_NAME, path.name))
    for path in unpacked:
        if os.path.lexists(out / path.name):
            raise OutputExistsError(
                f"{out}: {path.name!r} is in the way; move it away, and give the same command again"
            )
    facts: dict[str, Any] = json.loads((whole / DOWNLOAD_NAME).read_text(encoding="utf-8"))
    for path in unpacked:
        path.rename(out / path.name)
    return facts


def _in_megabytes(stage: str, on_progress: OnProgress) -> OnBytes:
    """Report whole megabytes, each once, and the last one when all bytes are there."""
    reported: tuple[int, bool] = (0, False)

    def on_bytes(done: int, total: int) -> None:
        nonlocal reported
        is_all = done == total
        megabytes = math.ceil(done / 1e6) if is_all else done // 10**6
        if (megabytes, is_all) != reported:
            reported = (megabytes, is_all)
            expected = max(math.ceil(total / 1e6), megabytes + (not is_all))
            on_progress(Progress(stage=stage, done=megabytes, total=expected, unit="MB"))

    return on_bytes
