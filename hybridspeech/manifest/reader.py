"""Audio tree or table -> Clip records. Labels, speakers and splits are decided here, once, on the driver.

A source is a folder with one folder per word (``SOURCE/word/clip.wav``; deeper folders belong to their word), or a
table with the columns ``path`` and ``label`` and optionally ``speaker`` and ``split``. Only names are read: no audio
file is opened. A set that `data synthesize` or `data download` has not finished is refused.

Ids, labels and speakers are always valid Unicode: bytes of a file name that are no UTF-8 stand there backslash-escaped,
as ``\\udcff``; `Clip.path` keeps the true name. Knows nothing of decoding, shards or engines.
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.audio.formats import AUDIO_SUFFIXES
from hybridspeech.config import SPLITS
from hybridspeech.errors import ManifestError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.splits import Entry, choose_rule, hash_name_of, split_entries, valid_text
from hybridspeech.manifest.tables import read_table

UNFINISHED_NAME = "_unfinished"
"""Folder in which the verbs that make a set keep it until it is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One recorded word.

    `clip_id` is its path relative to the source, with '/'; `path` is absolute; `label` is the index of `label_name` in
    the manifest's labels; `speaker` is '' if unknown; `split` is one of ``config.SPLITS``. `copy` 0 is the clip as recorded,
    k its k-th varied copy. A clip of silence is cut out of a long recording (or of nothing: path ''): `excerpt` says
    where it begins, as a share of the possible places, and its volume, both from 0 to 1.
    """

    clip_id: str
    path: str
    label: int
    label_name: str
    speaker: str
    split: str
    copy: int = 0
    excerpt: tuple[float, float] | None = None

    @property
    def recorded_id(self) -> str:
        """The id of the clip that this one is a copy of; its own if it is none."""
        return self.clip_id.removesuffix(copy_mark(self.copy)) if self.copy else self.clip_id


def copy_mark(copy: int) -> str:
    """What the id of a copy has at its end."""
    return f"#{copy}"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All clips of a source, sorted by `clip_id`, and its labels, sorted.

    `split_rule` is the rule that was used (lists, hash, column, none). `ignored` are the paths, relative to the source,
    that were passed over (no audio suffix, hidden, no regular file, a link to a folder). `notes` are sentences worth
    printing.
    """

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    source: str
    split_rule: str
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def of_split(self, split: str) -> tuple[Clip, ...]:
        """Clips of one split, sorted by `clip_id`."""
        return tuple(clip for clip in self.clips if clip.split == split)

    def counts(self) -> dict[str, int]:
        """Number of clips of each split, in the order of ``config.SPLITS``."""
        found = Counter(clip.split for clip in self.clips)
        return {split: found[split] for split in SPLITS}


def read_manifest(source: str | Path, config: ManifestConfig = ManifestConfig()) -> Manifest:  # noqa: B008 - frozen
    """Clips, labels and splits of a folder or table.

    Raises
    ------
    ManifestError: the source is missing, empty, unfinished or of an unknown kind; a word folder has no clips; a row of
        the table is not whole; two clips have one id; the split rule can't be applied; a speaker is in two splits.
    """
    place = Path(os.path.abspath(source))  # noqa: PTH100 - Path.resolve follows links, and would change the ids
    ignored: list[str] = []
    notes: list[str] = []
    if place.is_dir():
        folder, entries = place, _folder_entries(place, ignored)
    elif place.is_file():
        folder, entries = place.parent, _table_entries(place)
    else:
        raise ManifestError(f"{source}: no such folder or file; expected a folder with one folder per word, or a table")
    entries.sort(key=lambda entry: entry.clip_id)
    _check_entries(place, entries)
    rule = choose_rule(place, folder, entries, config)
    labels = tuple(sorted({entry.label for entry in entries}))
    clips = _decide(entries, labels, split_entries(rule, folder, entries, config, notes))
    if not config.allow_speaker_overlap:
        _check_speakers(clips)
    if len(labels) == 1:
        notes.append(f"there is one label only, {labels[0]!r}; if the words are folders below it, give that folder")
    return Manifest(
        clips=clips,
        labels=labels,
        source=str(source),
        split_rule=rule,
        ignored=tuple(sorted(ignored)),
        notes=tuple(notes),
    )


def write_parquet(manifest: Manifest, path: str | Path) -> None:
    """Write clip_id, label, label_name, speaker and split of every clip; no path of this machine.

    The same clips give the same bytes (with one version of pyarrow). A reader sees the whole file or none.
    """
    import pyarrow
    import pyarrow.parquet

    types = {"clip_id": pyarrow.string(), "label": pyarrow.int32()}
    types |= dict.fromkeys(("label_name", "speaker", "split"), pyarrow.string())
    columns = {name: [getattr(clip, name) for clip in manifest.clips] for name in types}
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            pyarrow.parquet.write_table(pyarrow.table(columns, schema=pyarrow.schema(types)), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _entry(clip_id: str, path: str, label: str, speaker: str = "", split: str = "", where: str = "") -> Entry:
    """A speaker given by a table wins over the one in the file name, also in the hash rule."""
    file_name = path.rpartition("/")[2]
    hash_name = speaker or hash_name_of(file_name)
    return Entry(
        clip_id=valid_text(clip_id),
        path=path,
        label=valid_text(label),
        speaker=valid_text(speaker or (hash_name if hash_name != file_name else "")),
        hash_name=hash_name,
        split=split,
        where=where,
    )


def _decide(entries: list[Entry], labels: tuple[str, ...], splits: list[str]) -> tuple[Clip, ...]:
    index = {label: number for number, label in enumerate(labels)}
    return tuple(
        Clip(
            clip_id=entry.clip_id,
            path=entry.path,
            label=index[entry.label],
            label_name=entry.label,
            speaker=entry.speaker,
            split=split,
        )
        for entry, split in zip(entries, splits, strict=True)
    )


def _check_entries(place: Path, entries: list[Entry]) -> None:
    for first, second in itertools.pairwise(entries):
        if first.clip_id == second.clip_id:
            where = f" ({first.where}, {second.where})" if first.where else ""
            raise ManifestError(f"{place}: clip {first.clip_id!r} is there twice{where}; list each clip once")
    broken = next((entry.label for entry in entries if len(entry.label.splitlines()) > 1), None)
    if broken:
        raise ManifestError(f"{place}: label {broken!r} has a line break in it; rename it")


def _check_speakers(clips: tuple[Clip, ...]) -> None:
    seen: dict[str, Clip] = {}
    for clip in clips:
        first = seen.setdefault(clip.speaker, clip)
        if clip.speaker and first.split != clip.split:
            raise ManifestError(
                f"speaker {clip.speaker!r} is in two splits: {first.clip_id!r} is in {first.split}, {clip.clip_id!r} "
                f"in {clip.split}; a network would be tested on voices it knows. Mend the splits, or give "
                "--allow-speaker-overlap"
            )


def _table_entries(table: Path) -> list[Entry]:
    return [_entry(row.clip_id, row.path, row.label, row.speaker, row.split, row.where) for row in read_table(table)]


def _folder_entries(folder: Path, ignored: list[str]) -> list[Entry]:
    if (folder / UNFINISHED_NAME).is_dir():
        raise ManifestError(
            f"{folder}: this set is not finished ({UNFINISHED_NAME} is there); run the command that makes it again"
        )
    entries: list[Entry] = []
    empty: list[str] = []
    for item in _listing(folder):
        if item.is_dir(follow_symlinks=False) and not item.name.startswith(("_", ".")):
            names = list(_walk(item.path, f"{item.name}/", ignored))
            entries += [_entry(name, f"{folder}/{name}", item.name) for name in names]
            empty += [] if names else [item.name]
        elif item.is_symlink() or _is_audio(item.name):
            ignored.append(valid_text(item.name))
    if empty:
        some = ", ".join(map(repr, empty[:5])) + (", ..." if len(empty) > 5 else "")
        raise ManifestError(
            f"{folder}: no audio file in {some}; put clips there ({' '.join(AUDIO_SUFFIXES)}), or remove the folder"
        )
    if not entries:
        raise ManifestError(f"{folder}: no word folder here; expected SOURCE/word/clip.wav{_guess(ignored)}")
    return entries


def _guess(ignored: list[str]) -> str:
    loose = sum(_is_audio(name) for name in ignored)
    if loose:
        return f". {loose} audio files lie in it directly: if it is one word's folder, give the folder above it"
    return ". It holds links, which are not followed: copy the folders, or give a table" if ignored else ""


def _walk(folder: str, prefix: str, ignored: list[str]) -> Iterator[str]:
    """Ids of the clips below a word folder. Does not follow links to folders: they may lead round in circles."""
    for item in _listing(folder):
        name = prefix + item.name
        if item.name.startswith("."):
            ignored.append(valid_text(name))
        elif item.is_dir(follow_symlinks=False):
            yield from _walk(item.path, f"{name}/", ignored)
        elif _is_audio(item.name) and _is_file(item):
            yield name
        else:
            ignored.append(valid_text(name))


def _listing(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return sorted(items, key=lambda item: item.name)
    except OSError as error:
        raise ManifestError(f"{folder}: can't list this folder ({error.strerror}); mend its permissions") from error


def _is_audio(name: str) -> bool:
    return name.lower().endswith(AUDIO_SUFFIXES)


def _is_file(item: os.DirEntry[str]) -> bool:
    """A regular file, a link to one, or a broken link (a reject later, with its reason); never a pipe or a folder."""
    if item.is_symlink():
        return Path(item.path).is_file() or not Path(item.path).exists()
    return item.is_file(follow_symlinks=False)
