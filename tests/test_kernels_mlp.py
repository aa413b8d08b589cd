"""Networks and adversarial loops in compiled code against plain numpy, complex steps, and themselves on other threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from measureflow.kernels import adversarial, draws, mlp

Array = NDArray[Any]
WIDTHS = [(2, 17, 9, 1), (3, 1), (6, 40, 1), (2, 3, 4, 1), (5, 8, 8, 8, 1), (1, 1, 1)]
ACTIVATIONS = ["tanh", "relu", "softplus"]
ACT: dict[str, Any] = {
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: z * (z.real > 0), lambda z: (z.real > 0) * 1.0),
    "softplus": (lambda z: np.log1p(np.exp(z)), lambda z: 1 / (1 + np.exp(-z))),
}
GEN, CRITIC = (3, 12, 2), (2, 10, 7, 1)


def problem(widths: tuple[int, ...], n: int, seed: int = 0) -> tuple[Array, Array, Array, Array]:
    """Parameters, points, cotangents, directions."""
    rng = np.random.default_rng(seed)
    p = rng.normal(size=mlp.size(widths)) * 0.5
    return p, rng.normal(size=(n, widths[0])), rng.normal(size=(n, widths[-1])), rng.normal(size=(n, widths[0]))


def layers(p: Array, widths: tuple[int, ...]) -> list[tuple[Array, Array]]:
    out, k = [], 0
    for n, m in zip(widths[:-1], widths[1:], strict=True):
        out.append((p[k : k + n * m].reshape(n, m), p[k + n * m : k + n * m + m]))
        k += n * m + m
    return out


def sweep(p: Array, widths: tuple[int, ...], activation: str, x: Array, q: Any = 1.0) -> tuple[Array, Array, Array]:
    """Values, gradient of sum q . D in the parameters, and in the points; complex points are allowed."""
    net, (act, slope) = layers(p, widths), ACT[activation]
    inputs, zs = [x], []
    for k, (w, b) in enumerate(net):
        zs.append(inputs[-1] @ w + b)
        inputs.append(act(zs[-1]) if k < len(net) - 1 else zs[-1])
    delta, parts = q * np.ones_like(zs[-1]), []
    for k in range(len(net) - 1, -1, -1):
        parts.append(np.concatenate([(inputs[k].T @ delta).ravel(), delta.sum(axis=0)]))
        delta = delta @ net[k][0].T
        delta = delta * slope(zs[k - 1]) if k else delta
    return zs[-1], np.concatenate(parts[::-1]), delta


def slopes_gradient(p: Array, widths: tuple[int, ...], activation: str, x: Array, u: Array) -> Array:
    """Gradient in the parameters of sum u . grad D, by a complex step of the gradient of sum D along u."""
    gradient: Array = sweep(p, widths, activation, x + 1e-30j * u)[1].imag * 1e30
    return gradient


def assert_close(got: Array | None, wanted: Array, tolerance: float = 1e-12) -> None:
    assert got is not None and got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= tolerance * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("n", [1, 6, 300])
def test_equals_numpy(widths: tuple[int, ...], activation: str, n: int) -> None:
    p, x, q, u = problem(widths, n)
    values, gradient, in_points = sweep(p, widths, activation, x, q)
    assert_close(mlp.values(p, widths, activation, x), values)
    got = mlp.pullback(p, widths, activation, x, q, want_points=True)
    assert_close(got[0], gradient)
    assert_close(got[1], in_points)
    assert mlp.pullback(p, widths, activation, x, q)[1] is None
    single, slopes = mlp.with_slopes(p, widths, activation, x)
    assert_close(single, values[:, 0])
    assert_close(slopes, sweep(p, widths, activation, x)[2])
    assert_close(mlp.pullback_slopes(p, widths, activation, x, u), slopes_gradient(p, widths, activation, x, u))


@pytest.mark.parametrize("widths", [(3, 20, 9, 4), (2, 16, 3), (9, 9), (4, 2, 33)])
def test_many_outputs(widths: tuple[int, ...]) -> None:
    p, x, q, _ = problem(widths, 77)
    values, gradient, in_points = sweep(p, widths, "softplus", x, q)
    assert_close(mlp.values(p, widths, "softplus", x), values)
    got = mlp.pullback(p, widths, "softplus", x, q, want_points=True)
    assert_close(got[0], gradient)
    assert_close(got[1], in_points)


def test_gradients_are_derivatives() -> None:
    widths = (2, 5, 3, 1)
    p, x, q, u = problem(widths, 4)
    gradient, of_slopes = mlp.pullback(p, widths, "tanh", x, q)[0], mlp.pullback_slopes(p, widths, "tanh", x, u)
    for i, e in enumerate(1e-6 * np.eye(p.size)):
        up, down = (mlp.with_slopes(p + s * e, widths, "tanh", x) for s in (1, -1))
        assert gradient[i] == pytest.approx(q[:, 0] @ (up[0] - down[0]) / 2e-6, abs=1e-8)
        assert of_slopes[i] == pytest.approx((u * (up[1] - down[1])).sum() / 2e-6, abs=1e-8)


@pytest.mark.slow  # to compile; the loop in single precision, below, uses the same sweeps
def test_single_precision() -> None:
    widths = (2, 17, 9, 1)
    p, x, q, u = problem(widths, 300)
    for activation in ACTIVATIONS:
        single = x.astype(np.float32)
        gradient = mlp.pullback(p, widths, activation, single, q)[0]
        assert gradient.dtype == np.float32
        assert_close(gradient, sweep(p, widths, activation, x, q)[1], 1e-5)
        assert_close(mlp.with_slopes(p, widths, activation, single)[1], sweep(p, widths, activation, x)[2], 1e-5)
        assert_close(mlp.pullback_slopes(p, widths, activation, single, u), slopes_gradient(p, widths, activation, x, u), 1e-5)


def test_same_bits_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = (2, 17, 9, 1)
    p, x, q, u = problem(widths, 2500)
    results = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(mlp, "_threads", lambda work, threads=threads: threads)
        gradient, slopes = mlp.pullback(p, widths, "tanh", x, q, want_points=True)
        assert slopes is not None
        results.append((gradient.tobytes(), slopes.tobytes(), mlp.pullback_slopes(p, widths, "tanh", x, u).tobytes()))
    assert results[0] == results[1] == results[2]


def test_a_value_does_not_depend_on_its_neighbours() -> None:
    widths = (2, 17, 9, 1)
    p, x, _, _ = problem(widths, 300)
    values, slopes = mlp.with_slopes(p, widths, "tanh", x)
    for low, high in ((123, 130), (124, 129), (5, 6), (6, 8), (298, 300)):
        np.testing.assert_array_equal(values[low:high], mlp.values(p, widths, "tanh", x[low:high])[:, 0])
        np.testing.assert_array_equal(slopes[low:high], mlp.with_slopes(p, widths, "tanh", x[low:high])[1])


def test_nan_in_nan_out() -> None:
    widths = (2, 17, 9, 1)
    for activation in ACTIVATIONS:
        p, x, q, u = problem(widths, 20)
        x[3, 0] = np.nan
        values, slopes = mlp.with_slopes(p, widths, activation, x)
        assert np.isnan(values).tolist() == [i == 3 for i in range(20)]
        assert np.isnan(slopes[3]).all() and np.isfinite(slopes[4:]).all()
        assert np.isnan(mlp.pullback(p, widths, activation, x, q)[0][: 2 * 17]).any()
        assert np.isnan(mlp.pullback_slopes(p, widths, activation, x, u)).any()


def test_no_points() -> None:
    p, x, q, _ = problem((2, 5, 1), 0)
    assert mlp.values(p, (2, 5, 1), "tanh", x).shape == (0, 1)
    assert not mlp.pullback(p, (2, 5, 1), "tanh", x, q)[0].any()


def test_bad_arguments_are_named() -> None:
    p, x, q, u = problem((2, 5, 1), 4)
    with pytest.raises(ValueError, match="activation must be one of .*'sine'"):
        mlp.values(p, (2, 5, 1), "sine", x)
    with pytest.raises(ValueError, match=r"params must have shape \(21,\)"):
        mlp.values(p[:-1], (2, 5, 1), "tanh", x)
    with pytest.raises(ValueError, match="widths must be at least two"):
        mlp.values(p, (2,), "tanh", x)
    with pytest.raises(ValueError, match=r"points must have shape \(n, 2\)"):
        mlp.values(p, (2, 5, 1), "tanh", x[:, :1])
    with pytest.raises(ValueError, match=r"q must have shape \(4, 1\)"):
        mlp.pullback(p, (2, 5, 1), "tanh", x, u)
    with pytest.raises(ValueError, match=r"directions must have shape \(4, 2\)"):
        mlp.pullback_slopes(p, (2, 5, 1), "tanh", x, q)
    with pytest.raises(ValueError, match="widths must end in 1"):
        mlp.with_slopes(p, (2, 5, 2), "tanh", x)


# Adversarial loops ---------------------------------------------------------------------------------------------------


def sigmoid(z: Array) -> Array:
    out: Array = 1 / (1 + np.exp(-z))
    return out


DERIVATIVES: dict[str, Any] = {  # phi', psi', chi'
    "wasserstein": (np.ones_like, lambda d: -np.ones_like(d), np.ones_like),
    "minimax": (lambda d: sigmoid(-d), lambda d: -sigmoid(d), lambda d: sigmoid(-d)),
    "nonsaturating": (lambda d: sigmoid(-d), lambda d: -sigmoid(d), sigmoid),
    "least squares": (lambda d: 1 - d, lambda d: -(1 + d), lambda d: 1 + d),
    "hinge": (lambda d: (d < 1) * 1.0, lambda d: (d > -1) * -1.0, np.ones_like),
}


def game(seed: int = 0) -> tuple[Array, Array, Array, Array]:
    """Generator, critic, target, latents."""
    rng = np.random.default_rng(seed)
    return 0.5 * problem(GEN, 1, seed)[0], problem(CRITIC, 1, seed + 1)[0], rng.normal(size=(60, 2)) + 1, rng.normal(size=(50, 3))


def critic_gradient(c: Array, fake: Array, real: Array, loss: str, r1: float, activation: str = "tanh") -> Array:
    phi, psi, _ = DERIVATIVES[loss]
    high, low = (sweep(c, CRITIC, activation, x)[0] for x in (fake, real))
    total = sweep(c, CRITIC, activation, fake, phi(high) / len(fake))[1]
    total = total + sweep(c, CRITIC, activation, real, psi(low) / len(real))[1]
    return total - r1 * slopes_gradient(c, CRITIC, activation, real, sweep(c, CRITIC, activation, real)[2] / len(real))


def generator_gradient(g: Array, c: Array, z: Array, loss: str) -> Array:
    fake = sweep(g, GEN, "tanh", z)[0]
    values, _, slopes = sweep(c, CRITIC, "tanh", fake)
    return sweep(g, GEN, "tanh", z, DERIVATIVES[loss][2](values) * slopes / len(z))[1]


SETTINGS: dict[str, Any] = {"generator_widths": GEN, "critic_widths": CRITIC, "tau": 0.1, "eta": 2.0}


@pytest.mark.parametrize("r1", [0.0, 0.7])
@pytest.mark.parametrize("loss", sorted(DERIVATIVES))
def test_simultaneous_updates_equal_numpy(loss: str, r1: float) -> None:
    g, c, y, z = game()
    got = adversarial.train(g[None], c[None], y, z, loss=loss, r1=r1, ridge=0.3, steps=3, **SETTINGS)
    for _ in range(3):
        down, up = generator_gradient(g, c, z, loss), critic_gradient(c, sweep(g, GEN, "tanh", z)[0], y, loss, r1)
        g, c = g - 0.1 * down, c + 0.2 * (up - 0.3 * c)
    assert_close(got[0][0], g)
    assert_close(got[1][0], c)


@pytest.mark.parametrize("alternating", [False, True])
def test_minibatches_and_critic_steps_equal_numpy(alternating: bool) -> None:
    g, c, y, z = game()
    order: dict[str, Any] = {"alternating": alternating, "critic_steps": 2, "batch": 20, "seeds": 5}
    got = adversarial.train(g[None], c[None], y, z, loss="minimax", steps=3, r1=0.5, **order, **SETTINGS)

    def rows(update: int, stream: int, n: int) -> Array:
        indices = np.zeros(20, np.int64)
        draws.draw(5, update, stream, 20, n, indices)
        return indices

    for step in range(3):
        down = generator_gradient(g, c, z[rows(3 * step, 0, 50)], "minimax")
        new = g - 0.1 * down
        seen = new if alternating else g
        for turn in range(alternating, 2 + alternating):
            fake = sweep(seen, GEN, "tanh", z[rows(3 * step + turn, 0, 50)])[0]
            c = c + 0.2 * critic_gradient(c, fake, y[rows(3 * step + turn, 1, 60)], "minimax", 0.5)
        g = new
    assert_close(got[0][0], g)
    assert_close(got[1][0], c)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_particles_against_a_law_of_neurons(activation: str) -> None:
    rng = np.random.default_rng(3)
    x, atoms, y = rng.normal(size=(200, 2)), rng.normal(size=(11, 4)), rng.normal(size=(150, 2)) + 1
    options: dict[str, Any] = {"loss": "nonsaturating", "tau": 0.1, "ridge": 0.2, "critic_activation": activation, "eta": 3.0}
    got = adversarial.train(x[None], atoms[None], y, steps=2, **options)
    act, slope = ACT[activation]
    for _ in range(2):
        a, w, b = atoms[:, 0], atoms[:, 1:3], atoms[:, 3]
        velocity = -0.2 * atoms
        for points, sign in ((x, 1.0), (y, -1.0)):
            z = points @ w.T + b
            values = act(z) @ a / 11
            q = sign * sigmoid(-sign * values) / len(points)
            s = slope(z)
            velocity += np.column_stack([q @ act(z), a[:, None] * (s.T @ (q[:, None] * points)), a * (q @ s)])
            if sign > 0:
                moved = x - 0.1 * sigmoid(values)[:, None] * (s @ (a[:, None] * w) / 11)
        x, atoms = moved, atoms + 0.3 * velocity
    assert_close(got[0][0], x)
    assert_close(got[1][0], atoms)


def test_a_run_can_be_cut_and_a_member_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    games = [game(seed) for seed in range(3)]
    g, c = np.array([x[0] for x in games]), np.array([x[1] for x in games])
    y, z = games[0][2:]
    each: dict[str, Any] = {"seeds": np.arange(3), "r1": np.array([0.0, 0.5, 1.0]), "ridge": np.array([0.1, 0.0, 0.2])}
    common: dict[str, Any] = {**SETTINGS, "loss": "hinge", "batch": 16, "critic_steps": 2}
    whole = adversarial.train(g, c, y, z, steps=5, **each, **common)
    g_two, c_two = adversarial.train(g, c, y, z, steps=2, **each, **common)
    monkeypatch.setattr(adversarial, "_threads", lambda members, work: 2)
    rest = adversarial.train(g_two, c_two, y, z, steps=3, first=2, **each, **common)
    for a, b in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(a, b)
    alone = {name: value[1] for name, value in each.items()}
    single = adversarial.train(g[1:2], c[1:2], y, z, steps=5, **alone, **common)
    for a, b in zip(whole, single, strict=True):
        np.testing.assert_array_equal(a[1:2], b)


def test_indices_are_uniform_and_streams_differ() -> None:
    first, second = np.zeros(20_000, np.int64), np.zeros(20_000, np.int64)
    draws.draw(1, 2, 0, 20_000, 10, first)
    draws.draw(1, 2, 1, 20_000, 10, second)
    assert first.min() == 0 and first.max() == 9
    counts = np.bincount(first)
    assert ((counts - 2000.0) ** 2 / 2000).sum() < 33.7  # chi squared with 9 degrees of freedom: probability 1e-4
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.03
    draws.draw(1, 2, 0, 7, 7, first)
    assert first[:7].tolist() == list(range(7))


def test_single_precision_follows_double() -> None:
    g, c, y, z = game()
    exact = adversarial.train(g[None], c[None], y, z, loss="nonsaturating", r1=0.5, steps=20, **SETTINGS)
    single = adversarial.train(g[None].astype(np.float32), c[None], y, z, loss="nonsaturating", r1=0.5, steps=20, **SETTINGS)
    for a, b in zip(exact, single, strict=True):
        assert b.dtype == np.float32
        assert_close(b, a, 1e-5)


def test_bad_games_are_named() -> None:
    g, c, y, z = (a[None] if a.ndim == 1 else a for a in game())
    with pytest.raises(ValueError, match="loss must be one of .*'kl'"):
        adversarial.train(g, c, y, z, loss="kl", steps=1, **SETTINGS)
    bad: Any
    for bad in ((g, c, y, None), (g, c, y, z[:, :1]), (g[0], c, y, z)):
        with pytest.raises(ValueError, match="generator must have shape"):
            adversarial.train(*bad, steps=1, **SETTINGS)
    with pytest.raises(ValueError, match="critic must have shape"):
        adversarial.train(g, c[[0, 0]], y, z, steps=1, **SETTINGS)
    with pytest.raises(ValueError, match="target must have shape"):
        adversarial.train(g, c, y[:, :1], z, steps=1, **SETTINGS)
    with pytest.raises(ValueError, match="ridge must be a number or have shape"):
        adversarial.train(g, c, y, z, steps=1, ridge=np.ones(2), **SETTINGS)
    with pytest.raises(ValueError, match="params must have shape"):
        adversarial.train(g[:, 1:], c, y, z, steps=1, **SETTINGS)
