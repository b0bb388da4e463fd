"""Folders of clips whose names are labels, speakers or splits. Knows nothing of tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from hybridspeech.errors import ManifestError
from hybridspeech.manifest.columns.coded_texts import CodedTexts
from hybridspeech.manifest.formats.find_tables import SPLIT_NAMES
from hybridspeech.manifest.tables.source_rows import RowsBuilder, SourceRows

Words = Sequence[tuple[str, list[str]]]
"""Folders of a source, and the paths of their clips, relative to the source; see `folders.list_words`."""


def has_split_folders(folders: Words) -> bool:
    """Tell whether the folders of a source are splits, each with folders of clips; one of them is for training."""
    splits = [SPLIT_NAMES.get(name.lower()) for name, _ in folders]
    has_folders = all(path.count("/") >= 2 for _, paths in folders for path in paths)
    return "training" in splits and None not in splits and has_folders


def rows_of_folders(root: str, folders: Words, first: str) -> SourceRows:
    """Return the clips of a source.

    Parameters
    ----------
    first : what the name of a folder is: "label"; or "speaker" or "split", in which the folders are the labels

    Raises
    ------
    ManifestError: a clip lies directly in the folder of a speaker or split; or a folder is not named after a split.
    """
    rows = RowsBuilder(root.rstrip("/"))
    for name, paths in folders:
        if first == "label":
            rows.extend_folder(paths, name)
            continue
        loose = next((path for path in paths if path.count("/") < 2), None)
        if loose:
            raise ManifestError(
                f"{root}: {loose!r} lies directly in the folder of a {first}; expected SOURCE/{first.upper()}/WORD/clip.wav"
            )
        if first == "split" and name.lower() not in SPLIT_NAMES:
            raise ManifestError(f"{root}: folder {name!r} is no split; expected {', '.join(SPLIT_NAMES)}")
        given = {first: SPLIT_NAMES[name.lower()] if first == "split" else name}
        for label, clips in groupby(sorted(paths, key=_second), key=_second):
            rows.extend_folder(list(clips), label, **given)
    return rows.finish()


def _second(path: str) -> str:
    return path.split("/", 2)[1]


def path_splits(rows: SourceRows) -> CodedTexts:
    """Return the splits from the first folder of each path, if all are named after splits; else '' everywhere."""
    import pyarrow
    import pyarrow.compute as pc

    ids = rows.clip_id.cast(pyarrow.large_string(), safe=False)
    found = CodedTexts.of_arrow(pc.list_element(pc.split_pattern(ids, "/", max_splits=1), 0))
    splits = [SPLIT_NAMES.get(name.lower(), "") for name in found.used()]
    if "" in splits or "training" not in splits:
        return rows.split
    return found.mapped(lambda name: SPLIT_NAMES.get(name.lower(), ""))
