"""The compiled adversarial loop against the same updates in torch, jax and numpy: microseconds an update, interleaved.

    python benchmarks/bench_adversarial.py [--size H] [--repeats K]

Generator and critic are networks with two hidden layers, the loss is non-saturating, updates are simultaneous; medians of
process CPU time on one thread. torch and jax are left out where they are not installed. torch eager is the usual script: two
optimisers, two sweeps back; torch minimal is functional, without optimisers; jax loop does all updates in one call. The last
two and jax jit are given the indices of all batches; the others draw them.
"""

from __future__ import annotations

import os

for _variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measureflow.kernels import adversarial, mlp

Array = NDArray[Any]
Route = Callable[[int], Any]  # does so many updates
CASES = ((32, 128), (64, 128), (128, 256))  # hidden width, batch
TAU, POOL = 1e-3, 4096


def initial(widths: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Parameters of a network."""
    pairs = zip(widths[:-1], widths[1:], strict=True)
    return np.concatenate([np.concatenate([rng.normal(size=n * m) / np.sqrt(n), np.zeros(m)]) for n, m in pairs])


def layers(params: Any, widths: tuple[int, ...]) -> list[tuple[Any, Any]]:
    """The matrices and biases in a packed vector, of numpy or torch."""
    out, k = [], 0
    for n, m in zip(widths[:-1], widths[1:], strict=True):
        out.append((params[k : k + n * m].reshape(n, m), params[k + n * m : k + (n + 1) * m]))
        k += (n + 1) * m
    return out


class Case:
    """One row of the table: widths, batch, initial parameters, latents and target."""

    def __init__(self, hidden: int, batch: int, dtype: Any, r1: float) -> None:
        rng = np.random.default_rng(0)
        self.generator, self.critic = (2, hidden, hidden, 2), (2, hidden, hidden, 1)
        self.batch, self.dtype, self.r1 = batch, np.dtype(dtype), r1
        arrays = initial(self.generator, rng), initial(self.critic, rng), rng.normal(size=(POOL, 2)), rng.normal(size=(POOL, 2))
        self.g, self.c, self.latents, self.target = (a.astype(dtype) for a in arrays)

    def indices(self, steps: int) -> Array:
        """The indices (steps, 2, batch) of latents and target points."""
        return np.random.default_rng(0).integers(POOL, size=(steps, 2, self.batch))

    def ours(self, steps: int, batch: int | None = -1, tau: float = TAU) -> tuple[Array, Array]:
        size = self.batch if batch == -1 else batch
        pools = (self.target, self.latents) if size is not None else (self.target[: self.batch], self.latents[: self.batch])
        return adversarial.train(
            self.g[None],
            self.c[None],
            *pools,
            generator_widths=self.generator,
            critic_widths=self.critic,
            loss="nonsaturating",
            steps=steps,
            tau=tau,
            r1=self.r1,
            batch=size,
        )


def numpy_route(case: Case) -> Route:
    """The sweeps written out with numpy, without the penalty."""

    def forward(net: Any, x: Array) -> list[Array]:
        acts = [x]
        for w, b in net[:-1]:
            acts.append(np.tanh(acts[-1] @ w + b))
        return [*acts, acts[-1] @ net[-1][0] + net[-1][1]]

    def backward(net: Any, acts: list[Array], q: Array) -> tuple[list[Any], Array]:
        out = []
        for layer in range(len(net) - 1, -1, -1):
            out.append((acts[layer].T @ q, q.sum(axis=0)))
            q = q @ net[layer][0].T
            q = q * (1 - acts[layer] ** 2) if layer else q
        return out[::-1], q

    def run(steps: int) -> None:
        rng = np.random.default_rng(0)
        g, c = layers(case.g.copy(), case.generator), layers(case.c.copy(), case.critic)
        for _ in range(steps):
            i, j = rng.integers(POOL, size=case.batch), rng.integers(POOL, size=case.batch)
            fake = forward(g, case.latents[i])
            high, low = forward(c, fake[-1]), forward(c, case.target[j])
            rise, fall = 1 / (1 + np.exp(-high[-1])), 1 / (1 + np.exp(-low[-1]))
            grads, _ = backward(g, fake, backward(c, high, rise / case.batch)[1])
            up, _ = backward(c, high, (1 - rise) / case.batch)
            down, _ = backward(c, low, -fall / case.batch)
            for pair, grad in zip(g, grads, strict=True):
                for a, b in zip(pair, grad, strict=True):
                    a -= TAU * b
            for pair, one, two in zip(c, up, down, strict=True):
                for a, b, d in zip(pair, one, two, strict=True):
                    a += TAU * (b + d)

    return run


def torch_routes(case: Case) -> dict[str, Route]:
    """The usual script, and the least work that eager torch allows."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    bce, softplus, grad = torch.nn.functional.binary_cross_entropy_with_logits, torch.nn.functional.softplus, torch.autograd.grad
    z, y = torch.from_numpy(case.latents), torch.from_numpy(case.target)

    def module(packed: Array, widths: tuple[int, ...]) -> Any:
        parts: list[Any] = []
        for w, b in layers(torch.from_numpy(packed.copy()), widths):
            linear = torch.nn.Linear(*w.shape, dtype=w.dtype)
            linear.weight.data, linear.bias.data = w.T.clone(), b.clone()
            parts += [linear, torch.nn.Tanh()]
        return torch.nn.Sequential(*parts[:-1])

    def eager(steps: int) -> None:
        g, c = module(case.g, case.generator), module(case.c, case.critic)
        sgd_g, sgd_c = torch.optim.SGD(g.parameters(), lr=TAU), torch.optim.SGD(c.parameters(), lr=TAU)
        ones, zeros = torch.ones(case.batch, 1, dtype=z.dtype), torch.zeros(case.batch, 1, dtype=z.dtype)
        for _ in range(steps):
            fake = g(z[torch.randint(POOL, (case.batch,))])
            real = y[torch.randint(POOL, (case.batch,))].requires_grad_(case.r1 > 0)
            on_fake, on_real = c(fake.detach()), c(real)
            loss_c = bce(on_fake, ones) + bce(on_real, zeros)
            if case.r1:
                (slope,) = grad(on_real.sum(), real, create_graph=True)
                loss_c = loss_c + case.r1 / 2 * slope.square().sum(1).mean()
            loss_g = bce(c(fake), zeros)
            sgd_g.zero_grad()
            loss_g.backward()
            sgd_c.zero_grad()
            loss_c.backward()
            sgd_g.step()
            sgd_c.step()

    def net(params: list[Any], x: Any) -> Any:
        for k in range(0, len(params) - 2, 2):
            x = torch.tanh(torch.addmm(params[k + 1], x, params[k]))
        return torch.addmm(params[-1], x, params[-2])

    def minimal(steps: int) -> None:
        g, c = (
            [a.clone().requires_grad_() for pair in layers(torch.from_numpy(p), w) for a in pair]
            for p, w in ((case.g, case.generator), (case.c, case.critic))
        )
        for i, j in torch.from_numpy(case.indices(steps)):
            fake, real = net(g, z[i]), y[j].requires_grad_(case.r1 > 0)
            on_fake, on_real = net(c, fake), net(c, real)
            loss = softplus(-on_fake).mean() + softplus(on_real).mean()
            if case.r1:
                (slope,) = grad(on_real.sum(), real, create_graph=True)
                loss = loss + case.r1 / 2 * slope.square().sum(1).mean()
            in_c = grad(loss, c, retain_graph=True)
            in_g = grad(softplus(on_fake).mean(), g)
            with torch.no_grad():
                torch._foreach_add_(c, in_c, alpha=-TAU)
                torch._foreach_add_(g, in_g, alpha=-TAU)

    return {"torch eager": eager, "torch minimal": minimal}


def torch_gradients(case: Case) -> tuple[Array, Array]:
    """What descends: the gradients of both players on the first points, by torch in the dtype of the case."""
    torch = importlib.import_module("torch")
    g, c = (torch.from_numpy(a.copy()).requires_grad_() for a in (case.g, case.c))

    def net(params: Any, widths: tuple[int, ...], x: Any) -> Any:
        *hidden, (w, b) = layers(params, widths)
        for v, a in hidden:
            x = torch.tanh(x @ v + a)
        return x @ w + b

    soft = torch.nn.functional.softplus
    real = torch.from_numpy(case.target[: case.batch]).requires_grad_()
    on_fake = net(c, case.critic, net(g, case.generator, torch.from_numpy(case.latents[: case.batch])))
    on_real = net(c, case.critic, real)
    (slope,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
    loss = soft(-on_fake).mean() + soft(on_real).mean() + case.r1 / 2 * slope.square().sum(1).mean()
    (in_c,) = torch.autograd.grad(loss, c, retain_graph=True)
    (in_g,) = torch.autograd.grad(soft(on_fake).mean(), g)
    return in_g.numpy(), in_c.numpy()


def jax_routes(case: Case) -> dict[str, Route]:
    """A compiled step called from Python, and all steps in one call."""
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", case.dtype == np.float64)
    np_, soft = jax.numpy, jax.nn.softplus
    z, y = np_.asarray(case.latents), np_.asarray(case.target)

    def net(params: Any, x: Any) -> Any:
        for w, b in params[:-1]:
            x = np_.tanh(x @ w + b)
        return x @ params[-1][0] + params[-1][1]

    def loss_c(c: Any, fake: Any, real: Any) -> Any:
        out = soft(-net(c, fake)).mean() + soft(net(c, real)).mean()
        if case.r1:
            slopes = jax.grad(lambda x: net(c, x).sum())(real)
            out = out + case.r1 / 2 * (slopes**2).sum(1).mean()
        return out

    def update(state: Any, rows: Any) -> Any:
        g, c = state
        fake, pull = jax.vjp(lambda p: net(p, z[rows[0]]), g)
        in_c = jax.grad(loss_c)(c, fake, y[rows[1]])
        (in_g,) = pull(jax.grad(lambda x: soft(net(c, x)).mean())(fake))
        down = lambda p, q: p - TAU * q  # noqa: E731
        return (jax.tree.map(down, g, in_g), jax.tree.map(down, c, in_c)), None

    step = jax.jit(update)
    scan = jax.jit(lambda state, rows: jax.lax.scan(update, state, rows)[0])

    def start() -> Any:
        nets = [
            [(np_.asarray(w), np_.asarray(b)) for w, b in layers(p, v)]
            for p, v in ((case.g, case.generator), (case.c, case.critic))
        ]
        return tuple(nets)

    def jit(steps: int) -> None:
        state = start()
        for rows in case.indices(steps):
            state, _ = step(state, rows)
        jax.block_until_ready(state)

    return {"jax jit": jit, "jax loop": lambda steps: jax.block_until_ready(scan(start(), np_.asarray(case.indices(steps))))}


def installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def medians(routes: dict[str, Route], steps: int, repeats: int) -> dict[str, float]:
    """Median process seconds an update of each route, the routes taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(repeats):
        for name, route in routes.items():
            count = steps * 4 if name == "ours" else steps
            start = time.process_time()
            route(count)
            seconds[name].append((time.process_time() - start) / count)
    return {name: float(np.median(times)) for name, times in seconds.items()}


def report(hidden: int, batch: int, dtype: Any, r1: float, repeats: int) -> None:
    """Print one block of the table."""
    case = Case(hidden, batch, dtype, r1)
    routes: dict[str, Route] = {"ours": case.ours}
    if not r1:
        routes["numpy"] = numpy_route(case)
    if installed("torch"):
        routes |= torch_routes(case)
    if installed("jax"):
        routes |= jax_routes(case)
    steps = max(2, min(200, 40_000_000 // (hidden * hidden * batch)))
    for route in routes.values():
        route(steps)
    times = medians(routes, steps, repeats)
    print(f"H={hidden} B={batch} {case.dtype.name}{' with R1' if r1 else ''}, {mlp.size(case.critic)} parameters of the critic")
    for name, seconds in times.items():
        print(f"  {name:14s} {seconds * 1e6:9.1f} microseconds an update  x {seconds / times['ours']:6.2f}")
    if installed("torch") and case.dtype == np.float64:
        got = [p[0] - q for p, q in zip(case.ours(1, None, 1.0), (case.g, case.c), strict=True)]
        off = [float(np.abs(a + b).max() / np.abs(b).max()) for a, b in zip(got, torch_gradients(case), strict=True)]
        print(f"  gradients against torch: generator {off[0]:.1e}, critic {off[1]:.1e} of the largest entry")


def main() -> None:
    """Print the table for all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1000, help="largest width and batch")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    cases: list[tuple[int, int, Any, float]] = [(h, b, np.float32, r1) for r1 in (0.0, 1.0) for h, b in CASES]
    if installed("torch"):  # for the comparison of gradients
        cases += [(32, 128, np.float64, r1) for r1 in (0.0, 1.0)]
    for h, b, dtype, r1 in dict.fromkeys((min(h, options.size), min(b, options.size), *rest) for h, b, *rest in cases):
        report(h, b, dtype, r1, options.repeats)


if __name__ == "__main__":
    main()
