"""What it costs to keep a flow on disk: writing snapshots against numpy.save, and the digits demo with and without `store`.

    python benchmarks/bench_store.py [--size N] [--snapshots M] [--repeats K] [--steps S]

Prints seconds of process CPU time (median of the repeats, all interleaved in one process, one thread). First M snapshots of N
particles in 2-D: `numpy.save` and `numpy.savez` make one file a snapshot and do nothing else; ours writes segments, checkpoints
and checksums, each file brought to the disk (fsync) before it counts. Then the demo's dual flow of S steps, every step kept.
"""

from __future__ import annotations

import os

for _variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

import measureflow as mf
from measureflow.demo import Digits, Settings, initial_states
from measureflow.recorder import Tally
from measureflow.rows import TABLES, Layout, Row
from measureflow.status import Outcome, Status
from measureflow.stepping import Control, Position
from measureflow.store import Store

Task = Callable[[Path], object]


def interleaved(tasks: dict[str, Task], repeats: int) -> dict[str, float]:
    """Return the median CPU time of each task, run in turn in folders of their own."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            with tempfile.TemporaryDirectory() as folder:
                started = time.process_time()
                task(Path(folder))
                seconds[name].append(time.process_time() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def writing(size: int, snapshots: int) -> dict[str, Task]:
    """Return the tasks that write the same snapshots."""
    rng = np.random.default_rng(0)
    laws = [mf.Particles(rng.standard_normal((size, 2))) for _ in range(min(snapshots, 16))]
    numbers = {name: np.zeros(1, dtype=np.int64 if name == "iterations" else np.float64) for name in TABLES}

    def ours(folder: Path) -> None:
        layout = Layout.of((laws[0],)).data()
        about = {"start": {}, "scheme_text": "none", "layout": layout, "single": True}
        with closing(Store(folder, about, {}, (laws[0],))) as store:
            store.begin(Position(0.0, (laws[0],), (), Control(), Tally.zero(1)), [])
            for k in range(snapshots):
                law = laws[k % len(laws)]
                position = Position(float(k), (law,), (), Control(), Tally.zero(1))
                if store.add([Row(float(k), (law,), numbers)]) or store.due():
                    store.checkpoint(position)
            store.finish(position, Outcome(Status.done, "written", float(snapshots), snapshots, 0, (), 0.0, "none"))

    def save(folder: Path) -> None:
        for k in range(snapshots):
            np.save(folder / f"{k}.npy", laws[k % len(laws)].points)

    def savez(folder: Path) -> None:
        for k in range(snapshots):
            np.savez(folder / f"{k}.npz", points=laws[k % len(laws)].points)

    return {"numpy.save": save, "numpy.savez": savez, "ours": ours}


def demo(steps: int) -> dict[str, Task]:
    """Return the demo's flow, in memory and on disk."""
    data, settings = Digits(), Settings()
    game = mf.games.GAN(data.law, critic=mf.games.NeuronCritic("tanh", dtype="float32"), penalty=mf.games.Ridge(settings.ridge))
    states = initial_states(settings)

    def solve(**options: object) -> object:
        tau = settings.horizon / settings.steps
        scheme = mf.Explicit("alternating")
        return mf.solve(game, states, steps * tau, tau, scheme=scheme, speeds=(1.0, settings.critic_speed), **options)

    solve()
    return {"in memory": lambda folder: solve(), "ours, store=": lambda folder: solve(store=folder)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=100_000, help="particles in 2-D")
    parser.add_argument("--snapshots", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=400, help="steps of the demo's flow")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.size < 1000:  # a trial of the script itself
        options.snapshots, options.steps = min(options.snapshots, 50), 4
    for title, tasks in (
        (f"{options.snapshots} snapshots of {options.size} particles in 2-D", writing(options.size, options.snapshots)),
        (f"digits demo, {options.steps} steps, every step kept", demo(options.steps)),
    ):
        print(f"{title}: CPU s, ratio")
        seconds = interleaved(tasks, options.repeats)
        first = next(iter(seconds.values()))
        for name, value in seconds.items():
            print(f"  {name:<14}{value:8.3f}{value / first:8.2f}")


if __name__ == "__main__":
    main()
