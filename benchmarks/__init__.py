"""The benchmark suite: measures every stage next to common alternatives, on the same clips, in one run.

    __main__.py    list | run | report | compare
    registry/      the cases, their peers and what each promises, as data
    spec.py        the records that define a case
    records.py     results of a measurement, a case and a run, as JSON
    inputs.py      clips (synthesized, or from a folder) and shards for the cases
    runner.py      alternates the peers (A B A B); each repeat runs in a fresh process
    worker.py      the fresh process: reads a job, writes its outcome
    machine.py     CPU, memory, versions, revision
    report.py      results -> docs/benchmarks.md
    models.py      results of the case `accuracy` -> docs/models.md
    plot.py        a case -> PNG
    compare.py     two runs -> peers that became slower
    reference.py   the expected spectrogram: librosa in float64
    cases/         what is timed and how its output is checked; one module per case
    peers/         implementations that are timed: this package, the 2020 report's pipeline, and alternatives

``hybridspeech`` never imports this package.
"""
