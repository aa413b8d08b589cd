"""The fused critic kernel against dense numpy (and torch, if installed): ns a pair, interleaved in one process.

    python benchmarks/bench_neurons.py [--size N] [--repeats K]

Prints medians of process CPU time on one thread.
"""

from __future__ import annotations

import os

for _variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measureflow.kernels.neurons import evaluate

Array = NDArray[Any]
Result = tuple[Any, ...]
CASES = ((2, 10_000, 1000), (3, 10_000, 1000), (8, 4000, 1000), (64, 2297, 300))  # d, N, H


def problem(n: int, h: int, d: int, dtype: Any) -> tuple[Array, Array, Array, Array]:
    """Points, signed coefficients, atoms with pre-activations of order one, equal weights."""
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(h, d + 2))
    atoms[:, 1:-1] /= np.sqrt(d)
    x, q, theta, v = (a.astype(dtype) for a in (rng.normal(size=(n, d)), rng.normal(size=n), atoms, np.full(h, 1 / h)))
    return x, q, theta, v


def dense(x: Array, q: Array, atoms: Array, v: Array) -> Result:
    """Forward and both gradients with N x H matrices, tanh."""
    a, w, b = atoms[:, 0], atoms[:, 1:-1], atoms[:, -1]
    t = np.tanh(x @ w.T + b)
    s = 1 - t * t
    c = v * a
    return t @ c, s @ (c[:, None] * w), np.column_stack([q @ t, a[:, None] * (s.T @ (q[:, None] * x)), a * (q @ s)])


def products(x: Array, q: Array, atoms: Array, v: Array) -> Result:
    """Only the three matrix products: a floor for large d."""
    w = np.ascontiguousarray(atoms[:, 1:-1])
    z = x @ w.T
    return z, z @ w, z.T @ x


def torch_route() -> Callable[..., Result] | None:
    """Forward and reverse mode in torch on one thread; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)

    def route(x: Array, q: Array, atoms: Array, v: Array) -> Result:
        points, theta = torch.from_numpy(x).requires_grad_(), torch.from_numpy(atoms).requires_grad_()
        t = torch.tanh(points @ theta[:, 1:-1].T + theta[:, -1])
        values = t @ (torch.from_numpy(v) * theta[:, 0])
        (in_points,) = torch.autograd.grad(values.sum(), points, retain_graph=True)
        (in_atoms,) = torch.autograd.grad(torch.from_numpy(q) @ values, theta)
        return values.detach().numpy(), in_points.numpy(), in_atoms.numpy() / v[:, None]

    return route


def medians(routes: dict[str, Callable[[], Result]], repeats: int) -> dict[str, float]:
    """Median process seconds of each route, the routes taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(repeats):
        for name, route in routes.items():
            start = time.process_time()
            route()
            seconds[name].append(time.process_time() - start)
    return {name: float(np.median(times)) for name, times in seconds.items()}


def error(got: Result, wanted: Result) -> float:
    """Largest error of the three results, each relative to its largest entry."""
    return max(float(np.abs(g - e).max() / np.abs(e).max()) for g, e in zip(got, wanted, strict=True))


def report(d: int, n: int, h: int, dtype: Any, repeats: int) -> None:
    """Print one block of the table."""
    args = problem(n, h, d, dtype)
    exact = dense(*(a.astype(np.float64) for a in args))
    functions: dict[str, Callable[..., Result]] = {
        "fused": lambda *a: evaluate(*a, "tanh"),
        "fused, no atoms": lambda *a: evaluate(*a, "tanh", want_atoms=False),
        "fused relu": lambda *a: evaluate(*a, "relu"),
        "numpy dense": dense,
        "matrix products only": products,
    }
    torch = torch_route()
    if torch is not None:
        functions["torch"] = torch
    for function in functions.values():
        function(*args)
    times = medians({name: (lambda f=f: f(*args)) for name, f in functions.items()}, repeats)  # type: ignore[misc]
    print(f"d={d} N={n} H={h} {np.dtype(dtype).name}")
    for name, seconds in times.items():
        off = f"{error(functions[name](*args), exact):8.1e}" if name in ("fused", "numpy dense", "torch") else " " * 8
        ratio, pair = seconds / times["fused"], seconds * 1e9 / (n * h)
        print(f"  {name:22s} {pair:8.3f} ns a pair {seconds * 1e3:9.3f} ms  error {off}  x {ratio:6.2f}")


def main() -> None:
    """Print the table for all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10_000, help="largest number of points")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    for d, n, h in CASES:
        for dtype in (np.float32, np.float64):
            report(d, min(n, options.size), min(h, options.size), dtype, options.repeats)


if __name__ == "__main__":
    main()
