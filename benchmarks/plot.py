"""Plots a case as a PNG file with one bar per peer, on white for light and dark pages."""

from __future__ import annotations

from pathlib import Path

from benchmarks.records import CaseResult, number

OURS, THEIRS, INK = "#1f6fb2", "#9aa5b1", "#22272e"
_OURS = ("hybridspeech", "local", "spark", "raydp", "tfos", "ray-1", "ray-2")


def plot_case(case: CaseResult, title: str, path: Path) -> bool:
    """Draw the medians of the peers that count, with error bars from minimum to maximum; return False if there are none."""
    peers = [peer for peer in case.peers if peer.counts][::-1]
    if not peers:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.1 + 0.38 * len(peers)), layout="constrained", facecolor="white", dpi=150)
    axes = figure.subplots()
    medians = [peer.median for peer in peers]
    spread = [[p.median - min(p.values) for p in peers], [max(p.values) - p.median for p in peers]]
    colours = [OURS if peer.name.startswith(_OURS) else THEIRS for peer in peers]
    axes.barh([peer.name for peer in peers], medians, xerr=spread, color=colours, ecolor=INK, capsize=2)
    for place, peer in enumerate(peers):
        axes.text(max(peer.values), place, f"  {number(peer.median)}", va="center", color=INK, fontsize=9)
    axes.set_xlim(0, 1.15 * max(max(peer.values) for peer in peers))
    better = "more is better" if case.better == "higher" else "less is better"
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.set_xlabel(f"{case.unit} ({better})", color=INK)
    axes.tick_params(colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")
    return True
