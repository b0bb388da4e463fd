"""The Markdown document of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.image
import pytest
from support.benchmark_results import peer, results

from benchmarks.records import PeerResult, number
from benchmarks.report import write_report

PEERS = [
    peer("original", 100, 90, 110, facts={"error_db": 0.0}),
    peer("hybridspeech-fast", 600, facts={"error_db": 0.0018}),
    peer("scipy", 700, problem="3.1 dB from the reference"),
    PeerResult(name="torchaudio", skipped="torchaudio not installed"),
]


@pytest.fixture
def document(tmp_path: Path) -> Path:
    write_report([results("stft-kernel", PEERS)], tmp_path / "docs" / "benchmarks.md")
    return tmp_path / "docs" / "benchmarks.md"


def test_a_row_has_median_range_ratio_start_memory_and_facts(document: Path) -> None:
    text = document.read_text()
    assert "| peer | clips/s | x original | start-up | memory | error |" in text
    assert "| original | 100 (90.0 to 110) | 1.00 | 1.5 s | 250 MB | 0 dB |" in text
    assert "| hybridspeech-fast | 600 (600 to 600) | 6.00 | 1.5 s | 250 MB | 0.0018 dB |" in text


def test_a_ratio_is_the_median_over_repeats(tmp_path: Path) -> None:
    peers = [peer("original", 100, 200, 300), peer("hybridspeech-fast", 220, 400, 610)]  # medians: 2.00
    write_report([results("stft-kernel", [*peers, peer("scipy", 300, 100, 300)])], tmp_path / "benchmarks.md")
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| hybridspeech-fast | 400 (220 to 610) | 2.03 |" in text
    assert "| scipy | 300 (100 to 300) | 1.00 |" in text


def test_a_wrong_output_has_no_time(document: Path) -> None:
    text = document.read_text()
    assert "| scipy | **failed**: 3.1 dB from the reference |" in text
    assert "700" not in text


def test_a_peer_that_is_not_installed_is_named(document: Path) -> None:
    assert "| torchaudio | skipped: torchaudio not installed |" in document.read_text()


def test_a_target_is_checked(document: Path) -> None:
    assert "`hybridspeech-fast` at least 5 x `original`: 6.00 x, reached." in document.read_text()
    write_report([results("stft-kernel", [peer("original", 100), peer("hybridspeech-fast", 300)])], document)
    assert "3.00 x, **not reached**." in document.read_text()


def test_a_missed_target_is_shown_with_its_upper_limit(tmp_path: Path) -> None:
    peers = [peer("original", 100), peer("bare-loop", 2400), peer("spark-all-cores", 2200)]
    write_report([results("stft-stage", peers)], tmp_path / "benchmarks.md")
    text = (tmp_path / "benchmarks.md").read_text()
    assert "30 x `original`: 22.00 x, **not reached** (`bare-loop`, an upper limit, is 24.00 x)." in text
    assert "0.9 x `bare-loop`: 0.92 x, reached." in text


def test_a_target_may_compare_a_fact_of_which_less_is_better(tmp_path: Path) -> None:
    peers = [
        peer("torch-loader", 1000, 1000, facts={"clip_cpu_ms": 1.2}),
        peer("spark-all-cores", 1000, 1000, facts={"clip_cpu_ms": 0.6}),
    ]
    write_report([results("stft-stage", peers)], tmp_path / "benchmarks.md")
    text = (tmp_path / "benchmarks.md").read_text()
    assert "1.6 x `torch-loader`: 1.00 x, **not reached**" in text
    assert "1.6 x `torch-loader` in CPU time: 2.00 x, reached." in text
    assert "| 0.60 ms |" in text


def test_machine_and_versions_are_shown(document: Path) -> None:
    text = document.read_text()
    assert "AMD EPYC, 2 cores" in text
    assert "revision 0123456789ab" in text
    assert "numpy 2.4.6" in text


@pytest.mark.parametrize("step", [1, -1])
def test_the_latest_run_of_a_case_is_shown(step: int, tmp_path: Path) -> None:
    first = results("read", [peer("tf-data", 123)])
    last = replace(results("read", [peer("tf-data", 456)]), date="2026-01-03T00:00:00+00:00")
    write_report([first, last][::step], tmp_path / "benchmarks.md")
    text = (tmp_path / "benchmarks.md").read_text()
    assert "456" in text
    assert "123" not in text.replace(first.machine["revision"], "")
    assert text.count("-k read") == 1


@pytest.mark.parametrize("step", [1, -1])
def test_another_size_of_a_case_follows_under_its_name(step: int, tmp_path: Path) -> None:
    runs = [results("read", [peer("tf-data", 111)]), results("read", [peer("tf-data", 222)], size="full")]
    write_report(runs[::step], tmp_path / "benchmarks.md")
    text = (tmp_path / "benchmarks.md").read_text()
    assert text.index("## TFRecord files to spectrograms\n") < text.index(
        "## TFRecord files to spectrograms (size full)"
    )
    assert text.index("111") < text.index("222")
    assert "python -m benchmarks run --size full -k read\n" in text
    assert (tmp_path / "img" / "benchmark-read-full.png").exists()


def test_a_plot_has_an_opaque_light_ground(document: Path) -> None:
    assert "(img/benchmark-stft-kernel.png)" in document.read_text()
    image = matplotlib.image.imread(document.parent / "img" / "benchmark-stft-kernel.png")
    assert image[0, 0].tolist() == [1.0, 1.0, 1.0, 1.0]
    assert image.shape[2] == 3 or image[:, :, 3].min() == 1.0


def test_numbers_keep_three_digits() -> None:
    assert [number(value) for value in (12345.6, 100, 99.94, 9.876, 0.9234)] == [
        "12,346",
        "100",
        "99.9",
        "9.88",
        "0.923",
    ]
