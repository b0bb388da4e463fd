from __future__ import annotations

import itertools
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hybridspeech.config import FeatureConfig
from hybridspeech.manifest.clips import Clip, Manifest
from hybridspeech.manifest.columns.clip_table import ClipTable
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.plan import choose_num_shards, group_tasks, plan_shards, rebalance


def clips_of(count: int, split: str = "training") -> ClipTable:
    return ClipTable.of(
        Clip(clip_id=f"word/{i}.wav", path=f"/x/{i}.wav", label=0, label_name="word", speaker=str(i), split=split)
        for i in range(count)
    )


def sizes(tasks: list) -> list[int]:  # type: ignore[type-arg]
    return [len(task.clips) for task in tasks]


def test_shards_do_not_depend_on_the_order_of_the_listing() -> None:
    clips = clips_of(100)
    shuffled = ClipTable.of(random.Random(1).sample(list(clips), len(clips)))
    assert plan_shards(clips, ShardConfig(num_shards=7)) == plan_shards(shuffled, ShardConfig(num_shards=7))


def test_another_seed_gives_another_order() -> None:
    one, two = (plan_shards(clips_of(50), ShardConfig(num_shards=1, seed=seed)) for seed in (0, 1))
    assert one[0].clips != two[0].clips
    assert set(one[0].clips) == set(two[0].clips)


def test_names_contain_split_number_and_count() -> None:
    tasks = plan_shards(clips_of(3, "testing"), ShardConfig(num_shards=8, compression="gzip"))
    assert [task.name for task in tasks] == [f"testing-0000{i}-of-00003.tfrecord.gz" for i in range(3)]


@given(st.integers(1, 200), st.integers(1, 20))
def test_sizes_of_shards_differ_by_at_most_one_clip(count: int, num_shards: int) -> None:
    found = sizes(plan_shards(clips_of(count), ShardConfig(num_shards=num_shards)))
    assert sum(found) == count
    assert max(found) - min(found) <= 1


@given(st.integers(2, 120), st.integers(1, 12), st.data())
def test_shards_have_equal_sizes_without_the_rejected_clips(count: int, num_shards: int, data: st.DataObject) -> None:
    clips, config = clips_of(count), ShardConfig(num_shards=num_shards)
    rejected = data.draw(st.sets(st.sampled_from([clip.clip_id for clip in clips]), max_size=count - 1))
    balanced = rebalance(plan_shards(clips, config), rejected, config)
    kept = Counter(clip.clip_id for task in balanced for clip in task.clips)
    assert kept == Counter(clip.clip_id for clip in clips if clip.clip_id not in rejected)
    assert min(sizes(balanced)) >= 1
    assert max(sizes(balanced)) - min(sizes(balanced)) <= 1


def test_one_reject_does_not_change_most_shards() -> None:
    tasks = plan_shards(clips_of(80), ShardConfig(num_shards=8))
    balanced = rebalance(tasks, {tasks[2].clips[0].clip_id}, ShardConfig(num_shards=8))
    assert [i for i in range(8) if balanced[i] != tasks[i]] == [2]


def test_shards_are_of_about_64_mib() -> None:
    manifest = Manifest(clips=clips_of(10_000), labels=("word",), source="x", split_rule="none")
    assert choose_num_shards(manifest, FeatureConfig(), ShardConfig(dtype="float32")) == 31
    assert choose_num_shards(manifest, FeatureConfig(kind="logmel"), ShardConfig(dtype="float32")) == 8


@given(st.lists(st.integers(1, 400), max_size=40))
def test_small_tasks_are_grouped_in_order_up_to_the_size_of_the_largest(
    counts: list[int],
) -> None:
    tasks = [plan_shards(clips_of(count), ShardConfig(num_shards=1))[0] for count in counts]
    groups = group_tasks(tasks)
    assert [task for group in groups for task in group] == tasks
    assert all(0 < sum(sizes(list(group))) <= max(counts) for group in groups)
    for group, following in itertools.pairwise(groups):
        assert sum(sizes(list(group))) + len(following[0].clips) > max(counts)


def test_groups_for_a_store_hold_several_shards_and_there_are_enough_for_all_workers() -> None:
    tasks = plan_shards(clips_of(2_400), ShardConfig(num_shards=24))
    assert [len(group) for group in group_tasks(tasks)] == [1] * 24
    assert [len(group) for group in group_tasks(tasks, parallelism=2)] == [4] * 6
    assert [len(group) for group in group_tasks(tasks, parallelism=4)] == [2] * 12
    assert [len(group) for group in group_tasks(tasks, parallelism=64)] == [1] * 24
