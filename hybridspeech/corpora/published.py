"""The published data sets that can be downloaded. Knows nothing of HTTP and folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hybridspeech.errors import ConfigError

LICENSE = "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)"
_ORIGIN = "https://storage.googleapis.com/download.tensorflow.org/data"


@dataclass(frozen=True, kw_only=True)
class PublishedSet:
    """A data set that can be downloaded; `num_bytes` and `sha256` are those of its archive.

    `root` is the folder in the archive that holds the word folders; '' is the top.
    """

    name: str
    url: str
    sha256: str
    num_bytes: int | None
    credit: str
    root: str = ""


PUBLISHED: Mapping[str, PublishedSet] = {
    published.name: published
    for published in (
        PublishedSet(
            name="speech-commands-v0.01",
            url=f"{_ORIGIN}/speech_commands_v0.01.tar.gz",
            sha256="743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
            num_bytes=1_489_096_277,
            credit="Pete Warden, Speech Commands: A public dataset for single-word speech recognition, 2017",
        ),
        PublishedSet(
            name="speech-commands-v0.02",
            url=f"{_ORIGIN}/speech_commands_v0.02.tar.gz",
            sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            num_bytes=2_428_923_189,
            credit="Pete Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv:1804.03209",
        ),
        PublishedSet(
            name="mini-speech-commands",
            url=f"{_ORIGIN}/mini_speech_commands.zip",
            sha256="49650f2341b26d886b46b3f4fb8fed59e30300b17550f1ee4a768b3106cf93a0",
            num_bytes=182_082_353,
            credit="An excerpt by TensorFlow's tutorials of: Pete Warden, Speech Commands, 2017",
            root="mini_speech_commands",
        ),
    )
}
"""The data sets by name. Sources of SHA-256: torchaudio (v0.01, v0.02) and tensorflow_datasets (v0.02, with its size).
The publisher of mini gives no hash; several independent public projects computed and pinned this value."""


def find_published(name: str, url: str | None = None, sha256: str | None = None) -> PublishedSet:
    """Return a published data set, with another URL or hash if one is given.

    Raises
    ------
    ConfigError: the name is unknown, or `sha256` is no SHA-256.
    """
    if name not in PUBLISHED:
        raise ConfigError(f"data set {name!r} is unknown; choose one of {', '.join(PUBLISHED)}")
    found = PUBLISHED[name]
    if sha256 is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
            raise ConfigError(f"sha256 is {sha256!r}; expected 64 hexadecimal digits")
        found = replace(found, sha256=sha256.lower(), num_bytes=None)
    return replace(found, url=url or found.url)
