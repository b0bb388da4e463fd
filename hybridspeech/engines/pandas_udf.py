"""Makes pandas UDFs of Spark. Knows nothing of audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def pandas_udf_of(function: Callable[[Iterator[Any]], Iterator[Any]], fields: Mapping[str, Any]) -> Any:
    """Return a pandas UDF of one column, whose result is a struct.

    Parameters
    ----------
    function : called once in each task with an iterator of pandas.Series; yields a pandas.DataFrame for each of them
    fields : name of each field of the struct, and its type: "string", "double", or a list of one mapping as this one for
        an array of structs
    """
    import pandas
    from pyspark.sql.functions import pandas_udf
    from pyspark.sql.types import StructType

    def call(batches: Iterator[Any]) -> Iterator[Any]:
        return function(batches)

    call.__annotations__ = {
        "batches": Iterator[pandas.Series],
        "return": Iterator[pandas.DataFrame],
    }  # Spark reads them
    return pandas_udf(call, StructType.fromJson(_struct(fields)))  # a text would need an open session


def _struct(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON form of a struct type of Spark."""
    return {
        "type": "struct",
        "fields": [
            {"name": name, "type": _array(kind) if isinstance(kind, list) else kind, "nullable": True, "metadata": {}}
            for name, kind in fields.items()
        ],
    }


def _array(element: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {"type": "array", "elementType": _struct(element[0]), "containsNull": True}
