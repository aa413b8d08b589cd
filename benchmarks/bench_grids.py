"""Exact minimizing movements on grids: a porous medium on [0, 1]^2, Barenblatt's solution from radius 0.2 to 0.4, or a
drift-diffusion on [-5, 5]^2, a Gaussian of width 0.5 at (1, 0) in V = |x|^2/2 until t = 0.4.

    python benchmarks/bench_grids.py [--flow porous drift] [--power M] [--size N ...] [--steps K] [--repeats R]

Prints, for ours, the L1 error after K steps against the exact iterate of minimizing movements, Newton steps, the largest
residual relative to the distance moved, seconds of process CPU time (least of the repeats), and these in units of the peer's
basic operation, a discrete cosine transform (`scipy.fft.dctn`) of the same grid timed in the same run: the reference
back-and-forth code needs about 43000 of them at size 512 for an error of 1.5e-3 of the porous medium. Then the power of
N log N, N cells, with which the seconds grow (fitted to all sizes).
"""

from __future__ import annotations

import os

for _variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy.fft import dctn

import measureflow as mf
from measureflow import problems
from measureflow.proximal import Tolerance, solve_proximal


def _cosine_transform(n: int) -> float:
    """Seconds of one transform, the median of several."""
    values, times = np.random.default_rng(0).random((n, n)), []
    for _ in range(9):
        start = time.process_time()
        dctn(values)
        times.append(time.process_time() - start)
    return float(np.median(times))


Flow = tuple[mf.energies.Energy, mf.Histogram, float, Callable[[int], np.ndarray]]
"""Energy, law, time, and the masses of the exact iterate after so many steps of size time / steps."""


def _porous(n: int, steps: int, power: float) -> Flow:
    problem = problems.get("PME-B", n=n, m=power)
    time_ = problem.t_span[1] - problem.t_span[0]

    def exact(count: int) -> np.ndarray:
        law = problem.initial
        for _ in range(count):
            law = problem.exact_step["jko"](law, time_ / steps)
        return law.masses

    return problem.problem, problem.initial, time_, exact


def _drift(n: int, steps: int, _: float) -> Flow:
    grid, tau = mf.Grid([(-5.0, 5.0)] * 2, (n, n)), 0.4 / steps

    def law(m: float, s: float) -> mf.Histogram:
        return mf.Histogram.from_density(lambda x: np.exp(-0.5 * np.sum((x - [m, 0.0]) ** 2, -1) / s**2), grid)

    def exact(count: int) -> np.ndarray:
        m, s = 1.0, 0.5
        for _ in range(count):
            m, s = m / (1.0 + tau), (s + np.sqrt(s * s + 4.0 * tau * (1.0 + tau))) / (2.0 * (1.0 + tau))
        return law(m, s).masses

    return mf.energies.Entropy() + mf.energies.Quadratic(), law(1.0, 0.5), 0.4, exact


FLOWS = {"porous": _porous, "drift": _drift}


def _run(flow: Flow, steps: int) -> tuple[float, float, int, float]:
    """Return seconds, error against the exact iterate, Newton steps and the largest relative residual."""
    energy, x, time_, exact = flow
    newton, residual, seconds = 0, 0.0, 0.0
    for _ in range(steps):
        start = time.process_time()
        done = solve_proximal(energy, mf.Wasserstein(), x, time_ / steps, Tolerance())
        seconds += time.process_time() - start
        x = done.state
        newton += done.iterations
        residual = max(residual, done.residual / done.distance)
    return seconds, float(np.abs(x.coordinates - exact(steps)).sum()), newton, residual


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[128, 256, 512], help="cells along an axis")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--flow", nargs="+", choices=FLOWS, default=list(FLOWS))
    parser.add_argument("--power", type=float, default=2.0, help="m of the porous medium")
    options = parser.parse_args()
    _run(_porous(16, 2, 2.0), 2)  # compile
    for name in options.flow:
        print(f"{name:>6}: size  ours: L1 error  Newton steps  residual/distance  CPU s | dctn ms  ours/dctn")
        found = []
        for n in options.size:
            flow = FLOWS[name](n, options.steps, options.power)
            runs = [_run(flow, options.steps) for _ in range(options.repeats)]
            seconds, (_, error, newton, residual) = min(run[0] for run in runs), runs[0]
            unit = _cosine_transform(n)
            print(
                f"{n:12} {error:15.2e} {newton:13} {residual:18.1e} {seconds:6.2f} | {1e3 * unit:7.3f} {seconds / unit:10.0f}",
                flush=True,
            )
            found.append((np.log(n**2 * np.log(n**2)), np.log(seconds)))
        if len(found) > 1:
            print(f"seconds grow like (N log N)^{np.polyfit(*zip(*found, strict=True), 1)[0]:.2f}")


if __name__ == "__main__":
    main()
