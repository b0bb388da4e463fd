"""Parameters that several commands have and that belong to no settings record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

from hybridspeech.cli.options import CLUSTER, INPUT, OUTPUT, argument, option

Source = Annotated[
    Path,
    argument(
        "SOURCE",
        "Folder with one folder of clips per label; a CSV, TSV, JSONL or Parquet table; or a published data set (see "
        "--source-format).",
    ),
]
Shards = Annotated[Path, argument("SHARDS", "Folder written by preprocess.")]
Run = Annotated[Path, argument("RUN", "Run directory of a finished training.")]
CustomModel = Annotated[
    str | None,
    option(
        "Custom network of the run; its code is imported only if it is named here.", INPUT, metavar="MODULE:FUNCTION"
    ),
]
NewRun = Annotated[Path, argument("RUN", "Run directory to create, on storage that all workers can access.")]

Json = Annotated[bool, option("Print the result as JSON.", OUTPUT, "--json")]
Report = Annotated[Optional[Path], option("HTML file for a self-contained report.", OUTPUT)]  # noqa: UP045
Audio = Annotated[
    Optional[Path],  # noqa: UP045 - Typer evaluates it
    option("Source of the shards, for audio players in --report (spectrogram shards).", INPUT, metavar="FOLDER"),
]
TableEngine = Annotated[
    Literal["local", "spark", "raydp"],
    option("Engine that writes --out: this machine's processes, Spark, or Spark on Ray.", CLUSTER),
]
Overwrite = Annotated[bool, option("Replace an existing output.", OUTPUT, "--overwrite")]
Resume = Annotated[bool, option("Continue an unfinished output.", OUTPUT, "--resume")]
MaxRejects = Annotated[
    Optional[float],  # noqa: UP045 - Typer evaluates it
    option("Maximum number of unusable clips, or fraction if below 1.", INPUT, default="unlimited"),
]
