"""Mode coverage: seconds until every mode is covered, dual flow of a law of neurons against single flows, one after another.

    python benchmarks/bench_modes.py [--size PARTICLES] [--repeats SEEDS]

Prints processor seconds on one thread, and ratios to the flow of the energy distance.
"""

from __future__ import annotations

import os

for _variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse

import numpy as np

from measureflow.modes import METHODS, grid, ring

NAMES = ("neurons", "neurons-chi-squared", "sliced", "transport", "energy-distance")


def main() -> None:
    """Print one line for each target and method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    short = {"steps": 20} if options.size < 1000 else {}
    for name in NAMES:
        METHODS[name].flow(ring(2, std=0.1), 0, particles=20, steps=2)
    for target in (ring(), grid()):
        peer = np.nan
        for name in reversed(NAMES):
            runs = [METHODS[name].flow(target, seed, particles=options.size, **short) for seed in range(options.repeats)]
            seconds = float(np.median([run.cpu_seconds for run in runs]))
            first = [run.cpu_to_first for run in runs if run.cpu_to_first is not None]
            peer = seconds if name == "energy-distance" else peer
            quality = 100.0 * float(np.mean([run.average.high_quality for run in runs]))
            fair = float(np.mean([run.final.fair_modes for run in runs]))
            reached = f"{np.median(first):.2f} s ({len(first)} of {len(runs)})" if first else "never"
            print(
                f"{target.name:6s} {name:20s} ours {seconds:.2f} s, covered at {reached}, fair modes {fair:.1f}, "
                f"high quality {quality:.1f} %, energy distance / ours {peer / seconds:.2f}"
            )


if __name__ == "__main__":
    main()
