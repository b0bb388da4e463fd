"""Training: speed on every backend, and accuracy. Imports none of the peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.spec import Case, Peer, Size, Target, sizes


def _trainer(backend: str, num_workers: int, *needs: str) -> Peer:
    return Peer({"backend": backend, "num_workers": num_workers}, ("tensorflow", "tf_keras", *needs))


_TRAINERS = {
    "keras-fit": _trainer("keras-fit", 1),
    "bare-1": _trainer("bare", 1),
    "bare-2": _trainer("bare", 2),
    "local-1": _trainer("local", 1),
    "tfos-1": _trainer("tfos", 1, "tensorflowonspark", "pyspark"),
    "tfos-2": _trainer("tfos", 2, "tensorflowonspark", "pyspark"),
    "ray-1": _trainer("ray", 1, "ray"),
    "ray-2": _trainer("ray", 2, "ray"),
}

_BACKEND_TARGETS = tuple(Target(f"{backend}-{n}", f"bare-{n}", 0.95) for backend in ("tfos", "ray") for n in (1, 2))

_ABOUT_TRAINERS = (
    "`keras-fit` is plain `model.fit` of the same network on the same shards. `bare-N` are N processes started by hand with "
    "TF_CONFIG (MultiWorkerMirroredStrategy for two) that run the training loop of this package; `local`, `tfos` and `ray` "
    "run it through the backends. The workers share the cores evenly."
)


def _network(
    features: str,
    model: str,
    width: float | None = None,
    *,
    recipe: str = "default",
    shards: str = "waveform",
    causal: bool = False,
) -> Peer:
    network = {"features": features, "model": model, "width": width, "recipe": recipe, "causal": causal}
    return Peer({"network": network}, ("tensorflow", "tf_keras"), shards=f"{shards}-shards")


def _fine_tuning(clips_per_word: int, recordings_per_word: int, epochs: Mapping[str, int]) -> dict[str, Any]:
    return {"clips_per_word": clips_per_word, "recordings_per_word": recordings_per_word, "epochs": epochs}


def _hand_off(backend: str, engine: str = "") -> Peer:
    packages = {"tfos": ("tensorflowonspark", "pyspark"), "ray": ("ray", "raydp")}[backend]
    return Peer({"backend": backend, "engine": engine}, ("tensorflow", *packages))


CASES: Mapping[str, Case] = {
    "train-throughput": Case(
        title="Training on STFT shards: steady state",
        about=f"Examples per second of the median epoch after the first. {_ABOUT_TRAINERS}",
        target="benchmarks.cases.training:throughput",
        unit="examples/s",
        input="stft-shards",
        sizes=sizes(
            Size(36, repeats=1, timeout_s=240, settings={"epochs": 2}),
            Size(900, settings={"epochs": 8}),
            Size(3_000, repeats=5, timeout_s=3_600, settings={"epochs": 6}),
        ),
        peers=_TRAINERS,
        baselines=("keras-fit", "bare-1", "bare-2"),
        targets=(*_BACKEND_TARGETS, Target("local-1", "keras-fit", 1.3)),
    ),
    "train-throughput-logmel": Case(
        title="Training on log-mel shards: steady state",
        about="As above, on 64 x 101 log-mel spectrograms, where a step is short and overhead is visible.",
        target="benchmarks.cases.training:throughput",
        unit="examples/s",
        input="logmel-shards",
        sizes=sizes(
            Size(36, repeats=1, timeout_s=240, settings={"epochs": 2}),
            Size(6_000, settings={"epochs": 8}),
            Size(12_000, repeats=5, timeout_s=3_600, settings={"epochs": 6}),
        ),
        peers=_TRAINERS,
        baselines=("keras-fit", "bare-1", "bare-2"),
        targets=_BACKEND_TARGETS,
    ),
    "train-startup": Case(
        title="Training: from the call to the first step",
        about=f"Seconds until the end of the first step; shut-down is from the last step to the return. "
        f"{_ABOUT_TRAINERS}",
        target="benchmarks.cases.training:startup",
        unit="s",
        better="lower",
        input="stft-shards",
        sizes=sizes(
            Size(36, repeats=1, timeout_s=240),
            Size(90),
            Size(90, repeats=5),
        ),
        peers=_TRAINERS,
        baselines=("keras-fit", "bare-1", "bare-2"),
    ),
    "curve-by-workers": Case(
        title="Accuracy with one worker and with two",
        about="`dscnn` on waveform shards, global batch size 64; validation accuracy and loss are means over the last quarter "
        "of the epochs. Each repeat has its own seed: the brackets are the spread of the seeds. Every worker normalises its "
        "own part of a batch (BatchNorm), so the values differ as those of seeds do.",
        target="benchmarks.cases.accuracy:by_workers",
        unit="accuracy",
        input="waveform-shards",
        sizes=sizes(
            Size(36, repeats=1, timeout_s=240, settings={"epochs": 1}),
            Size(1_200, timeout_s=1_800, settings={"epochs": 24}),
            Size(6_000, repeats=5, timeout_s=7_200, settings={"epochs": 48}),
        ),
        peers={name: _TRAINERS[name] for name in ("local-1", "tfos-2", "ray-2")},
        seeded=True,
    ),
    "accuracy": Case(
        title="Accuracy of the networks",
        about="Accuracy on speakers that are not in the training clips, with the recipe of each network. Every repeat has its "
        "own seed. The table is in docs/models.md.",
        target="benchmarks.cases.accuracy:measure",
        unit="accuracy",
        input="waveform-shards",
        sizes=sizes(
            Size(36, repeats=1, timeout_s=240, settings={"epochs": 1}),
            Size(0, timeout_s=86_400),  # the whole of Speech Commands on two cores: hours for each network
            Size(0, repeats=5, timeout_s=86_400),
        ),
        peers={
            "cnn-report": _network("stft", "cnn", recipe="report", shards="stft"),
            "cnn-stft": _network("stft", "cnn", shards="stft"),
            "cnn-waveform": _network("stft", "cnn"),
            "dscnn": _network("logmel", "dscnn"),
            "dscnn-causal": _network("logmel", "dscnn", causal=True),
            "dscnn-1.5": _network("logmel", "dscnn", width=1.5),
            "bcresnet-2": _network("logmel", "bcresnet", width=2.0),
            "bcresnet": _network("logmel", "bcresnet"),
        },
        seeded=True,
    ),
    "finetune": Case(
        title="Words without recordings: what ten recordings of each add",
        about="Accuracy on real clips of speakers that are not in training: of a network trained on synthetic voices only, of "
        "the same network fine-tuned on ten recordings of each word, and of one trained on these recordings only. Every "
        "repeat has its own seed, voices and recordings. The table is in docs/models.md.",
        target="benchmarks.cases.fine_tuning:measure",
        unit="accuracy",
        input="waveform-shards",
        sizes=sizes(
            Size(
                36,
                repeats=1,
                timeout_s=240,
                settings=_fine_tuning(2, 1, {"synthetic": 1, "fine-tuned": 1, "recorded": 1}),
            ),
            Size(0, repeats=2, timeout_s=7_200, settings=_fine_tuning(200, 10, {"synthetic": 15})),
            Size(0, repeats=5, timeout_s=86_400, settings=_fine_tuning(1_000, 10, {})),
        ),
        peers={
            "dscnn": Peer(
                {"network": {"features": "logmel", "model": "dscnn", "width": None}}, ("tensorflow", "tf_keras")
            )
        },
        seeded=True,
    ),
    "handoff": Case(
        title="From clips to a trained network, with and without shards on disk",
        about="Total seconds with two workers and (1025, 50) spectrograms; start-up is the time to the first step. `shards-*` "
        "is `preprocess` (engine spark or raydp) and then `train`; `run-*` is `run`, in which Spark feeds the workers. The "
        "loss curves are the same. Peak memory is that of all processes, without the records that `run` keeps in memory "
        "files: at most 1 GiB per worker.",
        target="benchmarks.cases.handoff:measure",
        unit="s",
        better="lower",
        sizes=sizes(
            Size(60, repeats=1, timeout_s=400, settings={"epochs": 1}),
            Size(1_700, timeout_s=1_200, settings={"epochs": 2}),
            Size(6_000, repeats=3, timeout_s=3_600, settings={"epochs": 2}),
        ),
        peers={
            "shards-tfos": _hand_off("tfos", "spark"),
            "run-tfos": _hand_off("tfos"),
            "shards-ray": _hand_off("ray", "raydp"),
            "run-ray": _hand_off("ray"),
        },
        baselines=("shards-tfos", "shards-ray"),
    ),
}
