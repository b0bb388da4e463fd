"""The thresholds of the audit. They were chosen on the shared clips with faults of seed 100, and then fixed.

Knows nothing of how the quantities are measured.
"""

from __future__ import annotations

# Duplicates
HASH_TABLES, HASH_BITS = 16, (16, 24)
"""Number of hash tables, and the fewest and most bits of a code. Re-encoded clips had a cosine of 0.98: a bit agrees with
probability 0.94, a code of 24 bits with 0.2, so that one of 16 tables agrees with 0.97."""
BUCKET_NEIGHBOURS = 8
"""Clips of a bucket that each clip is compared with; bounds the work in a bucket of many alike clips."""
MIN_COSINE = 0.8
"""Least cosine of two descriptors before the sounds are compared. Duplicates: 0.92 and more for 99 %."""
MIN_CORRELATION = 0.95
"""Least normalised cross-correlation of a near duplicate. With another gain, shift or codec: at least 0.99; other clips of the
same speaker and word: at most 0.87 among the candidates."""
MAX_SHIFT_S, MIN_OVERLAP = 0.2, 0.5
"""Largest time shift, in seconds, and the share of the energy that must remain within both clips."""
FINER = 4
"""Time shifts per sample of the sketch: half a sample at 4 kHz lowers the correlation to 0.7 at 1 kHz."""

# Sound
SILENT_DB = -50.0
"""Level of the loudest 20 ms, in dBFS. 99 % of the shared clips are above -40."""
MIN_CONTRAST_DB = 3.0
"""Level of the loudest 20 ms over the quietest tenth: white noise has 1.5 to 2.5. 99 % of the shared clips have 10 or more, and
some with 4 to 6 are words in loud noise."""
MIN_FLAT_SAMPLES = 16
"""Samples in flat tops: 1 ms of a clip. 99.5 % of the shared clips have fewer."""
CUT_BELOW_LOUDEST_DB, CUT_OVER_FLOOR_DB = 10.0, 15.0
"""The first or last 20 ms are less than this below the loudest, and more than this over the background."""
TELEPHONE_HIGH_DB, TELEPHONE_DROP_DB = -50.0, 25.0
"""Power above 4 kHz relative to that below, and the fall across 4 kHz. Speech at 16 kHz that was resampled from 8 kHz: 95 %."""
ROUNDING_DB = 6.0
"""Power above 4 kHz over that of rounding to 16 bits: less means that there is nothing but rounding. Catches quiet clips."""

# Labels
NUM_FOLDS = 3
EPOCHS = 15
"""Epochs of each fold."""
USUAL_SHARE = 0.5
"""Share of the median doubt of a label that is no doubt of the single clip."""
SMALLEST_PROBABILITY = 1e-6
MIN_DOUBT = 2.5
"""Least doubt: the preferred label is 12 times as probable as the given one. With 50 wrong labels among 1,720 clips (seed 100),
2.0 found 44 of them among 121 clips, 2.5 found 41 among 85, 3.0 found 37 among 62."""
