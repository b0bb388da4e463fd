"""Tables of clips that `preprocess` leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridspeech.errors import ManifestError
from hybridspeech.manifest.exclusions import describe_excluded, read_exclusions


def table(folder: Path, text: str) -> str:
    path = folder / "audit.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_rows_with_no_are_kept(tmp_path: Path) -> None:
    found = read_exclusions(table(tmp_path, "clip_id,kind,exclude\na.wav,cut,yes\nb.wav,cut,no\nc.wav,cut,TRUE\n"))
    assert found.clip_ids == {"a.wav", "c.wav"}


def test_a_clip_of_two_rows_is_left_out_if_one_says_so(tmp_path: Path) -> None:
    found = read_exclusions(table(tmp_path, "clip_id,exclude\na.wav,no\na.wav,yes\n"))
    assert found.clip_ids == {"a.wav"}


def test_without_a_column_exclude_all_rows_count(tmp_path: Path) -> None:
    found = read_exclusions(table(tmp_path, '\ufeffclip_id\n"a, b.wav"\nbête.wav\n'))
    assert found.clip_ids == {"a, b.wav", "bête.wav"}
    assert describe_excluded(found, ["bête.wav"]).endswith("excludes; 1 other clip that it lists is not in the source")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,exclude\na.wav,yes\n", r"no column 'clip_id' \(columns: path, exclude\)"),
        ("", r"no column 'clip_id' \(columns: none\)"),
        ("clip_id,exclude\na.wav,maybe\n", "line 2: exclude is 'maybe'; expected yes or no"),
        ("clip_id,exclude\na.wav\n", "line 2: exclude is ''; expected yes or no"),
        ("clip_id,exclude\n,yes\n", "line 2 has no clip_id"),
        ("clip_id,exclude\na,b,c\n", "line 2 has no clip_id, or more fields than the header"),
        ('clip_id,exclude\n"a,yes\n', "not a readable CSV table"),
    ],
)
def test_wrong_tables_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_exclusions(table(tmp_path, text))


def test_a_missing_table_and_one_that_is_not_text_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file; expected a table as `inspect --audit` writes it"):
        read_exclusions(str(tmp_path / "audit.csv"))
    (tmp_path / "audit.csv").write_bytes(b"clip_id\n\xff\xfe\n")
    with pytest.raises(ManifestError, match="not a readable CSV table"):
        read_exclusions(str(tmp_path / "audit.csv"))
