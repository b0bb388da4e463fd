"""The log-mel stage in lhotse: `compute_and_store_features` with Fbank, one job per core, lilcom archives."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.peers.pipeline import Stage, Stopwatch, list_clips, some
from benchmarks.reference import LOGMEL
from hybridspeech.processes.resources import num_cores


def run(source: Path, out: Path) -> Stage:
    """Compute the filter banks of a folder. Start of the processes and imports are start-up.

    They are Kaldi's filter banks of 64 bands and 10 ms, with other values than a log-mel spectrogram of librosa: number,
    shape and range are checked. A clip of less than a second has fewer frames.
    """
    watch = Stopwatch()
    import torch
    from lhotse import CutSet, Fbank, FbankConfig, LilcomChunkyWriter, Recording, RecordingSet

    torch.set_num_threads(1)
    cores, num_bands = num_cores(), LOGMEL["n_mels"]
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn"), initializer=_import) as pool:
        list(pool.map(_nothing, range(4 * cores)))
        watch.started()
        recordings = (Recording.from_file(path, recording_id=path) for path in list_clips(source))
        cuts = CutSet.from_manifests(recordings=RecordingSet.from_recordings(recordings)).to_eager()
        made = cuts.compute_and_store_features(
            extractor=Fbank(FbankConfig(num_filters=num_bands)),
            storage_path=out,
            num_jobs=cores,
            storage_type=LilcomChunkyWriter,
            executor=pool,
            progress_bar=False,
        ).to_eager()
        watch.done()
    cuts = list(made)
    found = [(cut, np.asarray(cut.load_features())) for cut in some(cuts)]
    wrong = [cut.id for cut, bands in found if bands.shape != (cut.num_frames, num_bands) or not _is_in_range(bands)]
    return Stage(
        num_clips=len(cuts), watch=watch, samples=None, problem=f"wrong features of {wrong[0]}" if wrong else ""
    )


def _is_in_range(bands: np.ndarray) -> bool:
    """Tell whether natural logarithms of powers are those of a clip that is not silent."""
    return bool(np.isfinite(bands).all() and bands.std() > 0.1)


def _import() -> None:
    import lhotse
    import torch

    torch.set_num_threads(1)
    lhotse.Fbank()


def _nothing(_: int) -> None:
    pass
