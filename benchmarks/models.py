"""Writes the accuracy of the networks as docs/models.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.records import CaseResult, PeerResult, Results
from benchmarks.registry import CASES
from hybridspeech.errors import ConfigError
from hybridspeech.storage.small_files import write_atomically

_HEAD = """\
# Models

This page is written by `python -m benchmarks run -k accuracy{data}`; do not edit it. Each network is trained with its recipe
(`hybridspeech/training/recipes.py`, the default of `hybridspeech train`), once per seed, on one worker with all cores.
`cnn-report` is the network of the 2020 report with the report's settings (`--recipe report`), `cnn-stft` the same network
with its recipe on the same shards, and `cnn-waveform` the same network and recipe on waveform shards (`--features stft`),
where training changes the sound too. `dscnn-causal` is `dscnn` with `--causal`, for streams. Each is measured on the testing
split, whose speakers are not in the other splits. The spread is the minimum and the maximum over the seeds: the effect of
chance in training. The 95 % interval is that of the median seed: the effect of the choice of the test speakers. Time is that
of the whole training, from the call to the model.

"""
_PUBLISHED = """
## Published tasks

These commands train on the published tasks and splits of Speech Commands. They were not run here, because the full data set was
not available: this page promises no accuracy for them. Each network takes hours on two cores; `-k accuracy/dscnn-1.5` trains
one. The STFT shards of `cnn-report` and `cnn-stft` need up to 22 GB.

| task | options after `python -m benchmarks run -k accuracy` | published test accuracy |
|---|---|---|
| v0.02, 12 labels | `--data speech_commands_v0.02 --task 12` | BC-ResNet-8 98.7 %; MHAtt-RNN of kws_streaming 98.0 % |
| v0.02, 35 words | `--data speech_commands_v0.02` | MatchboxNet-3x2x64 97.2 % |
| v0.01, 30 words | `--data speech_commands_v0.01` | MatchboxNet-3x2x64 97.5 % |

Sources: arXiv:2106.04140 (BC-ResNet), arXiv:2005.06720 (kws_streaming), arXiv:2004.08531 (MatchboxNet, 93 k parameters). With
`--task 12`, the testing split has the size of the published test set: the clips of the ten words in `testing_list.txt`, and a
tenth as many of `_unknown_` and of `_silence_`. The papers draw other clips of these two labels.
"""
_FINE_TUNING = """
## Words that nobody has recorded

This section is written by `python -m benchmarks run -k finetune{data}`. A network is trained on synthetic voices
(`data synthesize --words`) and fine-tuned on recordings (`train --init-from`); the last row has the same recordings without
synthetic voices. All are measured on the testing split of the real clips; neither its speakers nor its clips are in the
training. The recordings are drawn from the training split, no speaker twice for a word; each seed has its own voices and
recordings, and the 95 % interval is that of the seed with the median accuracy after fine-tuning. Training accuracy is that of
augmented clips in the last epoch; recordings are trained in batches of 16.
"""
SAMPLE_RATE_HZ = 16_000
_COLUMNS = (
    "network",
    "shards",
    "features",
    "test accuracy",
    "seeds",
    "95 % interval",
    "training",
    "validation",
    "parameters",
    "epochs",
)


def write_models(results: Results, path: Path, fine_tuning: Results | None = None) -> None:
    """Write the tables of the case `accuracy` of a run, and that of the case `finetune` of another one."""
    more = _fine_tuning(fine_tuning) if fine_tuning else ()
    write_atomically(path, "\n".join([*_lines(_accuracy(results), results), *more]) + "\n")


def merge(earlier: Results, later: Results) -> Results:
    """Return the later results of the case `accuracy`, with the rows of earlier ones for networks that lack a measurement.

    Raises
    ------
    ConfigError: the clips, labels or sizes differ.
    """
    for name in ("source", "task", "size"):
        if getattr(earlier, name) != getattr(later, name):
            raise ConfigError(
                f"the results have the {name} {getattr(earlier, name)!r} and {getattr(later, name)!r}; merge only results "
                "of the same clips"
            )
    before, after = (
        {peer.name: peer for peer in _accuracy(results).peers if peer.runs} for results in (earlier, later)
    )
    when = f"{earlier.date[:10]}, revision {earlier.machine['revision']}"
    kept = {name: replace(peer, measured=peer.measured or when) for name, peer in before.items()}
    peers = tuple(found for name in CASES["accuracy"].peers if (found := after.get(name) or kept.get(name)))
    return replace(later, cases=(replace(_accuracy(later), peers=peers),))


def _accuracy(results: Results) -> CaseResult:
    return next(case for case in results.cases if case.name == "accuracy")


def _lines(case: CaseResult, results: Results) -> Iterator[str]:
    yield _HEAD.format(data=results.data_options)
    measured = [peer for peer in case.peers if peer.counts]
    if measured:
        facts = measured[0].runs[0].outcome.facts
        yield (
            f"{len(facts['labels'])} labels ({', '.join(facts['labels'])}) of {results.source}; tested on "
            f"{facts['num_clips']:,} clips of {facts['num_speakers'] or 'unknown'} speakers.\n"
        )
    yield f"| {' | '.join(_COLUMNS)} | time |"
    yield "|---|---|---|" + "---:|" * (len(_COLUMNS) - 2)
    for peer in case.peers:
        cells = _cells(peer) if peer.counts else [peer.skipped or f"**failed**: {peer.problem.replace('|', '/')}"]
        setup = CASES["accuracy"].peers[peer.name]
        shards, features = setup.shards.removesuffix("-shards"), setup.settings["network"]["features"]
        yield f"| {peer.name} | {shards} | {features} | {' | '.join(cells)} |"
    yield from _exports(measured)
    yield from _streams(measured)
    yield from _micro(measured)
    yield from _noise(measured)
    machine = results.machine
    yield (
        f"\nMeasured on {results.date}: {machine['cpu']}, {machine['cores']} cores; load average at the start: "
        f"{machine['load_average']}; revision {machine['revision']}."
    )
    if machine["load_average"] > 2 * machine["cores"]:
        yield "Other processes shared the cores: times and latencies are several times those of an idle machine."
    for peer in case.peers:
        if peer.measured:
            yield f"`{peer.name}` was measured earlier: {peer.measured}."
    if results.task.startswith("words:"):
        yield _PUBLISHED.rstrip("\n")


def _fine_tuning(results: Results) -> Iterator[str]:
    """Yield the section on words without recordings."""
    (case,) = (case for case in results.cases if case.name == "finetune")
    yield _FINE_TUNING.format(data=results.data_options)
    for peer in case.peers:
        if not peer.counts:
            yield f"{peer.name}: {peer.skipped or f'**failed**: {peer.problem}'}"
            continue
        facts = _median(peer)
        yield (
            f"`{peer.name}` on {len(facts['labels'])} labels ({', '.join(facts['labels'])}) of {results.source}; tested on "
            f"{facts['num_clips']:,} clips of {facts['num_speakers'] or 'unknown'} speakers.\n"
        )
        yield "| training clips per word | test accuracy | seeds | 95 % interval | training | epochs |"
        yield "|---|---:|---:|---:|---:|---:|"
        yield from (_start_row(peer, name, facts) for name in facts["starts"])
    machine = results.machine
    yield (
        f"\nMeasured on {results.date}: {machine['cpu']}, {machine['cores']} cores; load average at the start: "
        f"{machine['load_average']}; revision {machine['revision']}."
    )


def _start_row(peer: PeerResult, name: str, median: Mapping[str, Any]) -> str:
    synthetic, recorded = f"{median['clips_per_word']} synthetic", f"{median['recordings_per_word']} recordings"
    title = {"synthetic": synthetic, "fine-tuned": f"{synthetic}, then {recorded}", "recorded": recorded}[name]
    found = [run.outcome.facts["starts"][name] for run in peer.runs]
    values = [100 * each["accuracy"] for each in found]
    low, high = (100 * bound for bound in median["starts"][name]["interval"])
    cells = (
        *(title, f"**{statistics.mean(values):.1f} %** ({min(values):.1f} to {max(values):.1f})", f"{len(values)}"),
        *(f"{low:.1f} to {high:.1f}", f"{100 * statistics.mean(each['training_accuracy'] for each in found):.1f} %"),
        f"{median['starts'][name]['epochs']}",
    )
    return f"| {' | '.join(cells)} |"


def _exports(peers: Sequence[PeerResult]) -> Iterator[str]:
    """Yield the table of the exported models of the median seed of each network."""
    yield "\n## Exported models\n"
    yield (
        "Each takes raw audio and is evaluated on every testing clip. Latency is per clip, on one core. int8 is calibrated on "
        "training clips.\n"
    )
    yield "| network | format | accuracy | size | latency |"
    yield "|---|---|---:|---:|---:|"
    for peer in peers:
        for form, made in _median(peer).get("exports", {}).items():
            if form.endswith(("-streaming", "-micro")):
                continue
            if "refused" in made:
                yield f"| {peer.name} | {form} | refused: {made['refused'].replace('|', '/')} | | |"
            else:
                size, latency = f"{made['num_bytes'] / 1e6:.2f} MB", f"{made['latency_ms']:.1f} ms"
                yield f"| {peer.name} | {form} | {100 * made['accuracy']:.1f} % | {size} | {latency} |"


def _streams(peers: Sequence[PeerResult]) -> Iterator[str]:
    """Yield what a second of a stream costs: with a streaming export, and with one that takes a second for each step."""
    exports = {peer.name: _median(peer).get("exports", {}) for peer in peers}
    streaming = {name: each for name, each in exports.items() if "latency_ms" in each.get("tflite-streaming", {})}
    if not streaming:
        return
    yield "\n## Streams\n"
    yield (
        "Time per second of sound on one core, with a result after each step. The other formats compute the last second again "
        "for each step. Accuracy is that after a testing clip, from an empty state.\n"
    )
    yield "| network | format | step | accuracy | time per second of sound |"
    yield "|---|---|---:|---:|---:|"
    for name, made in streaming.items():
        samples = made["tflite-streaming"]["input_shape"][1]
        for form in ("savedmodel-streaming", "tflite-streaming", "savedmodel", "tflite"):
            steps_per_clip = SAMPLE_RATE_HZ // samples if form.endswith("-streaming") else 1
            cost_ms = made[form]["latency_ms"] / steps_per_clip * SAMPLE_RATE_HZ / samples
            step, accuracy = f"{1000 * samples / SAMPLE_RATE_HZ:.0f} ms", f"{100 * made[form]['accuracy']:.1f} %"
            yield f"| {name} | {form} | {step} | {accuracy} | {cost_ms:.1f} ms |"


def _micro(peers: Sequence[PeerResult]) -> Iterator[str]:
    """Yield the table of the exports for microcontrollers."""
    exports = {peer.name: _median(peer).get("exports", {}) for peer in peers}
    micro = {name: each for name, each in exports.items() if "tflite-micro" in each}
    if not micro:
        return
    yield "\n## Microcontrollers\n"
    yield (
        "`tflite-micro`: features in fixed point, and the network in the interpreter of TensorFlow Lite for Microcontrollers, "
        "on this machine. Its outputs equal those of TFLite's reference kernels to the bit. The tensor arena is that of a "
        "64-bit host.\n"
    )
    yield "| network | accuracy | accuracy of `tflite` | model | tensor arena |"
    yield "|---|---:|---:|---:|---:|"
    for name, made in micro.items():
        found, single = made["tflite-micro"], f"{100 * made['tflite']['accuracy']:.1f} %"
        if "refused" in found:
            yield f"| {name} | refused: {found['refused'].replace('|', '/')} | {single} | | |"
        else:
            sizes = f"{found['num_bytes'] / 1000:.0f} kB | {found['arena_bytes'] / 1000:.0f} kB"
            yield f"| {name} | {100 * found['accuracy']:.1f} % | {single} | {sizes} |"


def _noise(peers: Sequence[PeerResult]) -> Iterator[str]:
    """Yield the table of accuracy under noise, and calibration, of the median seed of each network."""
    levels = [level for peer in peers[:1] for level in _median(peer).get("noise", {})]
    yield "\n## Background noise, and calibration\n"
    yield (
        "Accuracy with background noise that is not used in training, by signal-to-noise ratio; and the expected "
        "calibration error, before and after temperature scaling.\n"
    )
    yield f"| network | {''.join(f'{level} dB | ' for level in levels)}calibration error | after scaling |"
    yield f"|---|{'---:|' * len(levels)}---:|---:|"
    for peer in peers:
        facts = _median(peer)
        noisy = "".join(f"{100 * facts['noise'][level]:.1f} % | " for level in levels)
        scaled = f"{facts['scaled_calibration_error']:.3f}" if "scaled_calibration_error" in facts else "not measured"
        yield f"| {peer.name} | {noisy}{facts.get('calibration_error', float('nan')):.3f} | {scaled} |"


def _median(peer: PeerResult) -> Mapping[str, Any]:
    """Return the facts of the seed with the median accuracy."""
    runs = sorted(peer.runs, key=lambda run: run.outcome.value)
    return runs[len(runs) // 2].outcome.facts


def _cells(peer: PeerResult) -> list[str]:
    runs = sorted(peer.runs, key=lambda run: run.outcome.value)
    middle = _median(peer)
    low, high = middle["interval"]

    def mean(name: str) -> float:
        return statistics.mean(float(run.outcome.facts[name]) for run in runs)

    return [
        f"**{100 * statistics.mean(peer.values):.1f} %** ({100 * min(peer.values):.1f} to {100 * max(peer.values):.1f})",
        f"{len(runs)}",
        f"{100 * low:.1f} to {100 * high:.1f}",
        f"{100 * mean('training_accuracy'):.1f} %",
        f"{100 * mean('validation_accuracy'):.1f} %" if middle["validation_accuracy"] is not None else "",
        f"{middle['num_parameters']:,}",
        f"{middle['epochs']}",
        f"{statistics.median(run.outcome.facts['train_s'] for run in runs) / 60:.1f} min",
    ]
