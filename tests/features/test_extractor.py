"""Spectrograms: both kernels equal librosa within a small fraction of a decibel on any input; wrong input is an error."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridspeech.audio.decode import read_clip
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError, ConfigError
from hybridspeech.features.extractor import FeatureExtractor, spectrogram

STFT, LOGMEL = FeatureConfig(), FeatureConfig(kind="logmel")
CAUSAL = FeatureConfig(kind="logmel", top_db=None, causal=True)
MAX_ERROR_DB = 1e-4  # documented: 2e-3
NUM_SAMPLES = 16_000
TIMES = np.arange(NUM_SAMPLES) / NUM_SAMPLES


def random_wave(scale: float = 0.1, seed: int = 0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal(NUM_SAMPLES)).astype(np.float32)


def impulse(at: int, height: float = 1.0) -> np.ndarray:
    wave = np.zeros(NUM_SAMPLES)
    wave[at] = height
    return wave


WAVES = {
    "noise": random_wave(),
    "faint noise": random_wave(1e-7),
    "denormal noise": random_wave(1e-41),
    "enormous noise": random_wave(1e10),
    "silence": np.zeros(NUM_SAMPLES),
    "full-scale clipping": np.sign(random_wave()),
    "direct current": np.ones(NUM_SAMPLES),
    "a step": np.repeat([0.0, 1.0], NUM_SAMPLES // 2),
    "first sample": impulse(0),
    "an impulse": impulse(5_000, 1e-3),
    "last sample": impulse(NUM_SAMPLES - 1),
    "tone on a bin": np.sin(2 * np.pi * 1_000 * TIMES),
    "tone between bins": np.sin(2 * np.pi * 1_003.90625 * TIMES),
    "tone near Nyquist": np.sin(2 * np.pi * 7_999 * TIMES),
    "Nyquist": np.resize([1.0, -1.0], NUM_SAMPLES),
    "square": np.sign(np.sin(2 * np.pi * 100 * TIMES)),
    "chirp": np.sin(2 * np.pi * (100 + 3_500 * TIMES) * TIMES),
    "tone 80 dB above noise": np.sin(2 * np.pi * 440 * TIMES) + random_wave(1e-4),
}


@functools.cache
def extractor_of(config: FeatureConfig) -> FeatureExtractor:
    return FeatureExtractor(config)


def transformed(wave: np.ndarray, config: FeatureConfig) -> np.ndarray:
    return extractor_of(config)(wave)


def assert_equals_librosa(wave: np.ndarray, config: FeatureConfig) -> None:
    wave = wave.astype(np.float32)
    expected = transformed(wave, replace(config, kernel="reference"))
    np.testing.assert_allclose(transformed(wave, config), expected, rtol=0, atol=MAX_ERROR_DB)


def test_the_reference_is_the_published_formula() -> None:
    wave = random_wave()
    expected = librosa.amplitude_to_db(abs(librosa.stft(wave.astype(np.float64), n_fft=2048, hop_length=321)))
    result = transformed(wave, replace(STFT, kernel="reference"))
    np.testing.assert_array_equal(result, expected.astype(np.float32))


@pytest.mark.parametrize("config", [STFT, LOGMEL, replace(STFT, top_db=None), replace(LOGMEL, top_db=120.0), CAUSAL])
@pytest.mark.parametrize("name", WAVES)
def test_the_fast_kernel_equals_librosa(name: str, config: FeatureConfig) -> None:
    assert_equals_librosa(WAVES[name], config)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_fft", "hop_length", "clip_duration_ms"),
    [
        (256, 100, 30),
        (4096, 999, 1000),
        (400, 160, 1000),
        (30, 7, 100),
        (1000, 1000, 1000),
        (16_384, 8_000, 1000),
        (65_536, 3, 1),
        (22, 22, 50),
    ],
)
def test_any_even_length_equals_librosa(n_fft: int, hop_length: int, clip_duration_ms: int) -> None:
    config = FeatureConfig(n_fft=n_fft, hop_length=hop_length, clip_duration_ms=clip_duration_ms)
    is_longer = n_fft > config.num_samples
    with pytest.warns(UserWarning, match=f"n_fft={n_fft} is too large") if is_longer else nullcontext():  # by librosa
        assert_equals_librosa(random_wave()[: config.num_samples], config)


@settings(max_examples=60, deadline=None)
@given(
    tones=st.lists(st.tuples(st.floats(0, 8_000), st.floats(-120, 0), st.floats(0, 6.3)), max_size=4),
    noise_db=st.floats(-200, 0),
    span=st.tuples(st.integers(0, NUM_SAMPLES), st.integers(0, NUM_SAMPLES)),
    config=st.sampled_from([STFT, LOGMEL]),
)
def test_any_sum_of_tones_and_noise_equals_librosa(
    tones: list[tuple[float, float, float]], noise_db: float, span: tuple[int, int], config: FeatureConfig
) -> None:
    wave = random_wave(10 ** (noise_db / 20)).astype(np.float64)
    for frequency_hz, level_db, phase in tones:
        tone = 10 ** (level_db / 20) * np.sin(2 * np.pi * frequency_hz * TIMES + phase)
        wave[min(span) : max(span)] += tone[min(span) : max(span)]
    assert_equals_librosa(np.clip(wave, -1, 1), config)


def test_real_clips_equal_librosa(speech_commands: Path) -> None:
    for path in sorted(speech_commands.glob("[a-z]*/*.wav"))[::10]:
        assert_equals_librosa(read_clip(path, STFT), STFT)


def test_a_causal_frame_ends_with_its_hop() -> None:
    """The first 50 frames depend on the first 8,000 samples, and on nothing that follows."""
    wave = random_wave()
    half = np.where(np.arange(NUM_SAMPLES) < 8_000, wave, 0)
    frames, of_half = spectrogram(wave, CAUSAL).copy(), spectrogram(half, CAUSAL)
    assert frames.shape == (64, 100)
    np.testing.assert_array_equal(frames[:, :50], of_half[:, :50])
    assert (np.abs(frames[:, 50] - of_half[:, 50]) > 0.1).any()


def test_silence_is_at_the_floor() -> None:
    np.testing.assert_allclose(transformed(np.zeros(NUM_SAMPLES, np.float32), STFT), -100, atol=1e-4)


@pytest.mark.parametrize("kernel", ["fast", "reference"])
@pytest.mark.parametrize("kind", ["stft", "logmel"])
def test_out_is_filled_and_returned(kind: str, kernel: str) -> None:
    config = FeatureConfig(kind=kind, kernel=kernel)
    extractor, wave = FeatureExtractor(config), random_wave()
    out = np.full(config.shape, np.nan, np.float32)
    assert extractor(wave, out=out) is out
    np.testing.assert_array_equal(out, extractor(wave))
    assert (out.shape, out.dtype) == (config.shape, np.float32)


def test_a_clip_does_not_change_the_next_result() -> None:
    extractor, wave = FeatureExtractor(STFT), random_wave()
    first = extractor(wave)
    extractor(WAVES["enormous noise"])
    np.testing.assert_array_equal(extractor(wave), first)


def test_float64_and_strided_waveforms_are_accepted() -> None:
    wave = random_wave()
    np.testing.assert_array_equal(transformed(wave.astype(np.float64), STFT), transformed(wave, STFT))
    np.testing.assert_array_equal(transformed(np.repeat(wave, 2)[::2], STFT), transformed(wave, STFT))


def test_threads_do_not_share_buffers() -> None:
    waves = [random_wave(seed=seed) for seed in range(4)]
    expected = [FeatureExtractor(STFT)(wave) for wave in waves]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            if not np.array_equal(spectrogram(waves[number], STFT), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not wrong


@pytest.mark.parametrize(
    ("wave", "error", "message"),
    [
        (np.zeros(0, np.float32), AudioError, "empty: 0 samples"),
        (np.full(NUM_SAMPLES, np.nan), AudioError, "not-finite"),
        (impulse(9, -np.inf), AudioError, "not-finite"),
        (impulse(9, 1e300), AudioError, "not-finite"),
        (impulse(9, -1e13), AudioError, "not-finite: the largest sample is"),
        (np.zeros((2, NUM_SAMPLES), np.float32), ConfigError, "expected one dimension"),
        (np.zeros(NUM_SAMPLES - 1, np.float32), ConfigError, "15999 samples; expected 16000"),
        (np.zeros(NUM_SAMPLES, np.int16), ConfigError, "divide int16 by 32768"),
        ([0.0] * NUM_SAMPLES, ConfigError, "wave is list"),
    ],
)
@pytest.mark.parametrize("kernel", ["fast", "reference"])
def test_wrong_input_is_named(wave: np.ndarray, error: type[Exception], message: str, kernel: str) -> None:
    with pytest.raises(error, match=message):
        FeatureExtractor(FeatureConfig(kernel=kernel))(wave)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "out",
    [np.zeros((50, 1025), np.float32), np.zeros((1025, 50)), np.zeros((50, 1025), np.float32).T],
    ids=["shape", "dtype", "order"],
)
def test_a_wrong_out_is_named(out: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="expected writable float32"):
        FeatureExtractor(STFT)(random_wave(), out=out)


def test_an_odd_n_fft_is_refused() -> None:
    with pytest.raises(ConfigError, match="n_fft is 2047; expected an even number"):
        FeatureExtractor(FeatureConfig(n_fft=2047))


@pytest.mark.slow
def test_the_fast_kernel_works_without_librosa_and_without_a_cache_folder(tmp_path: Path) -> None:
    code = (
        "import sys, numpy; from hybridspeech.config import FeatureConfig; "
        "from hybridspeech.features.extractor import spectrogram;"
        "print(spectrogram(numpy.zeros(16000), FeatureConfig()).max(), 'librosa' in sys.modules)"
    )
    read_only = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "HOME": str(tmp_path / "no home")}
    result = subprocess.run(
        [sys.executable, "-c", code], env=read_only, capture_output=True, text=True, timeout=120, check=True
    )
    assert result.stdout.split() == ["-100.0", "False"]
