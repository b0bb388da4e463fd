"""`predict` as a pandas UDF, for a column of a Spark DataFrame. Knows nothing of shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridspeech.audio.decode import DecodedClip, decode_bytes
from hybridspeech.config import FeatureConfig
from hybridspeech.engines.pandas_udf import pandas_udf_of
from hybridspeech.errors import AudioError, ConfigError
from hybridspeech.evaluation.audio_files import read_clips
from hybridspeech.evaluation.file_predictions import Prediction, check_finished, loaded_run
from hybridspeech.records import to_json
from hybridspeech.registry import requires
from hybridspeech.storage.locations import normalized

if TYPE_CHECKING:
    import pandas

CANDIDATE = {"label": "string", "probability": "double"}
FIELDS: Mapping[str, Any] = {
    "label": "string",
    "probability": "double",
    "top": [CANDIDATE],
    "cut_s": "double",
    "error": "string",
}
"""Type of each field of the result; a list is an array of structs."""
BATCH_SIZE = 64


def predict_udf(run: str | Path, *, top_k: int = 3, model: str | None = None) -> Any:
    """Return a pandas UDF that predicts the label of each audio file of a column of a Spark DataFrame.

    A value of the column is the content of a file (binary), or its path or URL (string). The result is a struct of label,
    probability, top (array of label and probability), cut_s and error; an unusable file has an error and no label. Each
    Python worker of Spark loads the network once::

        files = spark.read.format("binaryFile").load("s3a://bucket/words")
        files.select("path", predict_udf("s3://bucket/run")("content").alias("prediction")).select("path", "prediction.*")

    Parameters
    ----------
    run : run directory of a finished training; a local path or a URL that every worker can access
    top_k : number of labels of each file in the field top
    model : "module:function" of a custom network, which is imported only if it is named here

    Raises
    ------
    RunError: the run is not finished. ConfigError: a setting is invalid. MissingExtraError: pyspark is not installed.
    """
    if top_k < 1:
        raise ConfigError(f"top_k is {top_k}; expected 1 or more")
    location = normalized(run)
    column = PredictColumn(run=location, key=check_finished(location, model), top_k=top_k, model=model)
    with requires("spark", "predict_udf"):
        return pandas_udf_of(column, FIELDS)


@dataclass(frozen=True, kw_only=True)
class PredictColumn:
    """Predicts batches of a column, in a Python worker of Spark. `key` is a hash of the files of the run."""

    run: str
    key: str
    top_k: int
    model: str | None

    def __call__(self, batches: Iterator[pandas.Series[Any]]) -> Iterator[pandas.DataFrame]:
        """Yield the predictions of each batch, in the order of its values."""
        import pandas

        trained = loaded_run(self.run, self.key, self.model, num_threads=1)
        for batch in batches:
            values, predictions = list(batch), list[Prediction]()
            clips = _clips_of(values, trained.features)
            for first in range(0, len(values), BATCH_SIZE):
                names = ["" for _ in values[first : first + BATCH_SIZE]]
                predictions += trained.predict(names, [next(clips) for _ in names], self.top_k)
            rows = [[to_json(getattr(prediction, name)) for name in FIELDS] for prediction in predictions]
            yield pandas.DataFrame(rows, columns=list(FIELDS), dtype=object)  # None stays None, and no NaN


def _clips_of(values: Sequence[Any], features: FeatureConfig) -> Iterator[DecodedClip | AudioError]:
    """Yield the clip of each value: the content of a file, or its path."""
    files = read_clips([value for value in values if isinstance(value, str)], features)
    for value in values:
        if isinstance(value, str):
            yield next(files)
            continue
        try:
            if not isinstance(value, (bytes, bytearray)):
                raise AudioError("missing", "the value is null; expected the content or the path of a file")
            yield decode_bytes(bytes(value), features, "content")
        except AudioError as error:
            yield error
