"""A crowd on a square below a density cap: one step, linearised and exact, its cost and its residual.

    python benchmarks/bench_crowd.py [--size N] [--repeats K] [--tolerance TOL]

The start is a uniform disk that a well beside it draws together; the step measured is the third one, when half of the law is
saturated. "obstacle" adds a wall, "entropy" diffusion. Costs are process CPU seconds of one thread, and in units of a discrete
cosine transform of the same grid (`scipy.fft.dctn`, timed in between). The residual is relative to the distance moved.
"""

from __future__ import annotations

import os

for _variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse
import statistics
import time

import numpy as np
from scipy.fft import dctn

import measureflow as mf
from measureflow.proximal import Step, Tolerance, solve_proximal

TAUS = 0.1, 0.2, 0.1
RATIO = 1.5
"""The cap, in units of the density at the start."""


def _case(name: str, n: int) -> tuple[mf.Histogram, mf.energies.Energy]:
    """Return start and energy."""
    e, grid = mf.energies, mf.Grid([(-1.0, 1.0)] * 2, (n, n))
    wall = np.zeros((n, n), dtype=bool)
    if name == "obstacle":
        wall[n * 5 // 8 : n * 11 // 16, : n // 2] = True
    inside = (np.sum(grid.centres**2, axis=-1) < 0.64) & ~wall
    law = mf.Histogram(inside / inside.sum(), grid)
    energy: e.Energy = e.Quadratic(centre=[0.3, 0.3]) + e.Congestion(RATIO * float(law.density.max()))
    if name == "obstacle":
        energy = energy + e.Obstacle(wall)
    return law, energy + 0.02 * e.Entropy() if name == "entropy" else energy


def _transform(n: int) -> float:
    """Return the CPU seconds of a cosine transform."""
    x, seconds = np.random.default_rng(0).random((n, n)), []
    for _ in range(9):
        start = time.process_time()
        dctn(x)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def _measure(name: str, inner: str, n: int, tolerance: float) -> tuple[float, Step, float]:
    """Return CPU seconds of the last step, the step, and the energy's cap."""
    law, energy = _case(name, n)
    seconds, step = 0.0, None
    for tau in TAUS:
        start = time.process_time()
        step = solve_proximal(energy, mf.Wasserstein(), law, tau, Tolerance(tolerance, 500, inner))
        seconds = time.process_time() - start
        assert isinstance(step.state, mf.Histogram)
        law = step.state
    assert step is not None
    return seconds, step, RATIO * float(_case(name, n)[0].density.max())


def main() -> None:
    """Print a line a grid and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="largest grid; half of it is run too")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each case, of which the fastest counts")
    parser.add_argument("--tolerance", type=float, default=0.0, help="of both methods; 0: 1e-4 linearised, 1e-9 exact")
    options = parser.parse_args()
    runs = (("potential", "linearised"), ("obstacle", "linearised"), ("entropy", "linearised"), ("potential", "exact"))
    for name, inner in runs:
        _measure(name, inner, 16, 1e-4)  # compile
    print("ours against the cosine transform of the same grid")
    print("  grid  case       method      steps of Newton  CPU s   DCTs  residual/distance  mass - 1  over the cap")
    for n in (options.size // 2, options.size):
        for name, inner in runs:
            before = _transform(n)
            tolerance = options.tolerance or (1e-4 if inner == "linearised" else 1e-9)
            found = [_measure(name, inner, n, tolerance) for _ in range(options.repeats)]
            seconds, step, cap = min(found, key=lambda run: run[0])
            unit = 0.5 * (before + _transform(n))
            assert isinstance(step.state, mf.Histogram)
            over = max(float(step.state.density.max()) / cap - 1.0, 0.0)
            print(
                f"{n:4}^2  {name:9}  {inner:10}  {step.iterations:15}  {seconds:5.2f}  {seconds / unit:5.0f}"
                f"  {step.residual / step.distance:17.1e}  {float(step.state.masses.sum()) - 1.0:8.1e}  {over:12.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
