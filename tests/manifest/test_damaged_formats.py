"""Damaged tables of published data sets give a manifest, or an error of one sentence; never another exception."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from support.empty_files import tree

from hybridspeech.errors import HybridspeechError
from hybridspeech.manifest.reader import read_manifest

NUM_DAMAGED = 100
INSERTED = (b'"', b"\t", b",", b"\n", b"\0", b"NaN", b"-", b"1e999", b"\xff", b"null", b"[", b"{}", b"\r\n", b"9" * 400)
CLIPS = [f"yes/{number}.wav" for number in range(5)]


def parquet() -> bytes:
    file = io.BytesIO()
    columns = {"file_name": CLIPS, "label": ["yes"] * 5, "start": [0.5, 1, 1.5, 2, 3], "duration": [1.0] * 5}
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


TABLES = {
    "train_manifest.json": "".join(
        json.dumps({"audio_filepath": clip, "offset": 0.5, "duration": 1.0, "command": "yes", "speaker": clip}) + "\n"
        for clip in CLIPS
    ).encode(),
    "train.tsv": b"client_id\tpath\tsentence\tup_votes\n" + b"".join(b"s\t%s\tYes.\t2\n" % c.encode() for c in CLIPS),
    "en_splits.csv": b"SET,LINK,WORD,VALID,SPEAKER,GENDER\n"
    + b"".join(b"TRAIN,%s,yes,TRUE,s,NAN\n" % clip.encode() for clip in CLIPS),
    "metadata.csv": b"file_name,label,start,end\n" + b"".join(b"%s,yes,1,2.5\n" % clip.encode() for clip in CLIPS),
    "metadata.parquet": parquet(),
}


def damaged(content: bytes, generator: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(len(found) + 1)
        change = generator.randrange(4)
        if change == 0:
            found[place : place + 1] = bytes([generator.randrange(256)])
        elif change == 1:
            del found[place : place + generator.randint(1, 20)]
        elif change == 2:
            found[place:place] = generator.choice(INSERTED)
        else:
            found[place:place] = found[: generator.randint(1, 60)]
    return bytes(found)


@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_gives_a_manifest_or_one_sentence(tmp_path: Path, name: str) -> None:
    tree(tmp_path, *CLIPS)
    generator, outcomes = random.Random(name), set()
    for _ in range(NUM_DAMAGED):
        (tmp_path / name).write_bytes(damaged(TABLES[name], generator))
        try:
            outcomes.add(read_manifest(tmp_path / name).labels)
        except HybridspeechError as error:
            assert "\n" not in str(error)
            outcomes.add(type(error).__name__)
    assert "ManifestError" in outcomes and len(outcomes) > 1
