"""Train spoken-word classifiers from folders of recordings, on Spark, TensorFlowOnSpark and Ray.

The verbs are functions, and commands of the same name:

    download, synthesize     get recordings: one folder of WAV files per label
    preprocess               recordings -> TFRecord shards
    inspect                  describe and verify shards
    train                    shards -> run directory
    run                      recordings -> run directory, without shards on disk
    evaluate, predict        measure a trained network, or apply it to audio files (many: predict_table, predict_udf)
    listen                   find words in continuous sound
    export                   run directory -> SavedModel, Keras or TFLite
    demo                     all of it on synthetic speech

Every name is imported on first use, so that ``import hybridspeech`` loads no other package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybridspeech.commands.demo import DemoResult as DemoResult
    from hybridspeech.commands.demo import demo as demo
    from hybridspeech.commands.download import DownloadResult as DownloadResult
    from hybridspeech.commands.download import download as download
    from hybridspeech.commands.evaluate import EvaluateResult as EvaluateResult
    from hybridspeech.commands.evaluate import evaluate as evaluate
    from hybridspeech.commands.evaluate_recording import evaluate_recording as evaluate_recording
    from hybridspeech.commands.evaluate_stream import evaluate_stream as evaluate_stream
    from hybridspeech.commands.export import ExportResult as ExportResult
    from hybridspeech.commands.export import export as export
    from hybridspeech.commands.inspect import InspectResult as InspectResult
    from hybridspeech.commands.inspect import inspect as inspect
    from hybridspeech.commands.listen import listen as listen
    from hybridspeech.commands.listen import load_listener as load_listener
    from hybridspeech.commands.listen_table import ListenTableResult as ListenTableResult
    from hybridspeech.commands.listen_table import listen_table as listen_table
    from hybridspeech.commands.predict import predict as predict
    from hybridspeech.commands.predict_table import PredictTableResult as PredictTableResult
    from hybridspeech.commands.predict_table import predict_table as predict_table
    from hybridspeech.commands.predict_udf import predict_udf as predict_udf
    from hybridspeech.commands.preprocess import PreprocessResult as PreprocessResult
    from hybridspeech.commands.preprocess import preprocess as preprocess
    from hybridspeech.commands.run import RunResult as RunResult
    from hybridspeech.commands.run import run as run
    from hybridspeech.commands.synthesize import SynthesizeResult as SynthesizeResult
    from hybridspeech.commands.synthesize import synthesize as synthesize
    from hybridspeech.commands.train import TrainResult as TrainResult
    from hybridspeech.commands.train import train as train
    from hybridspeech.config import AugmentConfig as AugmentConfig
    from hybridspeech.config import ClusterConfig as ClusterConfig
    from hybridspeech.config import EngineConfig as EngineConfig
    from hybridspeech.config import FeatureConfig as FeatureConfig
    from hybridspeech.config import Progress as Progress
    from hybridspeech.corpora.fetch import FetchConfig as FetchConfig
    from hybridspeech.detection.config import DetectionConfig as DetectionConfig
    from hybridspeech.detection.config import Thresholds as Thresholds
    from hybridspeech.detection.listener import Event as Event
    from hybridspeech.detection.listener import Listener as Listener
    from hybridspeech.detection.stream_result import StreamResult as StreamResult
    from hybridspeech.errors import AudioError as AudioError
    from hybridspeech.errors import BackendError as BackendError
    from hybridspeech.errors import ConfigError as ConfigError
    from hybridspeech.errors import DownloadError as DownloadError
    from hybridspeech.errors import EngineError as EngineError
    from hybridspeech.errors import HybridspeechError as HybridspeechError
    from hybridspeech.errors import JavaError as JavaError
    from hybridspeech.errors import ManifestError as ManifestError
    from hybridspeech.errors import MissingExtraError as MissingExtraError
    from hybridspeech.errors import OutputExistsError as OutputExistsError
    from hybridspeech.errors import RunError as RunError
    from hybridspeech.errors import ShardError as ShardError
    from hybridspeech.errors import StorageError as StorageError
    from hybridspeech.errors import TooManyRejectsError as TooManyRejectsError
    from hybridspeech.errors import WorkerError as WorkerError
    from hybridspeech.evaluation.file_predictions import Prediction as Prediction
    from hybridspeech.manifest.config import ManifestConfig as ManifestConfig
    from hybridspeech.models.config import ModelConfig as ModelConfig
    from hybridspeech.models.exported_stream import ExportedStream as ExportedStream
    from hybridspeech.shards.config import ShardConfig as ShardConfig
    from hybridspeech.training.config import FitConfig as FitConfig

__version__ = "0.1.0"

_HOMES = {
    "AudioError": "errors",
    "AugmentConfig": "config",
    "BackendError": "errors",
    "ClusterConfig": "config",
    "ConfigError": "errors",
    "DemoResult": "commands.demo",
    "DetectionConfig": "detection.config",
    "DownloadError": "errors",
    "DownloadResult": "commands.download",
    "EngineConfig": "config",
    "EngineError": "errors",
    "EvaluateResult": "commands.evaluate",
    "Event": "detection.listener",
    "ExportResult": "commands.export",
    "ExportedStream": "models.exported_stream",
    "FeatureConfig": "config",
    "FetchConfig": "corpora.fetch",
    "FitConfig": "training.config",
    "HybridspeechError": "errors",
    "InspectResult": "commands.inspect",
    "JavaError": "errors",
    "Listener": "detection.listener",
    "ManifestConfig": "manifest.config",
    "ManifestError": "errors",
    "MissingExtraError": "errors",
    "ModelConfig": "models.config",
    "OutputExistsError": "errors",
    "PredictTableResult": "commands.predict_table",
    "Prediction": "evaluation.file_predictions",
    "PreprocessResult": "commands.preprocess",
    "Progress": "config",
    "RunError": "errors",
    "RunResult": "commands.run",
    "ShardConfig": "shards.config",
    "ShardError": "errors",
    "StorageError": "errors",
    "StreamResult": "detection.stream_result",
    "SynthesizeResult": "commands.synthesize",
    "Thresholds": "detection.config",
    "TooManyRejectsError": "errors",
    "TrainResult": "commands.train",
    "WorkerError": "errors",
    "demo": "commands.demo",
    "download": "commands.download",
    "evaluate_recording": "commands.evaluate_recording",
    "evaluate_stream": "commands.evaluate_stream",
    "evaluate": "commands.evaluate",
    "export": "commands.export",
    "inspect": "commands.inspect",
    "listen": "commands.listen",
    "ListenTableResult": "commands.listen_table",
    "listen_table": "commands.listen_table",
    "load_listener": "commands.listen",
    "predict": "commands.predict",
    "predict_table": "commands.predict_table",
    "predict_udf": "commands.predict_udf",
    "preprocess": "commands.preprocess",
    "run": "commands.run",
    "synthesize": "commands.synthesize",
    "train": "commands.train",
}
"""Public names, and the module of this package that each is imported from."""

__all__ = [*_HOMES]

if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*_HOMES, "__version__"])
