"""The options of the settings records: panel, help text and name of each. A field that is not here is not an option."""

from __future__ import annotations

from hybridspeech.cli.options import (
    AUGMENTATION,
    CLUSTER,
    DETECTION,
    FAULTS,
    FEATURES,
    INPUT,
    MODEL,
    OPTIMIZATION,
    OUTPUT,
    Setting,
    Settings,
)
from hybridspeech.config import AugmentConfig, ClusterConfig, EngineConfig, FeatureConfig
from hybridspeech.detection.config import DetectionConfig
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.models.config import ModelConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.training.config import FitConfig
from hybridspeech.training.recipes import COMPACT, NEGATIVES_PERCENTAGE, RECIPES, RIR_FREQUENCY


def _by_recipe(name: str) -> str:
    """Return the recipes' values of a field, e.g. "cnn 8, else 60"."""

    def value(fit: FitConfig) -> object:
        return getattr(fit, name) if hasattr(fit, name) else getattr(fit.augment, name)

    own = [f"{model} {value(fit)}" for model, fit in RECIPES.items() if value(fit) != value(COMPACT)]
    return ", ".join([*own, f"else {value(COMPACT)}"]) if own else str(value(COMPACT))


_RAY_ADDRESS = Setting("Address of a Ray cluster.", CLUSTER, default="a new Ray on this machine")
_CONF = Setting("Spark setting; may be repeated.", CLUSTER)
_ENVIRONMENT = Setting(
    "Packed environment for the nodes: an archive that `pack` wrote, as path or URL.",
    CLUSTER,
    default="the packages that the nodes have",
)
_VERBOSE = Setting("Show the logs of Spark, Ray and TensorFlow.", OUTPUT, flags=("-v", "--verbose"))

SETTINGS: Settings = {
    FeatureConfig: {
        "kind": Setting(
            "Features: STFT in dB, log-mel spectrogram, or the waveform, from which training computes features.",
            FEATURES,
            name="features",
        ),
        "n_fft": Setting("FFT size, in samples.", FEATURES, default="stft 2048, logmel 512"),
        "hop_length": Setting("Hop length, in samples.", FEATURES, default="stft 321, logmel 160"),
        "top_db": Setting("Dynamic range below the maximum of each clip, in dB.", FEATURES),
        "n_mels": Setting("Number of mel bands (logmel).", FEATURES),
        "fmin_hz": Setting("Lowest frequency of the mel bands, in Hz.", FEATURES, name="fmin"),
        "fmax_hz": Setting("Highest frequency of the mel bands, in Hz.", FEATURES, name="fmax"),
        "sample_rate_hz": Setting(
            "Sample rate, in Hz. Clips with another rate are resampled.", FEATURES, name="sample_rate"
        ),
        "clip_duration_ms": Setting(
            "Clip duration, in ms. Shorter clips are zero-padded, longer ones are cut.", FEATURES
        ),
        "kernel": Setting("Implementation: fast (float32), or reference (librosa).", FEATURES),
    },
    ManifestConfig: {
        "task": Setting(
            "Labels: all folders; 12 (the Speech Commands task: ten words, _unknown_, _silence_); or words:yes,no,...",
            INPUT,
        ),
        "split": Setting(
            "Source of the splits: lists (testing_list.txt, validation_list.txt), hash of the speaker, column of a "
            "table, none, or auto (the first one available).",
            INPUT,
        ),
        "validation_percentage": Setting("Share of the speakers for validation (split hash), in %.", INPUT),
        "testing_percentage": Setting("Share of the speakers for testing (split hash), in %.", INPUT),
        "speaker_pattern": Setting(
            "Speaker in the path of a clip: speech-commands (before _nohash_), prefix (of the file name, before the first _ "
            "or -), parent (folder below the word), or a regular expression with a group.",
            INPUT,
        ),
        "source_format": Setting(
            "Form of SOURCE: words (a folder per word), speakers (SPEAKER/WORD/clip), table, nemo, common-voice, mswc "
            "(Multilingual Spoken Words), audio-folder (Hugging Face), or auto: recognised by names of files and columns.",
            INPUT,
            metavar="FORMAT",
        ),
        "columns": Setting(
            "Columns of a table, where they have other names: path, label, speaker, split, start, duration, end (in s).",
            INPUT,
            metavar="path=NAME,label=NAME,...",
        ),
        "on_long": Setting(
            "Recordings longer than the clip duration: cut their end, split them into consecutive clips, or reject them.",
            INPUT,
        ),
        "allow_speaker_overlap": Setting("Allow a speaker in more than one split.", INPUT),
        "unknown_percentage": Setting("Number of _unknown_ clips, in % of the clips of the words.", INPUT),
        "silence_percentage": Setting("Number of _silence_ clips, in % of the clips of the words.", INPUT),
    },
    ShardConfig: {
        "num_shards": Setting(
            "Number of shards per split.", OUTPUT, name="shards", default="about 64 MiB each, at least 8"
        ),
        "dtype": Setting("Number type of stored features.", OUTPUT, default="float32; waveform: int16"),
        "compression": Setting("Compression of the shards.", OUTPUT),
        "seed": Setting("Seed of the order of the clips.", INPUT),
    },
    AugmentConfig: {
        "background_volume": Setting(
            "Maximum volume of background noise, 0 to 1.", AUGMENTATION, default="0.1 if there is noise"
        ),
        "background_frequency": Setting(
            "Fraction of clips with background noise at a random volume.",
            AUGMENTATION,
            default="0.8 if there is noise",
        ),
        "snr_frequency": Setting(
            "Fraction of clips with noise at a random signal-to-noise ratio.",
            AUGMENTATION,
            default=_by_recipe("snr_frequency"),
        ),
        "snr_min_db": Setting("Lowest signal-to-noise ratio, in dB.", AUGMENTATION, default=_by_recipe("snr_min_db")),
        "snr_max_db": Setting("Highest signal-to-noise ratio, in dB.", AUGMENTATION, default=_by_recipe("snr_max_db")),
        "babble_frequency": Setting(
            "Fraction of this noise that is babble, the sum of other clips; the rest is background noise.",
            AUGMENTATION,
            default=_by_recipe("babble_frequency"),
        ),
        "rir_frequency": Setting(
            "Fraction of clips that are reverberated with a response of --rir.",
            AUGMENTATION,
            default=f"{RIR_FREQUENCY} with --rir",
        ),
        "time_shift_ms": Setting("Maximum time shift in both directions, in ms.", AUGMENTATION, default="100"),
        "gain_db": Setting("Maximum change of the level, in dB.", AUGMENTATION, default="6"),
        "speed_percent": Setting("Maximum change of the speed, in %.", AUGMENTATION, default="10"),
        "frequency_warp_percent": Setting(
            "Maximum stretch of the frequency axis of a spectrogram (VTLP), in %.",
            AUGMENTATION,
            default=_by_recipe("frequency_warp_percent"),
        ),
        "shift_frames": Setting(
            "Maximum shift of a spectrogram in both directions, in frames.",
            AUGMENTATION,
            default=_by_recipe("shift_frames"),
        ),
        "time_masks": Setting("Number of SpecAugment time masks.", AUGMENTATION, default=_by_recipe("time_masks")),
        "frequency_masks": Setting(
            "Number of SpecAugment frequency masks.", AUGMENTATION, default=_by_recipe("frequency_masks")
        ),
        "mask_fraction": Setting(
            "Maximum width of a mask, as a fraction of the spectrogram.",
            AUGMENTATION,
            default=_by_recipe("mask_fraction"),
        ),
        "mixup_alpha": Setting(
            "Alpha of mixup's Beta distribution; 0 is off.", AUGMENTATION, default=_by_recipe("mixup_alpha")
        ),
    },
    EngineConfig: {
        "master": Setting("Spark master.", CLUSTER, default="local[*]"),
        "conf": _CONF,
        "num_executors": Setting("Number of Spark executors.", CLUSTER),
        "executor_cores": Setting("Cores per executor (local: number of processes).", CLUSTER),
        "executor_memory": Setting("Memory per executor, e.g. 2g.", CLUSTER),
        "ray_address": _RAY_ADDRESS,
        "environment": _ENVIRONMENT,
        "verbose": _VERBOSE,
        "stall_timeout_s": Setting("Maximum time without progress, in seconds.", FAULTS, name="stall_timeout"),
    },
    DetectionConfig: {
        "hop_ms": Setting("Time between the starts of two windows, in ms.", DETECTION),
        "smoothing_ms": Setting(
            "The probabilities of windows that begin within this time are averaged, in ms.", DETECTION
        ),
        "lookahead_ms": Setting(
            "Time in which a later window with a higher score replaces an event, in ms.", DETECTION
        ),
        "suppression_ms": Setting("Time after an event without another event, in ms.", DETECTION),
    },
    ModelConfig: {
        "name": Setting(
            "Network: cnn, dscnn, bcresnet, or module:function of your own.",
            MODEL,
            name="model",
            default="stft cnn, logmel dscnn",
        ),
        "width": Setting("Factor of the number of channels.", MODEL, default="1"),
        "dropout": Setting("Dropout rate.", MODEL, default="cnn 0.1, bcresnet 0.1, else 0.2"),
        "standardize": Setting(
            "Shift and scale each spectrogram to mean 0 and variance 1 (clip), or do not.",
            MODEL,
            default="cnn clip, else none",
        ),
        "causal": Setting(
            "Use earlier frames only, in network and features (without top_db), for streaming exports (dscnn, bcresnet).",
            MODEL,
        ),
    },
    FitConfig: {
        "epochs": Setting("Number of epochs.", OPTIMIZATION, default=_by_recipe("epochs")),
        "batch_size": Setting("Batch size per worker.", OPTIMIZATION, default=_by_recipe("batch_size")),
        "learning_rate": Setting("Peak learning rate.", OPTIMIZATION, default=_by_recipe("learning_rate")),
        "learning_rate_batch": Setting(
            "Global batch size that the learning rate is meant for. The rate is scaled with the square root of the actual "
            "one; 0 is off.",
            OPTIMIZATION,
            default=_by_recipe("learning_rate_batch"),
        ),
        "optimizer": Setting("Optimizer.", OPTIMIZATION, default=_by_recipe("optimizer")),
        "weight_decay": Setting("Weight decay of AdamW.", OPTIMIZATION, default=_by_recipe("weight_decay")),
        "schedule": Setting("Learning rate schedule.", OPTIMIZATION, default=_by_recipe("schedule")),
        "warmup_epochs": Setting(
            "Number of warm-up epochs of the cosine schedule.", OPTIMIZATION, default=_by_recipe("warmup_epochs")
        ),
        "label_smoothing": Setting("Label smoothing.", OPTIMIZATION, default=_by_recipe("label_smoothing")),
        "class_weights": Setting("Weight the loss by the inverse frequency of the labels.", OPTIMIZATION),
        "negatives_percentage": Setting(
            "Number of windows of --negatives in each batch, besides its clips, in % of the batch size.",
            OPTIMIZATION,
            default=f"{NEGATIVES_PERCENTAGE:g} with --negatives",
        ),
        "early_stopping": Setting(
            "Stop after this many epochs without a lower validation loss, and keep the best epoch; 0 is off.",
            OPTIMIZATION,
            default="0",
        ),
        "seed": Setting("Seed of weights, order, dropout and augmentation.", OPTIMIZATION, default="0"),
        "deterministic": Setting("Use deterministic operations: same seed, same loss curve. Slower.", OPTIMIZATION),
        "shuffle_buffer": Setting("Shuffle buffer per worker, in examples.", OPTIMIZATION, default="1024"),
        "keep_checkpoints": Setting(
            "Number of last checkpoints to keep. The best epoch's is kept too.", FAULTS, default="2"
        ),
        "checkpoint_steps": Setting(
            "Steps between checkpoints within an epoch; 0: only after each epoch.", FAULTS, default="0"
        ),
    },
    ClusterConfig: {
        "num_workers": Setting("Number of training workers.", CLUSTER),
        "threads_per_worker": Setting("TensorFlow threads per worker.", CLUSTER, default="cores / workers"),
        "master": Setting("Spark master (tfos).", CLUSTER, default="a local-cluster"),
        "conf": _CONF,
        "executor_memory": Setting("Memory of an executor's JVM (tfos).", CLUSTER),
        "ray_address": _RAY_ADDRESS,
        "shard_cache": Setting("Disk space per worker for shards of an object store.", CLUSTER),
        "environment": _ENVIRONMENT,
        "placement": Setting("Hosts of the workers: as many as possible, or as few (ray).", CLUSTER),
        "max_restarts": Setting("Number of restarts from the last checkpoint after a failure.", FAULTS),
        "start_timeout_s": Setting("Maximum time until all workers run, in seconds.", FAULTS, name="start_timeout"),
        "stall_timeout_s": Setting("Maximum time without progress, in seconds.", FAULTS, name="stall_timeout"),
        "verbose": _VERBOSE,
    },
}
