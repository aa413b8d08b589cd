"""Porous medium flow on a square by linearised minimizing movements, BDF2 and midpoints: error against the exact flow, and cost.

    python benchmarks/bench_linearised.py [--size N] [--repeats K] [--power M] [--tolerance TOL]

The flow is Barenblatt's on [0, 1]^2, of mass 1, support radius 0.2 at the start and 0.4 at the end; initial data are averages
over cells (4 x 4 points each). Errors are those of the densities in L1. Costs are process CPU seconds of one thread, and in units
of a discrete cosine transform of the same grid (`scipy.fft.dctn`, timed in between).
"""

from __future__ import annotations

import os

for _variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse
import statistics
import time

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

import measureflow as mf

SUB = 4
RADII = 0.2, 0.4
RUNS: tuple[tuple[str, int], ...] = (("jko", 20), ("bdf2", 40), ("bdf2", 80), ("vim", 50), ("vim", 80), ("three-stage", 20))


def _constants(m: float) -> tuple[float, float, float, float]:
    """Return p, beta, k and C of Barenblatt's profile of mass 1 in the plane."""
    p = 2.0 * (m - 1.0) + 2.0
    k = (m - 1.0) / (2.0 * m * p)
    return p, 1.0 / p, k, (k * m / (np.pi * (m - 1.0))) ** ((m - 1.0) / m)


def _times(m: float) -> tuple[float, float]:
    p, _, k, c = _constants(m)
    start, end = ((radius / np.sqrt(c / k)) ** p for radius in RADII)
    return float(start), float(end)


def _profile(t: float, m: float, n: int) -> NDArray[np.floating]:
    """Return the averages of the exact density over n x n cells."""
    _, beta, k, c = _constants(m)
    x = (np.arange(n * SUB) + 0.5) / (n * SUB) - 0.5
    square = x[:, None] ** 2 + x[None, :] ** 2
    u = t ** (-2.0 * beta) * np.maximum(c - k * square * t ** (-2.0 * beta), 0.0) ** (1.0 / (m - 1.0))
    means = u.reshape(n, SUB, n, SUB).mean(axis=(1, 3))
    return np.asarray(means / means.mean())


def _transform(n: int) -> float:
    """Return the CPU seconds of a cosine transform."""
    x, seconds = np.random.default_rng(0).random((n, n)), []
    for _ in range(9):
        start = time.process_time()
        dctn(x)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def _scheme(name: str, tolerance: float) -> mf.Scheme:
    if name == "jko":
        return mf.JKO(inner="linearised", tolerance=tolerance)
    return {"bdf2": mf.BDF2, "vim": mf.VIM, "three-stage": mf.ThreeStage}[name](tolerance=tolerance)


def _measure(name: str, steps: int, n: int, m: float, tolerance: float) -> tuple[float, float, float, float]:
    """Return the L1 error, CPU seconds, the largest residual and the mass."""
    grid = mf.Grid([(0.0, 1.0)] * 2, (n, n))
    (t0, t1), scheme = _times(m), _scheme(name, tolerance)
    law = mf.Histogram(_profile(t0, m, n) / n**2, grid)
    start = time.process_time()
    sol = mf.solve(mf.energies.PowerEntropy(m), law, (t0, t1), (t1 - t0) / steps, scheme=scheme, save_at=[t0, t1])
    seconds = time.process_time() - start
    last = sol.states[-1]
    error = float(np.mean(np.abs(last.density - _profile(t1, m, n))))
    return error, seconds, float(np.nanmax(sol.info["residual"])), float(last.masses.sum())


def main() -> None:
    """Print a line a grid and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="largest grid; half of it is run too")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each case, of which the fastest counts")
    parser.add_argument("--power", type=float, default=2.0)
    parser.add_argument("--tolerance", type=float, default=1e-5, help="residual of a step: missing mass times the diameter")
    options = parser.parse_args()
    for name in ("jko", "bdf2", "vim", "three-stage"):
        _measure(name, 3, 16, options.power, options.tolerance)  # compile
    print(f"m = {options.power:g}, tolerance {options.tolerance:g}")
    print("ours against the cosine transform of the same grid")
    print("  grid  method       steps  L1 error  CPU s   DCTs  ms a DCT  residual  mass - 1")
    for n in (options.size // 2, options.size):
        for name, steps in RUNS:
            before = _transform(n)
            runs = [_measure(name, steps, n, options.power, options.tolerance) for _ in range(options.repeats)]
            error, seconds, residual, mass = min(runs, key=lambda run: run[1])
            unit = 0.5 * (before + _transform(n))
            print(
                f"{n:4}^2  {name:11}  {steps:5}  {error:8.2e}  {seconds:5.2f}  {seconds / unit:5.0f}  {1e3 * unit:8.2f}"
                f"  {residual:8.1e}  {mass - 1.0:8.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
