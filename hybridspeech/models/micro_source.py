"""A TFLite model as C++ source for a microcontroller: a header and an array. Knows nothing of how the model was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_BYTES_PER_LINE = 16
_HEADER = """\
// Written by `hybridspeech export --format tflite-micro`. Input: int8 [1][{bins}][{frames}][1], decibels / kInputScale +
// kInputZeroPoint; deployment.json has the settings of the features.
#ifndef HYBRIDSPEECH_MODEL_H_
#define HYBRIDSPEECH_MODEL_H_

namespace hybridspeech {{

extern const unsigned char kModel[];
constexpr int kModelSize = {size};
constexpr int kArenaSize = {arena};  // of the tensor arena, measured on a 64-bit host
constexpr int kSampleRateHz = {rate};
constexpr int kNumBins = {bins};
constexpr int kNumFrames = {frames};
constexpr float kInputScale = {input_scale!r}f;
constexpr int kInputZeroPoint = {input_zero_point};
constexpr float kOutputScale = {output_scale!r}f;
constexpr int kOutputZeroPoint = {output_zero_point};
constexpr int kNumLabels = {num_labels};
constexpr const char* kLabels[kNumLabels] = {{{labels}}};
constexpr int kNumOperators = {num_operators};

// resolver: a tflite::MicroMutableOpResolver<kNumOperators>
template <typename Resolver>
void AddOperators(Resolver& resolver) {{
{additions}
}}

}}  // namespace hybridspeech

#endif  // HYBRIDSPEECH_MODEL_H_
"""


def write_c_array(
    folder: Path, content: bytes, labels: Sequence[str], settings: Mapping[str, Any], methods: Sequence[str]
) -> None:
    """Write `model.h` and `model.cc`.

    Parameters
    ----------
    settings : as in deployment.json
    methods : methods of the operator resolver that add the operators of the model
    """
    _, bins, frames, _ = settings["input_shape"]
    header = _HEADER.format(
        size=len(content),
        arena=settings["arena_bytes"],
        rate=settings["features"]["sample_rate_hz"],
        bins=bins,
        frames=frames,
        num_labels=len(labels),
        labels=", ".join(json.dumps(label, ensure_ascii=True) for label in labels),
        num_operators=len(methods),
        additions="\n".join(f"  resolver.{method}();" for method in methods),
        **{name: settings[name] for name in ("input_scale", "input_zero_point", "output_scale", "output_zero_point")},
    )
    lines = [
        "  " + ", ".join(f"0x{byte:02x}" for byte in content[first : first + _BYTES_PER_LINE]) + ","
        for first in range(0, len(content), _BYTES_PER_LINE)
    ]
    source = [
        '#include "model.h"\n\nnamespace hybridspeech {\n\nalignas(16) extern const unsigned char kModel[kModelSize] = {',
        *lines,
        "};\n\n}  // namespace hybridspeech",
    ]
    (folder / "model.h").write_text(header, encoding="utf-8")
    (folder / "model.cc").write_text("\n".join(source) + "\n", encoding="utf-8")
