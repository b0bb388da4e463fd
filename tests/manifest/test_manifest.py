"""The manifest: which files are clips, and who decides label, speaker and split."""

from __future__ import annotations

import json
import os
import re
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
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.parquet import to_parquet
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.manifest.splits import hash_name_of, split_by_hash


def ids(manifest: Manifest) -> list[str]:
    return [clip.clip_id for clip in manifest.clips]


def table(root: Path, text: str, name: str = "clips.csv") -> Path:
    tree(root, "a.wav", "b.wav")
    (root / name).write_text(text, encoding="utf-8")
    return root / name


# Folders


def test_real_clips_are_split_as_published(speech_commands: Path) -> None:
    found = read_manifest(speech_commands)
    assert found.split_rule == "lists"
    assert found.counts() == {"training": 1112, "validation": 180, "testing": 408}
    assert len(found.labels) == 30
    assert found.ignored == found.notes == ()


def test_the_hash_rule_gives_the_published_lists(speech_commands: Path) -> None:
    by_lists = read_manifest(speech_commands, ManifestConfig(split="lists"))
    by_hash = read_manifest(speech_commands, ManifestConfig(split="hash"))
    assert by_hash.clips == by_lists.clips


def test_each_folder_is_a_label_and_clips_are_sorted(tmp_path: Path) -> None:
    found = read_manifest(tree(tmp_path, "no/b.wav", "yes/x.FLAC", "no/take 2/ä.mp3", "no/a.ogg"))
    assert ids(found) == ["no/a.ogg", "no/b.wav", "no/take 2/ä.mp3", "yes/x.FLAC"]
    assert found.labels == ("no", "yes")
    assert [clip.label for clip in found.clips] == [0, 0, 0, 1]
    assert found.clips[2].path == str(tmp_path / "no/take 2/ä.mp3")


def test_folders_that_start_with_underscore_or_dot_are_ignored(tmp_path: Path) -> None:
    found = read_manifest(tree(tmp_path, "no/a.wav", "_background_noise_/hum.wav", ".cache/a.wav", "README.md"))
    assert found.labels == ("no",)
    assert found.ignored == ()


def test_ignored_files_are_named(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav", "no/.DS_Store", "no/._a.wav", "no/notes.txt", "no/.git/x.wav", "loose.wav")
    os.mkfifo(tmp_path / "no/pipe.wav")
    (tmp_path / "no/loop").symlink_to(tmp_path, target_is_directory=True)
    found = read_manifest(tmp_path)
    assert ids(found) == ["no/a.wav"]
    assert found.ignored == (
        *("loose.wav", "no/.DS_Store", "no/._a.wav", "no/.git", "no/loop", "no/notes.txt", "no/pipe.wav"),
    )


def test_a_link_to_a_file_is_a_clip_also_when_broken(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav")
    (tmp_path / "no/b.wav").symlink_to("a.wav")
    (tmp_path / "no/c.wav").symlink_to("gone.wav")
    (tmp_path / "no/d.wav").symlink_to("d.wav")
    assert ids(read_manifest(tmp_path)) == ["no/a.wav", "no/b.wav", "no/c.wav", "no/d.wav"]


def test_the_source_may_be_a_link_or_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "real", "no/a.wav")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert read_manifest("link").clips[0].path == str(tmp_path / "link/no/a.wav")


def test_names_that_are_not_utf8_or_have_line_breaks_are_kept(tmp_path: Path) -> None:
    names = [b"\xff_nohash_0.wav", b"a\nb.wav"]
    (tmp_path / "no").mkdir()
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path / "no") + b"/" + name)).touch()
    found = read_manifest(tmp_path)
    assert ids(found) == ["no/\\udcff_nohash_0.wav", "no/a\nb.wav"]
    assert [os.fsencode(clip.path).rpartition(b"/")[2] for clip in found.clips] == names
    assert found.clips[0].speaker == "\\udcff"
    (tmp_path / "manifest.parquet").write_bytes(to_parquet(found))


def test_a_word_with_a_line_break_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"'a\\nb' contains a line break"):
        read_manifest(tree(tmp_path, "a\nb/x.wav"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no word folder here"),
        (["a.wav", "b.wav"], "It holds 2 audio files directly: if it is one word's folder, give the folder above"),
        (["yes/a.wav", "no/README"], "no audio file in 'no'; put clips there"),
        (["yes/a.wav", "no/b.m4a"], "no audio file in 'no';.* 'no/b.m4a' can't be decoded: convert to WAV or FLAC"),
        (["_noise_/a.wav"], "no word folder here"),
    ],
)
def test_the_error_for_an_unsuitable_folder_gives_the_reason(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(tree(tmp_path, *names))


def test_recordings_of_phones_are_named_with_the_remedy_until_they_are_converted(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav", "no/b.M4A", "no/c.d.webm", "yes/a.wav")
    found = read_manifest(tmp_path)
    assert ids(found) == ["no/a.wav", "no/b.M4A", "no/c.d.webm", "yes/a.wav"]
    assert found.notes == (
        "2 files of an unsupported format, e.g. 'no/b.M4A'; convert to WAV or FLAC, for example with ffmpeg -i clip.m4a "
        "clip.wav, and preprocess again",
    )
    converted = read_manifest(tree(tmp_path, "no/b.wav", "no/c.d.wav"))
    assert ids(converted) == ["no/a.wav", "no/b.wav", "no/c.d.wav", "yes/a.wav"]
    assert (converted.ignored, converted.notes) == (("no/b.M4A", "no/c.d.webm"), ())


def test_the_error_for_linked_word_folders_gives_the_reason(tmp_path: Path) -> None:
    (tmp_path / "no").symlink_to(tree(tmp_path / "elsewhere", "a.wav"), target_is_directory=True)
    (tmp_path / "elsewhere").rename(tmp_path / "_elsewhere")
    with pytest.raises(ManifestError, match="links, which are not followed"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("gone", "no such folder or file"), ("set.tar.gz", "unknown kind.*Unpack an archive")]
)
def test_a_source_of_an_unknown_kind_is_refused(tmp_path: Path, name: str, message: str) -> None:
    tree(tmp_path, "set.tar.gz")
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav")
    (tmp_path / "no").chmod(0)
    with pytest.raises(ManifestError, match="can't list"):
        read_manifest(tmp_path)
    (tmp_path / "no").chmod(0o700)


def test_an_unfinished_data_set_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav", "_unfinished/yes/b.wav")
    with pytest.raises(ManifestError, match=r"not finished .*run the command that makes it again"):
        read_manifest(tmp_path)


def test_a_single_label_gives_a_note(tmp_path: Path) -> None:
    found = read_manifest(tree(tmp_path, "speech/yes/a.wav", "speech/no/a.wav"))
    assert found.notes == ("there is only one label, 'speech'; if the words are folders below it, give that folder",)


# Splits and speakers


def official(filename: str, validation_percentage: float, testing_percentage: float) -> str:
    """which_set of the README of Speech Commands v0.01, for Python 3."""
    import hashlib

    hash_name = re.sub(r"_nohash_.*$", "", os.path.basename(filename))  # noqa: PTH119 - as published
    hash_name_hashed = hashlib.sha1(hash_name.encode()).hexdigest()
    percentage_hash = (int(hash_name_hashed, 16) % (2**27 - 1 + 1)) * (100.0 / (2**27 - 1))
    if percentage_hash < validation_percentage:
        return "validation"
    return "testing" if percentage_hash < (testing_percentage + validation_percentage) else "training"


@given(
    name=st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"])),
    take=st.sampled_from(["", "_nohash_0", "_nohash_1_nohash_2", "_nohash_\n"]),
    validation=st.floats(0, 50),
    testing=st.floats(0, 50),
)
@settings(deadline=None)
def test_the_hash_rule_is_the_official_one(name: str, take: str, validation: float, testing: float) -> None:
    file_name = f"{name}{take}.wav"
    expected = official(f"word/{file_name}", validation, testing)
    assert split_by_hash(hash_name_of(file_name), validation, testing) == expected


@given(speakers=st.sets(st.text("0123456789abcdef", min_size=8, max_size=8), min_size=1))
@settings(deadline=None)
def test_a_larger_testing_share_moves_no_speaker_out_of_testing(speakers: set[str]) -> None:
    for speaker in speakers:
        if split_by_hash(speaker, 10, 10) == "testing":
            assert split_by_hash(speaker, 10, 30) == "testing"


def test_a_file_without_nohash_has_no_known_speaker(tmp_path: Path) -> None:
    found = read_manifest(tree(tmp_path, "no/a.wav", "no/0b7ee1a0_nohash_3.wav"))
    assert [clip.speaker for clip in found.clips] == ["0b7ee1a0", ""]
    assert found.split_rule == "hash"
    assert found.clips[1].split == official("a.wav", 10, 10)


def test_lists_take_precedence_over_the_hash_rule(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav", "no/b.wav", "no/c.wav")
    (tmp_path / "testing_list.txt").write_text("no/a.wav\r\n./no/gone.wav\r\n")
    (tmp_path / "validation_list.txt").write_text("\n./no/b.wav")
    found = read_manifest(tmp_path)
    assert [clip.split for clip in found.clips] == ["testing", "validation", "training"]
    assert found.notes[0] == "1 of 3 paths in validation_list.txt and testing_list.txt are missing"


@pytest.mark.parametrize(
    ("name", "split", "drawn"),
    [("testing_list.txt", "testing", "validation"), ("validation_list.txt", "validation", "testing")],
)
def test_a_single_list_is_used_and_the_hash_rule_decides_the_other_split(
    tmp_path: Path, name: str, split: str, drawn: str
) -> None:
    names = [f"no/{speaker:08x}_nohash_0.wav" for speaker in range(40)]
    tree(tmp_path, *names)
    (tmp_path / name).write_text("".join(f"{clip_id}\n" for clip_id in names[:3]))
    found = read_manifest(tmp_path)
    assert [clip.clip_id for clip in found.of_split(split)] == names[:3]
    by_hash = {clip.clip_id: clip.split for clip in read_manifest(tmp_path, ManifestConfig(split="hash")).clips}
    assert [clip.clip_id for clip in found.of_split(drawn)] == [n for n in names[3:] if by_hash[n] == drawn] != []
    assert any(f"the hash rule draws the {drawn} split" in note for note in found.notes)


def test_lists_that_name_no_clip_are_an_error(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav", "validation_list.txt")
    (tmp_path / "testing_list.txt").write_text("data/no/a.wav\n")
    with pytest.raises(ManifestError, match=r"none of the 1 paths.*'data/no/a.wav'"):
        read_manifest(tmp_path)


def test_empty_lists_put_all_in_training(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav", "validation_list.txt", "testing_list.txt")
    assert read_manifest(tmp_path).counts() == {"training": 1, "validation": 0, "testing": 0}


def test_a_clip_in_both_lists_is_an_error(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav")
    for name in ("testing_list.txt", "validation_list.txt"):
        (tmp_path / name).write_text("no/a.wav\n")
    with pytest.raises(ManifestError, match=r"'no/a.wav' is in both"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("split", "message"), [("lists", "needs validation_list.txt, which is missing"), ("column", "needs a column")]
)
def test_a_rule_that_can_not_be_applied_is_an_error(tmp_path: Path, split: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(tree(tmp_path, "no/a.wav"), ManifestConfig(split=split))  # type: ignore[arg-type]


def test_rule_none_puts_all_in_training(tmp_path: Path) -> None:
    found = read_manifest(tree(tmp_path, "no/a.wav", "no/b.wav"), ManifestConfig(split="none"))
    assert {clip.split for clip in found.clips} == {"training"}


def test_a_speaker_in_two_splits_is_an_error_unless_allowed(tmp_path: Path) -> None:
    tree(tmp_path, "no/bob_nohash_0.wav", "no/bob_nohash_1.wav", "no/x.wav", "validation_list.txt")
    (tmp_path / "testing_list.txt").write_text("no/bob_nohash_1.wav\n")
    message = "'bob' is in two splits: 'no/bob_nohash_0.wav' is in training, 'no/bob_nohash_1.wav' in testing"
    with pytest.raises(ManifestError, match=f"{re.escape(message)}.*--allow-speaker-overlap"):
        read_manifest(tmp_path)
    assert read_manifest(tmp_path, ManifestConfig(allow_speaker_overlap=True)).counts()["testing"] == 1


# Tables

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


NFC, NFD = "\u00e9t\u00e9", "e\u0301te\u0301"


def test_labels_that_look_alike_are_one_label_with_a_note(tmp_path: Path) -> None:
    rows = [("a.wav", "yes\n"), ("b.wav", " yes"), ("c.wav", NFD), ("d.wav", NFC)]
    text = "".join(json.dumps({"path": path, "label": label}) + "\n" for path, label in rows)
    found = read_manifest(table(tmp_path, text, "clips.jsonl"))
    assert found.labels == ("yes", NFC)
    assert found.notes == ("3 labels were normalised (Unicode NFC, no outer white space), e.g. ' yes' to 'yes'",)


def test_word_folders_that_look_alike_are_one_label(tmp_path: Path) -> None:
    found = read_manifest(tree(tmp_path, f"{NFC}/a.wav", f"{NFD}/b.wav", "no/c.wav"))
    assert found.labels == ("no", NFC)
    assert {clip.path for clip in found.clips} == {
        f"{tmp_path}/{NFC}/a.wav",
        f"{tmp_path}/{NFD}/b.wav",
        f"{tmp_path}/no/c.wav",
    }
    assert found.notes == (f"1 labels were normalised (Unicode NFC, no outer white space), e.g. {NFD!r} to {NFC!r}",)


def test_speakers_that_look_alike_are_one_speaker(tmp_path: Path) -> None:
    found = read_manifest(table(tmp_path, f"path,label,speaker\na.wav,no,{NFC}\nb.wav,no,{NFD} \n"))
    assert {clip.speaker for clip in found.clips} == {NFC}
    assert len({clip.split for clip in found.clips}) == 1


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


@pytest.mark.parametrize("other", ["{0}/./b.wav", "../tables/../b.wav", "link.wav", "linked/b.wav"])
@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("yes,train", "is there as .*with label 'no' in training and as .*with label 'yes' in training; keep one"),
        ("no,test", "with label 'no' in training and as .*with label 'no' in testing; keep one"),
        ("no,train", "are one file, .*b.wav; list each clip once"),
    ],
)
def test_one_file_under_two_spellings_is_an_error_with_both_rows(
    tmp_path: Path, other: str, second: str, message: str
) -> None:
    tree(tmp_path, "b.wav", "tables/a.wav")
    (tmp_path / "tables/link.wav").symlink_to(tmp_path / "b.wav")
    (tmp_path / "tables/linked").symlink_to(tmp_path)
    path = tmp_path / "tables/clips.csv"
    path.write_text(f"path,label,split\n../b.wav,no,train\na.wav,yes,train\n{other.format(tmp_path)},{second}\n")
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(path)
    assert "line 2" in str(caught.value)
    assert "line 4" in str(caught.value)


def test_a_link_to_another_clip_is_an_error_if_labels_differ_else_a_note(tmp_path: Path) -> None:
    tree(tmp_path, "no/a.wav", "yes/b.wav")
    (tmp_path / "no/c.wav").symlink_to("a.wav")
    found = read_manifest(tmp_path, ManifestConfig(split="none"))
    assert (len(found.clips), found.notes) == (3, ("1 clips are links to the file of another clip",))
    (tmp_path / "yes/d.wav").symlink_to("../no/a.wav")
    with pytest.raises(
        ManifestError, match=r"'no/a.wav' with label 'no' in training and as 'yes/d.wav' with label 'yes'"
    ):
        read_manifest(tmp_path, ManifestConfig(split="none"))


# manifest.parquet


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
