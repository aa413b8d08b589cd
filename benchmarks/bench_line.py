"""Flows of quantile functions: 20 steps of a porous medium, milliseconds of CPU on one thread, with the errors next to them.

    python benchmarks/bench_line.py [--size N] [--repeats K]

Two starts: a Barenblatt profile, with the distance from the exact iterate of minimizing movements and from the exact flow, and a
skew law with jumps at both ends, with the distance from the same steps on 27 times as many levels. The references of the run are
20 symmetric banded solves (scipy) and 20 sorts (numpy) of as many numbers, interleaved with the flows.
"""

from __future__ import annotations

import os

for _variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.linalg import solveh_banded

import measureflow as mf
from measureflow import problems

STEPS, TAU = 20, 0.05
SCHEMES: dict[str, mf.Scheme] = {"jko": mf.JKO(), "vim": mf.VIM(), "bdf2": mf.BDF2(), "three-stage": mf.ThreeStage()}
ENERGY = mf.energies.PowerEntropy(2.0)


def skew(n: int) -> mf.Quantiles:
    """The law with quantile function s^2 + s/3: its density jumps at both ends."""
    s = (np.arange(n) + 0.5) / n
    return mf.Quantiles(s**2 + s / 3.0)


def flow(start: mf.Quantiles, scheme: mf.Scheme) -> Any:
    """The law after all steps."""
    return mf.solve(ENERGY, start, (1.0, 1.0 + STEPS * TAU), TAU, scheme=scheme, save_at=STEPS).states[-1]


def references(n: int) -> dict[str, Callable[[], Any]]:
    """Fixed work of about the same kind."""
    rng = np.random.default_rng(0)
    values, load = rng.random((STEPS, n)), rng.random((STEPS, n))
    bands = np.vstack([np.full(n, -1.0), np.full(n, 2.1)])
    return {
        "numpy sort": lambda: [np.sort(row) for row in values],
        "scipy banded solve": lambda: [solveh_banded(bands, row, check_finite=False) for row in load],
    }


def medians(routes: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median CPU milliseconds of every route, interleaved, after a first call."""
    times: dict[str, list[float]] = {name: [] for name in routes}
    for route in routes.values():
        route()
    for _ in range(repeats):
        for name, route in routes.items():
            begin = time.process_time()
            route()
            times[name].append(1e3 * (time.process_time() - begin))
    return {name: float(np.median(values)) for name, values in times.items()}


def exact_iterate(problem: Any) -> Any:
    """The law after all exact steps of minimizing movement."""
    law = problem.initial
    for _ in range(STEPS):
        law = problem.exact_step["jko"](law, TAU)
    return law


def finer(n: int, scheme: mf.Scheme) -> mf.Quantiles:
    """The same levels of the flow with 27 times as many."""
    return mf.Quantiles(flow(skew(27 * n), scheme).values[13::27])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    n = arguments.size
    problem = problems.get("S4", n=n)
    routes = references(n)
    for name, scheme in SCHEMES.items():
        routes[f"ours, {name}"] = partial(flow, problem.initial, scheme)
        routes[f"ours, {name}, skew"] = partial(flow, skew(n), scheme)
    assert problem.exact is not None
    times = medians(routes, arguments.repeats)
    iterate, end = exact_iterate(problem), problem.exact(1.0 + STEPS * TAU)
    print(f"{n} levels, {STEPS} steps, m = 2; ms of CPU, and as a multiple of JKO from Barenblatt")
    for name, value in times.items():
        print(f"  {name:26s}{value:9.2f} ms {value / times['ours, jko']:8.2f}")
    print(f"  jko from the exact iterate: {mf.distance(flow(problem.initial, SCHEMES['jko']), iterate):.2e}")
    for name, scheme in SCHEMES.items():
        error = mf.distance(flow(problem.initial, scheme), end)
        print(f"  {name:12s} from the exact flow {error:.2e}; skew, from 27 n levels {levels_error(n, scheme):.2e}")


def levels_error(n: int, scheme: mf.Scheme) -> float:
    """Distance of the skew flow from that with more levels; at most 2000 levels, to stay quick."""
    n = min(n, 2000)
    return mf.distance(flow(skew(n), scheme), finer(n, scheme))


if __name__ == "__main__":
    main()
