"""The verb `data download`: fetches, checks and unpacks a published data set.

The same call continues an unfinished download, and does nothing if the data set is complete. Knows nothing of HTTP and
archive formats.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.config import OnProgress, silent
from hybridspeech.corpora.download_folder import DOWNLOAD_NAME, complete, is_unfinished, read_facts
from hybridspeech.corpora.fetch import FetchConfig
from hybridspeech.corpora.published import find_published
from hybridspeech.manifest.folders import UNFINISHED_NAME
from hybridspeech.storage.locations import refuse_urls
from hybridspeech.storage.output import claim_output


@dataclass(frozen=True, kw_only=True)
class DownloadResult:
    """The data set in `out`. `url` is without its query; `num_bytes` and `sha256` are those of the archive.

    `is_new` is False if the data set was complete before; `seconds` is the duration of this call.
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
    """Download a published data set, or continue a download.

    Parameters
    ----------
    name : one of `corpora.published.PUBLISHED`
    url : URL of a mirror (http, https or file); None is the publisher's
    sha256 : hash of the mirror's archive, if it is not the published one

    Raises
    ------
    ConfigError: the name, the URL or the hash is invalid. OutputExistsError: `out` holds other files. DownloadError: the
        archive can't be fetched, has another hash, or has forbidden content. ManifestError: it has no word folders.
    """
    started = time.monotonic()
    published = find_published(name, url, sha256)
    refuse_urls(OUT=out)
    out = Path(out).absolute()
    facts = None if overwrite else read_facts(out, published)
    is_new = facts is None
    if facts is None:
        resume = not overwrite and is_unfinished(out, published)
        with claim_output(out, marks=(DOWNLOAD_NAME, UNFINISHED_NAME), overwrite=overwrite, resume=resume):
            facts = complete(out, published, fetch_config, on_progress)
    shutil.rmtree(out / UNFINISHED_NAME, ignore_errors=True)
    return DownloadResult(out=str(out), **facts, is_new=is_new, seconds=time.monotonic() - started)
