"""Published layouts are recognised, and give the clips, labels, speakers and splits of the same clips in word folders."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from support.empty_files import tree
from support.published_sources import (
    SPOKEN_WORDS_COLUMNS,
    clips_of,
    common_voice_row,
    copied,
    speaker_of,
    spoken_words_row,
    write_common_voice,
    write_json_lines,
    write_nemo,
    write_table,
)

from hybridspeech.config import SPLITS
from hybridspeech.errors import ConfigError, ManifestError
from hybridspeech.manifest.clips import Manifest
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.storage.locations import normalized

WORDS = ManifestConfig(source_format="words")
SPLIT_WORDS = {"training": ("train", "TRAIN"), "validation": ("dev", "DEV"), "testing": ("test", "TEST")}


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Word folders of empty files, named as in Speech Commands; the hash rule uses all three splits."""
    names = [f"{word}/speaker{speaker}_nohash_0.wav" for word in ("no", "yes") for speaker in range(30)]
    return tree(tmp_path / "words", *names)


def rows_of(manifest: Manifest) -> list[tuple[str, str, str, str]]:
    return [(clip.clip_id, clip.label_name, clip.speaker, clip.split) for clip in manifest.clips]


def split_of(words: Path) -> dict[Path, str]:
    return {Path(clip.clip_id): clip.split for clip in read_manifest(words, WORDS).clips}


def test_a_nemo_manifest_gives_the_clips_of_the_word_folders(words: Path) -> None:
    expected = rows_of(read_manifest(words))
    found = read_manifest(write_nemo(words, clips_of(words)))
    assert rows_of(found) == expected
    assert "read as a NeMo manifest: manifest.json; path from 'audio_filepath', label from 'command'" in found.notes[0]
    assert f"{found.notes[0]}; --source-format words reads its folders as words" in read_manifest(words).notes


def test_nemo_manifests_of_a_folder_are_the_splits(words: Path) -> None:
    splits = split_of(words)
    names = {
        "training": "train_manifest.json",
        "validation": "validation_manifest.json",
        "testing": "test_manifest.json",
    }
    for split, name in names.items():
        write_nemo(words, [clip for clip, each in splits.items() if each == split], name)
    found = read_manifest(words)
    assert found.split_rule == "column"
    assert rows_of(found) == rows_of(read_manifest(words, WORDS))


def test_repeated_lines_of_a_balanced_nemo_manifest_are_left_out(words: Path) -> None:
    path = write_nemo(words, clips_of(words))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[3], lines[7], lines[3]]))
    found = read_manifest(path)
    assert len(found.clips) == len(lines)
    assert "3 of 63 rows left out: they repeat another row" in found.notes
    path.write_text("\n".join([*lines, lines[3].replace('"no"', '"yes"')]))
    with pytest.raises(ManifestError, match=r"is there twice \(line 4, line 61\)"):
        read_manifest(path)


@pytest.mark.parametrize("column", ["command", "label", "text"])
def test_the_label_of_a_nemo_manifest_has_several_names(tmp_path: Path, column: str) -> None:
    tree(tmp_path, "a.wav", "b.wav")
    rows = [{"audio_filepath": name, "duration": None, "offset": None, column: "yes"} for name in ("a.wav", "b.wav")]
    assert read_manifest(write_json_lines(tmp_path / "m.json", rows)).labels == ("yes",)


def test_common_voice_gives_the_clips_of_the_word_folders(words: Path, tmp_path: Path) -> None:
    copied(words, tmp_path / "cv" / "clips")
    tables = {
        SPLIT_WORDS[split][0]: [
            common_voice_row(clip, f"{clip.parent.name.title()}.")
            for clip, each in split_of(words).items()
            if each == split
        ]
        for split in SPLITS
    }
    folder = write_common_voice(
        tmp_path / "cv", {**tables, "validated": [row for rows in tables.values() for row in rows]}
    )
    found = read_manifest(folder)
    assert rows_of(found) == rows_of(read_manifest(words))
    assert "read as Common Voice: train.tsv, dev.tsv, test.tsv; path from 'path'" in found.notes[0]
    assert "audio in clips/" in found.notes[0]
    assert rows_of(read_manifest(folder / "validated.tsv")) == rows_of(read_manifest(words))


def test_sentences_of_common_voice_become_words(tmp_path: Path) -> None:
    sentences = ["Yes", "yes!", "\u00bfS\u00ed?", '"Firefox"', "don't", "", "Nobody said this.", "..."]
    rows = [common_voice_row(Path(f"common_voice_en_{i}"), text) for i, text in enumerate(sentences)]
    tree(tmp_path, *(f"clips/common_voice_en_{i}.mp3" for i in range(len(sentences))))
    found = read_manifest(write_common_voice(tmp_path, {"validated": rows}))
    assert found.labels == ("don't", "firefox", "s\u00ed", "yes")
    assert [clip.clip_id for clip in found.clips] == [f"common_voice_en_{i}.mp3" for i in range(5)]
    assert "3 of 8 rows left out: sentence is not one word" in found.notes


def test_multilingual_spoken_words_gives_the_clips_of_the_word_folders(words: Path, tmp_path: Path) -> None:
    copied(words, tmp_path / "en" / "clips")
    rows = [spoken_words_row(clip, SPLIT_WORDS[split][1]) for clip, split in split_of(words).items()]
    rows.append({**rows[0], "LINK": "no/bad.opus", "VALID": "FALSE", "SPEAKER": "NA"})
    table = write_table(tmp_path / "en" / "en_splits.csv", SPOKEN_WORDS_COLUMNS, rows)
    for source in (table, tmp_path / "en"):
        found = read_manifest(source)
        assert rows_of(found) == rows_of(read_manifest(words))
        assert "1 of 61 rows left out: not valid" in found.notes
    table.unlink()
    for split, (name, value) in SPLIT_WORDS.items():
        write_table(
            tmp_path / "en" / f"en_{name}.csv",
            SPOKEN_WORDS_COLUMNS[1:],
            (
                {k: v for k, v in row.items() if k != "SET"}
                for row in rows
                if row["SET"] == value and row["VALID"] == "TRUE"
            ),
        )
        assert split in SPLITS
    assert rows_of(read_manifest(tmp_path / "en")) == rows_of(read_manifest(words))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_audio_folder_with_metadata_gives_the_clips_of_the_word_folders(words: Path, suffix: str) -> None:
    expected = rows_of(read_manifest(words))
    rows = [
        {"file_name": str(clip), "label": clip.parent.name, "speaker_id": speaker_of(clip)} for clip in clips_of(words)
    ]
    path = words / f"metadata{suffix}"
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif suffix == ".csv":
        write_table(path, list(rows[0]), rows)
    else:
        write_json_lines(path, rows)
    found = read_manifest(words)
    assert rows_of(found) == expected
    assert f"read as a Hugging Face audio folder: metadata{suffix}" in found.notes[0]


def test_metadata_of_split_folders_and_split_folders_of_words_give_the_published_splits(tmp_path: Path) -> None:
    names = {"train": "training", "validation": "validation", "test": "testing"}
    for name in names:
        tree(tmp_path / "folders", *(f"{name}/{word}/{name}.wav" for word in ("no", "yes")))
        tree(tmp_path / "tables", f"{name}/{name}.wav")
        write_json_lines(
            tmp_path / "tables" / name / "metadata.jsonl", [{"file_name": f"{name}.wav", "transcription": "yes"}]
        )
    by_folder = read_manifest(tmp_path / "folders")
    assert {(clip.clip_id.split("/")[0], clip.split) for clip in by_folder.clips} == set(names.items())
    assert by_folder.labels == ("no", "yes")
    by_table = read_manifest(tmp_path / "tables")
    assert {clip.clip_id: clip.split for clip in by_table.clips} == {
        f"{n}/{n}.wav": split for n, split in names.items()
    }
    whole = [{"file_name": f"{name}/{name}.wav", "label": "yes"} for name in names]
    write_json_lines(tmp_path / "tables" / "metadata.jsonl", whole)
    assert rows_of(read_manifest(tmp_path / "tables")) == rows_of(by_table)
    as_words = read_manifest(tmp_path / "folders", WORDS)
    assert as_words.labels == ("test", "train", "validation")


def test_speaker_folders_are_read_if_the_format_is_given(tmp_path: Path) -> None:
    names = [f"{speaker}/{word}/{take}.wav" for speaker in ("ann", "bob") for word in ("no", "yes") for take in (1, 2)]
    found = read_manifest(tree(tmp_path, *names), ManifestConfig(source_format="speakers"))
    assert [(clip.clip_id, clip.label_name, clip.speaker) for clip in found.clips[:3]] == [
        ("ann/no/1.wav", "no", "ann"),
        ("ann/no/2.wav", "no", "ann"),
        ("ann/yes/1.wav", "yes", "ann"),
    ]
    tree(tmp_path, "eve/1.wav")
    with pytest.raises(ManifestError, match=r"'eve/1\.wav' lies directly in the folder of a speaker"):
        read_manifest(tmp_path, ManifestConfig(source_format="speakers"))


def test_columns_of_any_name_are_read_if_they_are_given(tmp_path: Path) -> None:
    tree(tmp_path, "a.wav", "b.wav")
    path = tmp_path / "any.tsv"
    path.write_bytes(
        '\ufeffDATEI\twort\twer\tTeil\textra\r\na.wav\tja\tann\ttrain\t"\r\nb.wav\tnein\tbob\tdev\t\r\n'.encode()
    )
    columns = {"path": "DATEI", "label": "wort", "speaker": "wer", "split": "teil"}
    with pytest.raises(ManifestError, match="not a readable tsv table"):
        read_manifest(path, ManifestConfig(columns=columns))
    path.write_bytes(path.read_bytes().replace(b'"', b"7"))
    found = read_manifest(path, ManifestConfig(columns=columns))
    assert rows_of(found) == [("a.wav", "ja", "ann", "training"), ("b.wav", "nein", "bob", "validation")]
    with pytest.raises(ManifestError, match="no column 'who'; it has DATEI, wort, wer, Teil, extra"):
        read_manifest(path, ManifestConfig(columns={**columns, "speaker": "who"}))
    with pytest.raises(ConfigError, match="columns has 'word'; expected path"):
        ManifestConfig(columns={"word": "x"})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            '{"audio_filepath": "a.wav", "duration": 1}\n',
            "no column 'command'; it has audio_filepath, duration.*--columns",
        ),
        ('{"audio_filepath": "a.wav", "label": "x"}\n{"audio_filepath": \n', "line 2: Expecting value"),
        ('[\n {"audio_filepath": "a.wav", "label": "x"}\n]', "line 1: expected one JSON object a line, and no array"),
        ('{"audio_filepath": "a.wav", "label": "x", "offset": -1}\n', "line 1: the segment starts at -1 s; expected 0"),
        (
            '{"audio_filepath": "a.wav", "label": "x", "offset": 1, "duration": 0}\n',
            "lasts 0 s; expected a duration above",
        ),
        ('{"audio_filepath": "a.wav", "label": "x", "offset": "soon"}\n', "line 1: offset is 'soon'; expected seconds"),
        ('{"audio_filepath": "a.wav", "label": ""}\n', "line 1: label is empty"),
        (f'{{"audio_filepath": "{"a" * 300}.wav", "label": "x"}}\n', "a.wav does not exist"),
        ('{"audio_filepath": "a.wav", "text": ""}\n', "no rows to use .1 rows were left out: text is empty"),
        ('{"audio_filepath": "z.wav", "label": "x"}\n', "z.wav does not exist"),
        ('{"audio_filepath": "a.wav", "label": "x", "split": "holdout"}\n', "line 1: split is 'holdout'"),
    ],
)
def test_a_wrong_nemo_manifest_is_refused_in_one_sentence(tmp_path: Path, rows: str, message: str) -> None:
    tree(tmp_path, "a.wav")
    (tmp_path / "train_manifest.json").write_text(rows, encoding="utf-8")
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / "train_manifest.json")


def test_a_clip_in_two_tables_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "clips/a.mp3")
    row = common_voice_row(Path("a"), "yes")
    with pytest.raises(ManifestError, match=r"'a.mp3' is there twice \(train.tsv, line 2, test.tsv, line 2\)"):
        read_manifest(write_common_voice(tmp_path, {"train": [row], "test": [row]}))


def test_a_speaker_in_two_published_splits_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "clips/ann_nohash_0.mp3", "clips/ann_nohash_1.mp3")
    tables = {name: [common_voice_row(Path(f"ann_nohash_{i}"), "yes")] for i, name in enumerate(("train", "test"))}
    with pytest.raises(ManifestError, match="speaker 'ann' is in two splits"):
        read_manifest(write_common_voice(tmp_path, tables))
    assert read_manifest(tmp_path, ManifestConfig(split="hash")).split_rule == "hash"


def test_segments_of_one_file_are_clips_of_their_own(tmp_path: Path) -> None:
    tree(tmp_path, "day.wav")
    lines = ["path,label,start,duration", "day.wav,yes,0,1", "day.wav,no,1.5,1", "day.wav,yes,2.75006,"]
    (tmp_path / "s.csv").write_text("\n".join(lines))
    found = read_manifest(tmp_path / "s.csv")
    assert [(clip.clip_id, clip.label_name, clip.segment) for clip in found.clips] == [
        ("day.wav", "yes", (0.0, 1.0)),
        ("day.wav@1500ms", "no", (1.5, 1.0)),
        ("day.wav@2750.06ms", "yes", (2.75006, float("inf"))),
    ]
    assert {clip.path for clip in found.clips} == {str(tmp_path / "day.wav")}
    assert len({clip.split for clip in found.clips}) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "day.wav,yes,0,2,train\nday.wav,no,0.9,3,test",
            r"'day.wav' .line 2. in training and 'day.wav@900ms' .line 3. in",
        ),
        (
            "day.wav,yes,0,9,train\nday.wav,no,1,2,train\nday.wav,no,3,4,test",
            "in training and 'day.wav@3000ms'.* overlap",
        ),
        ("day.wav,yes,,,train\nday.wav,no,3,4,test", "overlap by more than half; a network would be tested"),
        ("day.wav,yes,1,2,train\nday.wav,yes,1,2,train", "'day.wav@1000ms' is there twice .line 2, line 3."),
        ("day.wav,yes,3,2,train", "line 2: the segment ends at 2 s and starts at 3 s; expected a duration above 0 s"),
    ],
)
def test_segments_that_contradict_each_other_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    tree(tmp_path, "day.wav")
    (tmp_path / "s.csv").write_text(f"path,label,start,end,split\n{rows}\n")
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / "s.csv")


def test_overlapping_segments_are_reported(tmp_path: Path) -> None:
    tree(tmp_path, "day.wav")
    (tmp_path / "s.csv").write_text("path,label,start,end\nday.wav,a,0,1\nday.wav,b,0.9,2\nday.wav,b,2,3\n")
    assert "1 segment overlaps with another one of the same file" in read_manifest(tmp_path / "s.csv").notes
    (tmp_path / "s.csv").write_text("path,label,start,end,split\nday.wav,a,0,1,train\nday.wav,b,0.9,2,test\n")
    found = read_manifest(tmp_path / "s.csv").notes
    assert "1 segment overlaps with another one of the same file, 1 of them with one in another split" in found


def test_a_csv_file_of_a_spreadsheet_may_have_semicolons(tmp_path: Path) -> None:
    tree(tmp_path, "a.wav")
    (tmp_path / "t.csv").write_bytes("\ufeffPath;Label;Note\r\na.wav;ja;1,5\r\n".encode())
    assert rows_of(read_manifest(tmp_path / "t.csv"))[0][:2] == ("a.wav", "ja")


@pytest.mark.parametrize(
    "path", ["s3://bucket/a/b.wav", "s3://bucket//a/b.wav", "memory://x/./a/b.wav", "file:///a/b.wav"]
)
def test_urls_in_a_batch_are_those_of_rows_by_themselves(tmp_path: Path, path: str) -> None:
    rows = [{"path": "a.wav", "label": "no"}, {"path": path, "label": "no"}]
    tree(tmp_path, "a.wav")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    if "/./" in path:
        with pytest.raises(ConfigError, match=r"without '\.' and '\.\.'"):
            read_manifest(tmp_path / "t.parquet")
        return
    found = {clip.clip_id: clip.path for clip in read_manifest(tmp_path / "t.parquet").clips}
    assert found == {path: normalized(path), "a.wav": str(tmp_path / "a.wav")}


def test_the_folder_above_a_published_data_set_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "corpus/en/clips/a.mp3")
    write_common_voice(tmp_path / "corpus" / "en", {"validated": [common_voice_row(Path("a"), "yes")]})
    with pytest.raises(ManifestError, match="Common Voice is in the folder 'en' below; give that folder"):
        read_manifest(tmp_path / "corpus")
    with pytest.raises(ManifestError, match="is not a NeMo manifest: none of its tables is in this folder"):
        read_manifest(tmp_path / "corpus", ManifestConfig(source_format="nemo"))
