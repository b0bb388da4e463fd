"""Tables as a source: all formats give the same clips; errors of damaged tables; the bytes of manifest.parquet."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.empty_files import tree

from hybridspeech.errors import ManifestError
from hybridspeech.manifest.clips import Manifest
from hybridspeech.manifest.parquet import to_parquet
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.manifest.splits import split_by_hash


def ids(manifest: Manifest) -> list[str]:
    return [clip.clip_id for clip in manifest.clips]


def table(root: Path, text: str, name: str = "clips.csv") -> Path:
    tree(root, "a.wav", "b.wav")
    (root / name).write_text(text, encoding="utf-8")
    return root / name


ROWS = [
    {"path": "a.wav", "label": "01", "speaker": "ann", "split": "train"},
    {"path": "sub/../b.wav", "label": "null", "speaker": "bob", "split": "Test"},
]


def write_rows(root: Path, suffix: str) -> Path:
    path = tree(root, "a.wav", "b.wav") / f"clips{suffix}"
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif suffix == ".csv":
        lines = [",".join(row.values()) for row in ROWS]
        path.write_text("\ufeff" + "\n".join(["path,label,speaker,split", *lines]), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".ndjson", ".json", ".parquet"])
def test_all_kinds_of_tables_give_the_same_manifest(tmp_path: Path, suffix: str) -> None:
    found = read_manifest(write_rows(tmp_path, suffix))
    assert found.split_rule == "column"
    assert [(clip.clip_id, clip.label_name, clip.speaker, clip.split) for clip in found.clips] == [
        ("a.wav", "01", "ann", "training"),
        ("b.wav", "null", "bob", "testing"),
    ]
    assert found.clips[1].path == str(tmp_path / "b.wav")


def test_a_path_outside_the_table_folder_is_its_own_id(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    outside = str(tree(tmp_path, "b.wav", "c.wav") / "c.wav")
    found = read_manifest(table(tmp_path / "tables", f"path,label\n{outside},no\n../b.wav,no\n"))
    assert ids(found) == ["../b.wav", outside]


def test_a_speaker_column_takes_precedence_over_the_file_name(tmp_path: Path) -> None:
    found = read_manifest(table(tmp_path, "path,label,speaker\na.wav,no,bob\nc_nohash_1.wav,no,ann\n"))
    assert [clip.speaker for clip in found.clips] == ["bob", "ann"]
    assert found.clips[0].split == split_by_hash("bob")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("path,label\n", "no rows"),
        ("file,word\na.wav,no\n", "no column 'path'; it has file, word"),
        ("path,label\na.wav,\n", "line 2: label is empty"),
        ("path,label\na.wav,no\n,no\n", "line 3: path is empty"),
        ("path,label\na.wav,b.wav,no\n", "line 2 has more fields than the header"),
        ("path,label\na.wav,no\n./a.wav,yes\n", "'a.wav' is there twice .line 2, line 3."),
        ("path,label,split\na.wav,no,train\nb.wav,no,holdout\n", "line 3: split is 'holdout'; expected training"),
        ("path,label,split\na.wav,no,train\nb.wav,no,\n", "line 3: split is ''"),
        ("path,label\nclips/a.wav,no\n", "does not exist; a relative path starts at the table's folder"),
        ('path,label\n"a.wav,no\n', "not a readable csv table"),
        ("path,label,label\na.wav,no,yes\n", "column 'label' is there twice; remove one"),
        ("path,label,speaker\na.wav,no,ann\nb.wav,no,\n", r"1 of 2 rows have no speaker \(line 3\); give every row"),
        ("path,label\na.wav,no\nb.wav, \n", "line 3: label is empty"),
    ],
)
def test_the_error_for_an_incomplete_csv_gives_the_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(table(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"path": "a.wav", "label": "no"', "not a readable jsonl table"),
        ('[{"path": "a.wav", "label": "no"}]', "line 1: expected one JSON object a line"),
        ('{"path": "a.wav", "label": 1.5}', "line 1: label is 1.5; expected text"),
        ('{"path": "a.wav", "label": true}', "label is True; expected text"),
        ('{"path": "a\\u0000.wav", "label": "no"}', "path is .*; expected text"),
        ('{"path": "a\\ud800.wav", "label": "no"}', "not valid Unicode"),
        ('{"path": "a.wav", "label": null}', "label is empty"),
        ('{"path": "a.wav", "label": "no", "label": "yes"}', "column 'label' is there twice"),
        ("[" * 100_000, "not a readable jsonl table"),
    ],
)
def test_the_error_for_incomplete_json_lines_gives_the_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(table(tmp_path, text, "clips.jsonl"))


def test_the_error_for_a_damaged_parquet_table_gives_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="not a readable parquet table"):
        read_manifest(table(tmp_path, "PAR1 and nothing else", "clips.parquet"))


@given(
    labels=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])).filter(str.strip), min_size=1)
)
@settings(deadline=None)
def test_labels_of_a_table_keep_their_characters(tmp_path_factory: pytest.TempPathFactory, labels: list[str]) -> None:
    root = tmp_path_factory.mktemp("labels")
    lines = [json.dumps({"path": f"{number}.wav", "label": label}) for number, label in enumerate(labels)]
    (root / "0.wav").touch()
    (root / "clips.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = read_manifest(root / "clips.jsonl")
    expected = [unicodedata.normalize("NFC", label).strip() for label in labels]
    assert {int(clip.clip_id[:-4]): clip.label_name for clip in found.clips} == dict(enumerate(expected))
    assert found.labels == tuple(sorted(set(expected)))


@pytest.mark.parametrize("name", ["clips.csv", "clips.jsonl"])
@pytest.mark.parametrize("row", [("a.wav", "gr\u00f6\u00dfe"), ("gr\u00f6\u00dfe.wav", "no")])
def test_a_table_in_latin_1_is_refused_in_one_sentence(tmp_path: Path, name: str, row: tuple[str, str]) -> None:
    tree(tmp_path, "a.wav")
    text = (
        json.dumps({"path": row[0], "label": row[1]}, ensure_ascii=False)
        if name.endswith("l")
        else "path,label\n" + ",".join(row)
    )
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(ManifestError, match=r"not a readable .* table \(.*it is not UTF-8; save it as UTF-8\)$"):
        read_manifest(tmp_path / name)


def test_a_table_may_contain_a_file_name_that_is_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"gr\xf6\xdfe.wav")
    tree(tmp_path, name)
    (tmp_path / "clips.csv").write_bytes(b"path,label\ngr\xf6\xdfe.wav,no\n")
    assert read_manifest(tmp_path / "clips.csv").clips[0].path == str(tmp_path / name)


def test_parquet_has_the_clips_and_no_path_of_this_machine(tmp_path: Path) -> None:
    found = read_manifest(write_rows(tmp_path, ".csv"))
    (tmp_path / "manifest.parquet").write_bytes(to_parquet(found))
    rows = pyarrow.parquet.read_table(tmp_path / "manifest.parquet").to_pylist()
    assert rows[0] == {"clip_id": "a.wav", "label": 0, "label_name": "01", "speaker": "ann", "split": "training"}
    assert str(tmp_path).encode() not in (tmp_path / "manifest.parquet").read_bytes()


def test_parquet_bytes_depend_on_the_clips_alone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        root = tree(tmp_path / name, "no/a.wav", "yes/b.wav")
        (tmp_path / f"{name}.parquet").write_bytes(to_parquet(read_manifest(root)))
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "one.parquet", "two", "two.parquet"]
