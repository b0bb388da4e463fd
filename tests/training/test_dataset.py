from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard
from hybridspeech.training.dataset import EpochInput, evaluation_dataset, worker_dataset
from hybridspeech.training.partition import count_steps

SMALL = FeatureConfig(kind="logmel", n_mels=17, hop_length=400)


@pytest.fixture(scope="module", params=["float32", "float16"])
def shards(request: pytest.FixtureRequest, tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dataset") / "shards"
    preprocess(tones, out, features=SMALL, shards=ShardConfig(dtype=request.param, num_shards=5), engine="local")
    return out


def keys(batches: list[tuple[np.ndarray, ...]]) -> Counter[bytes]:
    """Return examples of weight 1, identified by their spectrograms."""
    return Counter(x.tobytes() for xs, _, weights in batches for x, w in zip(xs, weights, strict=True) if w)


@pytest.mark.parametrize("split", ["training", "validation"])
@pytest.mark.parametrize("num_workers", [1, 3, 5])
@pytest.mark.parametrize("shuffle", [None, (7, 3, 16)])
def test_all_ranks_together_see_each_example_once_in_equal_steps(
    shards: Path, split: str, num_workers: int, shuffle: tuple[int, int, int] | None
) -> None:
    index, seen = ShardIndex.load(shards), Counter[bytes]()
    for rank in range(num_workers):
        dataset = worker_dataset(
            shards, index, split, EpochInput(rank=rank, num_workers=num_workers, batch_size=7, shuffle=shuffle)
        )
        batches = list(dataset.as_numpy_iterator())
        assert len(batches) == count_steps(index, split, num_workers, 7)
        assert {batch[0].shape for batch in batches} == {(7, 17, 41, 1)}
        seen += keys(batches)
    assert sum(seen.values()) == index.splits[split]
    assert set(seen.values()) == {1}


def test_an_example_keeps_its_label_and_numbers(shards: Path) -> None:
    index = ShardIndex.load(shards)
    stored = {
        example.clip_id: example
        for shard in index.of_split("testing")
        for example in read_shard(shards / shard.name, shape=SMALL.shape)
    }
    found = 0
    for spectrograms, labels, clip_ids, speakers in evaluation_dataset(shards, index, "testing", 8).as_numpy_iterator():
        for x, label, clip_id, speaker in zip(spectrograms, labels, clip_ids, speakers, strict=True):
            example = stored[clip_id.decode()]
            np.testing.assert_array_equal(x[..., 0], example.values.astype("float32"))
            assert (label, speaker.decode()) == (example.label, example.speaker)
            found += 1
    assert found == len(stored) == index.splits["testing"]


def test_the_seed_and_the_epoch_decide_the_order(shards: Path) -> None:
    index = ShardIndex.load(shards)

    def order(seed: int, epoch: int) -> list[bytes]:
        dataset = worker_dataset(
            shards, index, "training", EpochInput(rank=0, num_workers=1, batch_size=4, shuffle=(seed, epoch, 64))
        )
        return [x.tobytes() for xs, _, _ in dataset.as_numpy_iterator() for x in xs]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_no_epoch_waits_for_the_autotuning_thread(shards: Path) -> None:
    index = ShardIndex.load(shards)
    of_worker = worker_dataset(
        shards, index, "training", EpochInput(rank=0, num_workers=1, batch_size=4, shuffle=(0, 0, 8))
    )
    for dataset in (of_worker, evaluation_dataset(shards, index, "testing", 8)):
        assert dataset.options().autotune.enabled is False


def test_fewer_shards_than_workers_is_an_error_with_advice(shards: Path) -> None:
    with pytest.raises(ConfigError, match=r"5 shards for 6 workers.*--shards 6 or more, or train with fewer workers"):
        count_steps(ShardIndex.load(shards), "training", 6, 8)
