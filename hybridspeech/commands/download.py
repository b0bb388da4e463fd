"""The verb `data download`: a published set of recorded words, fetched, checked and unpacked.

    OUT/
      yes/0c540988_nohash_0.wav ...  testing_list.txt ...    as in the archive
      download.json                                          put there last, so its presence means: whole
      _unfinished/                                           until then: what has come so far, for the next call

Nothing is unpacked before its SHA-256 is the published one. The same call goes on with what it finds, and does nothing
if all is there. Knows nothing of HTTP and of archive formats.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hybridspeech.config import OnProgress, Progress, silent
from hybridspeech.corpora.fetch import FetchConfig, OnBytes, fetch
from hybridspeech.corpora.unpack import unpack
from hybridspeech.errors import ConfigError, DownloadError, OutputExistsError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.folders import UNFINISHED_NAME
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.storage.locations import refuse_urls
from hybridspeech.storage.output import claim_output
from hybridspeech.storage.small_files import write_atomically

DOWNLOAD_NAME = "download.json"
LICENSE = "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)"
_TREE, _WHOLE = "tree", "whole"
_ORIGIN = "https://storage.googleapis.com/download.tensorflow.org/data"


@dataclass(frozen=True, kw_only=True)
class PublishedSet:
    """A set that can be downloaded; `num_bytes` and `sha256` are its archive's.

    `root` is the folder of the archive in which the words are; '' for the top.
    """

    url: str
    sha256: str
    num_bytes: int | None
    credit: str
    root: str = ""


PUBLISHED: Mapping[str, PublishedSet] = {
    "speech-commands-v0.01": PublishedSet(
        url=f"{_ORIGIN}/speech_commands_v0.01.tar.gz",
        sha256="743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
        num_bytes=1_489_096_277,
        credit="Pete Warden, Speech Commands: A public dataset for single-word speech recognition, 2017",
    ),
    "speech-commands-v0.02": PublishedSet(
        url=f"{_ORIGIN}/speech_commands_v0.02.tar.gz",
        sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        num_bytes=2_428_923_189,
        credit="Pete Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv:1804.03209",
    ),
    "mini-speech-commands": PublishedSet(
        url=f"{_ORIGIN}/mini_speech_commands.zip",
        sha256="49650f2341b26d886b46b3f4fb8fed59e30300b17550f1ee4a768b3106cf93a0",
        num_bytes=182_082_353,
        credit="An excerpt by TensorFlow's tutorials of: Pete Warden, Speech Commands, 2017",
        root="mini_speech_commands",
    ),
}
"""The sets by name. SHA-256: torchaudio (v0.01, v0.02) and tensorflow_datasets (v0.02, also its size) publish them. For
mini no one publishes it; this is what several independent public projects have found and pinned."""


@dataclass(frozen=True, kw_only=True)
class DownloadResult:
    """What is there now. `url` is without its query; `num_bytes` and `sha256` are the archive's.

    `is_new` is False if all was there already; `seconds` are those of this call.
    """

    out: str
    name: str
    url: str
    num_bytes: int
    sha256: str
    num_clips: int
    num_words: int
    license: str
    credit: str
    is_new: bool
    seconds: float


_FACTS = {field.name for field in fields(DownloadResult)} - {"out", "is_new", "seconds"}
"""What the done-mark says."""


def download(
    name: str,
    out: str | Path,
    *,
    url: str | None = None,
    sha256: str | None = None,
    overwrite: bool = False,
    fetch_config: FetchConfig = FetchConfig(),  # noqa: B008 - frozen
    on_progress: OnProgress = silent,
) -> DownloadResult:
    """Fetch a published set of recorded words, or go on with it.

    Parameters
    ----------
    name : one of PUBLISHED
    url : a mirror (http, https or file); None takes the publisher's
    sha256 : of the mirror's archive, if it is not the published one

    Raises
    ------
    ConfigError: the name, the URL or the hash can't be. OutputExistsError: `out` holds something else. DownloadError:
        the archive can't be fetched, has another hash, or holds what it may not. ManifestError: it holds no words.
    """
    started = time.monotonic()
    chosen = _choose(name, url, sha256)
    refuse_urls(OUT=out)
    out = Path(out).absolute()
    facts = None if overwrite else _read_mark(out, name, chosen)
    is_new = facts is None
    if facts is None:
        resume = not overwrite and _is_ours(out / UNFINISHED_NAME, name, chosen)
        with claim_output(out, marks=(DOWNLOAD_NAME, UNFINISHED_NAME), overwrite=overwrite, resume=resume):
            facts = _fill(out, name, chosen, fetch_config, on_progress)
    shutil.rmtree(out / UNFINISHED_NAME, ignore_errors=True)
    return DownloadResult(out=str(out), **facts, is_new=is_new, seconds=time.monotonic() - started)


def _choose(name: str, url: str | None, sha256: str | None) -> PublishedSet:
    if name not in PUBLISHED:
        raise ConfigError(f"set {name!r} is unknown; choose one of {', '.join(PUBLISHED)}")
    chosen = PUBLISHED[name]
    if sha256 is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
            raise ConfigError(f"sha256 is {sha256!r}; expected 64 hexadecimal digits")
        chosen = replace(chosen, sha256=sha256.lower(), num_bytes=None)
    return replace(chosen, url=url or chosen.url)


def _read_mark(folder: Path, name: str, chosen: PublishedSet) -> dict[str, Any] | None:
    """What the done-mark in a folder says, if there is one and it is of this set."""
    try:
        facts = json.loads((folder / DOWNLOAD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(facts, dict) and {"name": name, "sha256": chosen.sha256}.items() <= facts.items()
    return facts if same and facts.keys() == _FACTS else None


def _is_ours(work: Path, name: str, chosen: PublishedSet) -> bool:
    """Whether an earlier download of this set was left here."""
    names = {item.name for item in work.iterdir()} if work.is_dir() else {""}
    is_same = _WHOLE not in names or _read_mark(work / _WHOLE, name, chosen)
    return bool(is_same) and names <= {name, f"{name}.part", _TREE, _WHOLE}


def _fill(
    out: Path, name: str, chosen: PublishedSet, fetch_config: FetchConfig, on_progress: OnProgress
) -> dict[str, Any]:
    work = out / UNFINISHED_NAME
    whole = work / _WHOLE
    work.mkdir(exist_ok=True)
    try:
        if not whole.exists():
            archive = work / name
            fetch(
                chosen.url,
                archive,
                sha256=chosen.sha256,
                num_bytes=chosen.num_bytes,
                config=fetch_config,
                on_bytes=_megabytes("download", on_progress),
            )
            shutil.rmtree(work / _TREE, ignore_errors=True)
            unpack(archive, work / _TREE, on_bytes=_megabytes("unpack", on_progress))
            tree = work / _TREE / chosen.root
            _write_mark(tree, name, chosen, archive.stat().st_size)
            tree.rename(whole)
        return _put_in_place(whole, out)
    finally:
        shutil.rmtree(work / _TREE, ignore_errors=True)
        with suppress(OSError):
            work.rmdir()  # stays if it holds what the next call can go on with


def _write_mark(tree: Path, name: str, chosen: PublishedSet, num_bytes: int) -> None:
    found = read_manifest(tree, ManifestConfig(split="none"))
    if (tree / DOWNLOAD_NAME).exists():
        raise DownloadError(
            f"the archive holds {DOWNLOAD_NAME}, a name that is kept for this command; give another URL"
        )
    facts = {
        "name": name,
        "url": urlsplit(chosen.url)._replace(query="", fragment="").geturl(),
        "num_bytes": num_bytes,
        "sha256": chosen.sha256,
        "num_clips": len(found.clips),
        "num_words": len(found.labels),
        "license": LICENSE,
        "credit": chosen.credit,
    }
    write_atomically(tree / DOWNLOAD_NAME, json.dumps(facts, indent=2) + "\n")


def _put_in_place(whole: Path, out: Path) -> dict[str, Any]:
    """Move all that was unpacked to `out`, the mark last; what an earlier call has moved is no longer in `whole`."""
    made = sorted(whole.iterdir(), key=lambda path: (path.name == DOWNLOAD_NAME, path.name))
    for path in made:
        if os.path.lexists(out / path.name):
            raise OutputExistsError(
                f"{out}: {path.name!r} is in the way; move it away, and give the same command again"
            )
    facts: dict[str, Any] = json.loads((whole / DOWNLOAD_NAME).read_text(encoding="utf-8"))
    for path in made:
        path.rename(out / path.name)
    return facts


def _megabytes(stage: str, on_progress: OnProgress) -> OnBytes:
    """Counts for people: whole megabytes, each said once, the last one when all is there."""
    said: tuple[int, bool] = (0, False)

    def on_bytes(done: int, total: int) -> None:
        nonlocal said
        is_all = done == total
        megabytes = math.ceil(done / 1e6) if is_all else done // 10**6
        if (megabytes, is_all) != said:
            said = (megabytes, is_all)
            expected = max(math.ceil(total / 1e6), megabytes + (not is_all))
            on_progress(Progress(stage=stage, done=megabytes, total=expected, unit="MB"))

    return on_bytes
