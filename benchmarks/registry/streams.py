"""Continuous sound. Imports none of the peers."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.spec import Case, Peer, Size, sizes


def _stream(network: str, format: str) -> Peer:
    return Peer({"network": network, "format": format}, ("tensorflow", "tf_keras"))


CASES: Mapping[str, Case] = {
    "stream": Case(
        title="A second of a stream",
        about="CPU time per second of sound, in one thread, with a result after each step: 80 ms for `dscnn`, 20 ms for "
        "`bcresnet`. `streaming` formats compute what is new; the others compute the last second again. The networks are "
        "causal and untrained.",
        target="benchmarks.cases.stream:measure",
        unit="ms",
        better="lower",
        sizes=sizes(
            Size(16, repeats=1, timeout_s=120, settings={"seconds": 1.0}),
            Size(60, repeats=3, settings={"seconds": 20.0}),
            Size(600, repeats=5, settings={"seconds": 300.0}),
        ),
        peers={
            f"{network}-{format}": _stream(network, format)
            for network in ("dscnn", "bcresnet")
            for format in ("tflite", "tflite-streaming", "savedmodel", "savedmodel-streaming")
        },
        baselines=("dscnn-tflite", "bcresnet-tflite"),
        single_threaded=True,
    ),
    "listen": Case(
        title="Words in continuous sound: sound that one core takes",
        about="Seconds of sound per second of CPU time, in one thread, with a window every 100 ms and the decoder of `listen`: "
        "a WAV file (`file`), and live sound in chunks of 20 ms, in which each window is classified as soon as it is complete. "
        "The networks are untrained.",
        target="benchmarks.cases.listen:measure",
        unit="s/s",
        sizes=sizes(
            Size(16, repeats=1, timeout_s=120, settings={"seconds": 5.0}),
            Size(60, settings={"seconds": 120.0}),
            Size(600, repeats=5, settings={"seconds": 1_800.0}),
        ),
        peers={
            f"{network}-{name}": Peer({"network": network, "is_live": is_live}, ("tensorflow", "tf_keras"))
            for network in ("dscnn", "bcresnet")
            for name, is_live in (("file", False), ("live", True))
        },
        baselines=("dscnn-file", "bcresnet-file"),
        single_threaded=True,
    ),
}
