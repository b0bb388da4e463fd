"""Labels and speakers that look alike are the same; one file under two names is an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.empty_files import tree

from hybridspeech.errors import ManifestError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest


def table(root: Path, text: str, name: str = "clips.csv") -> Path:
    tree(root, "a.wav", "b.wav")
    (root / name).write_text(text, encoding="utf-8")
    return root / name


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
