"""Workers started by hand: one process per rank with TF_CONFIG and no supervision. The baseline for a backend.

``python -m benchmarks.peers.bare_mwms PLAN.json RANK`` is one rank.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from hybridspeech.backends.base import Worker, clear_status, collect, execute
from hybridspeech.backends.launch import worker_environment
from hybridspeech.clusters.addresses import LOOPBACK
from hybridspeech.records import from_json, to_json
from hybridspeech.training.loop import run_worker
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory


class BareBackend:
    """A TrainingBackend without placement, supervision and recovery."""

    name: ClassVar[str] = "bare"

    def run(self, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
        """Run the training loop once per rank; `worker` must be `run_worker`."""
        assert worker is run_worker
        clear_status(plan)
        plan_path = RunDirectory(plan.run).workers_dir / "plan.json"
        plan_path.write_text(json.dumps(to_json(plan)), encoding="utf-8")
        ranks = range(plan.cluster.num_workers)
        addresses = [f"{LOOPBACK}:{port}" for port in free_ports(len(ranks))]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", __name__, str(plan_path), str(rank)], env=_environment(plan, addresses, rank)
            )
            for rank in ranks
        ]
        for process in processes:
            process.wait()
        return collect(plan)


def _environment(plan: TrainPlan, addresses: list[str], rank: int) -> dict[str, str]:
    task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
    joined = {"TF_CONFIG": json.dumps(task)} if len(addresses) > 1 else {}
    return {**os.environ, **worker_environment(plan.cluster, joined=False), **joined}


def free_ports(count: int) -> list[int]:
    """Return free ports of the loopback interface."""
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main(plan_path: Path, rank: int) -> None:
    """Run one rank."""
    plan = from_json(TrainPlan, json.loads(plan_path.read_text(encoding="utf-8")))
    execute(run_worker, plan, rank)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
