"""The benchmark suite: every claim of speed, measured side by side, on the same clips, in one run.

    __main__.py    list | run | report | compare
    registry.py    the cases, their peers and what each promises, as data
    spec.py        what a case is made of
    records.py     what a measurement, a case and a whole run leave behind, as JSON
    inputs.py      clips (synthesised by seed, or from a folder) and shards for the cases
    runner.py      peers in turn (A B A B), each repeat in a fresh process, memory watched from outside
    worker.py      the fresh process: one job in, one outcome out
    machine.py     what was measured on: CPU, versions, revision
    report.py      records -> Markdown table
    plot.py        a case -> PNG
    compare.py     two runs -> what got slower
    reference.py   what is right: librosa in float64
    cases/         what is timed and how its output is checked; one module a case
    peers/         who is timed: ours, the original, and what people use today

``hybridspeech`` knows nothing of this package.
"""
