"""The 2020 report's pipeline, rewritten from its description: a Spark RDD of whole files, librosa for each record.

The records are counted, and nothing is written. Only the settings of the session are not those of the report.
"""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import urlparse

import numpy as np

from benchmarks.peers.pipeline import Stage, Stopwatch
from benchmarks.reference import HOP_LENGTH, N_FFT
from hybridspeech.clusters.spark_settings import loopback_settings, spark_environment
from hybridspeech.processes.environment import environment
from hybridspeech.processes.resources import num_cores

NUM_FRAMES = 50


def to_record(item: tuple[str, bytes]) -> tuple[str, np.ndarray]:
    """Return (word, spectrogram) of one (path, content); the spectrogram of a short clip is padded with columns of 0 dB."""
    import librosa
    import soundfile

    path, content = item
    wave, _ = soundfile.read(io.BytesIO(content))
    levels = librosa.amplitude_to_db(np.abs(librosa.stft(wave, n_fft=N_FFT, hop_length=HOP_LENGTH)))
    missing = NUM_FRAMES - levels.shape[1]
    if missing > 0:
        levels = np.pad(levels, ((0, 0), (0, missing)))
    return path.split("/")[-2], levels


def run(source: Path, out: Path) -> Stage:
    """Count the records on all cores. Only clips of one second are checked: shorter ones are padded after the transform."""
    watch = Stopwatch()
    scratch = out.parent / "spark"
    with environment(spark_environment(scratch)):
        from pyspark import SparkConf, SparkContext

        scratch.mkdir()
        java = {"spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={scratch} -XX:-UsePerfData"}
        conf = SparkConf().setMaster(f"local[{num_cores()}]").setAppName("original")
        context = SparkContext(conf=conf.setAll(list({**loopback_settings(scratch), **java}.items())))
        try:
            watch.started()
            files = context.binaryFiles(f"file://{source}/[^_]*/*.wav")
            count = files.map(to_record).count()
            watch.done()
            whole = files.filter(lambda item: len(item[1]) >= 32_044)
            found = whole.map(lambda item: (urlparse(item[0]).path, to_record(item)[1])).take(3)
        finally:
            context.stop()
    return Stage(num_clips=count, watch=watch, samples=dict(found))
