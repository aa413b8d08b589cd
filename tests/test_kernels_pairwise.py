"""Elementary functions, sums over pairs and sums on the line, each against numpy or brute force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from measureflow._numba import njit
from measureflow.kernels import elementary, pairwise
from measureflow.kernels.line import energy_line, interaction_line
from measureflow.kernels.pairwise import potential_and_gradient

KERNELS = ("gaussian", "laplace", "energy")


def _reference_softplus(x: Any) -> Any:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def _reference_sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


REFERENCES: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": _reference_sigmoid,
    "softplus": _reference_softplus,
}
#                 0    -0   inf     -inf  nan     big      -big
SPECIAL = {
    "exp": [1.0, 1.0, np.inf, 0.0, np.nan, np.inf, 0.0],
    "tanh": [0.0, -0.0, 1.0, -1.0, np.nan, 1.0, -1.0],
    "sigmoid": [0.5, 0.5, 1.0, 0.0, np.nan, 1.0, 0.0],
    "softplus": [np.log(2.0), np.log(2.0), np.inf, 0.0, np.nan, 1e5, 0.0],
}


# One loop a function: the name is looked up when it is compiled, as in the kernels that import it.
exp64, exp32, tanh64, tanh32 = elementary.exp64, elementary.exp32, elementary.tanh64, elementary.tanh32
sigmoid64, sigmoid32 = elementary.sigmoid64, elementary.sigmoid32
softplus64, softplus32 = elementary.softplus64, elementary.softplus32


@njit
def _all64(x: Any, out: Any) -> None:
    for i in range(x.size):
        out[0, i] = exp64(x[i])
    for i in range(x.size):
        out[1, i] = tanh64(x[i])
    for i in range(x.size):
        out[2, i] = sigmoid64(x[i])
    for i in range(x.size):
        out[3, i] = softplus64(x[i])


@njit
def _all32(x: Any, out: Any) -> None:
    for i in range(x.size):
        out[0, i] = exp32(x[i])
    for i in range(x.size):
        out[1, i] = tanh32(x[i])
    for i in range(x.size):
        out[2, i] = sigmoid32(x[i])
    for i in range(x.size):
        out[3, i] = softplus32(x[i])


def _apply(name: str, x: np.ndarray) -> np.ndarray:
    out = np.empty((4, x.size), x.dtype)
    (_all32 if x.dtype == np.float32 else _all64)(x, out)
    return out[list(REFERENCES).index(name)]


@pytest.mark.parametrize("scale", [1e-6, 0.1, 1.0, 10.0, 60.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-15), (np.float32, 5e-7)])
@pytest.mark.parametrize("name", REFERENCES)
def test_elementary_relative_error(name: str, dtype: type, tolerance: float, scale: float) -> None:
    """Every elementary function is accurate to a few units in the last place."""
    x = np.clip(np.random.default_rng(0).standard_normal(10_001) * scale, -85, 85).astype(dtype)
    expected = REFERENCES[name](x.astype(np.longdouble))
    assert np.max(np.abs(_apply(name, x) - expected) / np.abs(expected)) < tolerance


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", REFERENCES)
def test_elementary_special_values(name: str, dtype: type) -> None:
    """Zeros with sign, infinities, NaN and saturation."""
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e5, -1e5] * 3, dtype)
    expected = np.array(SPECIAL[name] * 3, dtype)
    np.testing.assert_array_max_ulp(_apply(name, x), expected, maxulp=2)
    assert np.array_equal(np.signbit(_apply(name, x))[:4], np.signbit(expected)[:4])


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.float64, -708.0, 709.7), (np.float32, -86.9, 88.7)])
def test_exp_near_the_ends_of_the_range(dtype: type, low: float, high: float) -> None:
    """Up to the ends of the normal range exp is accurate; past them it is 0 or infinite."""
    x = np.array([low, high], dtype)
    np.testing.assert_allclose(_apply("exp", x), np.exp(x), rtol=3 * np.finfo(dtype).eps)
    assert _apply("exp", np.array([low - 60, high + 1], dtype)).tolist() == [0.0, np.inf]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", REFERENCES)
def test_elementary_does_not_depend_on_the_place_in_a_loop(name: str, dtype: type) -> None:
    """A value computed alone has the bits it has inside a vector loop."""
    x = np.random.default_rng(1).standard_normal(37).astype(dtype)
    together = _apply(name, x)
    assert all(_apply(name, x[i : i + 1])[0] == together[i] for i in range(x.size))


def test_tanh_is_odd() -> None:
    """tanh(-x) = -tanh(x) to the last bit."""
    x = np.random.default_rng(2).standard_normal(1001) * 3
    assert np.array_equal(_apply("tanh", -x), -_apply("tanh", x))


def _dense(name: str, x: np.ndarray, y: np.ndarray, w: np.ndarray, s: float) -> tuple[np.ndarray, np.ndarray]:
    """Potential and gradient through the n x m matrix."""
    difference = x[:, None].astype(float) - y[None].astype(float)
    q = np.sum(difference**2, axis=-1)
    r = np.sqrt(q)
    inverse = np.divide(1.0, r, out=np.zeros_like(r), where=r > 0)
    k = {"gaussian": np.exp(-q / (2 * s**2)), "laplace": np.exp(-r / s), "energy": -r}[name]
    slope = {"gaussian": -k / s**2, "laplace": -k * inverse / s, "energy": -inverse}[name]
    return k @ w, np.einsum("ij,ijd->id", slope * w, difference)


def _clouds(n: int, m: int, d: int, seed: int = 0, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, sources of which some coincide with targets, and signed weights."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, d)), rng.standard_normal((m, d))
    common = min(n, m) // 3
    y[:common] = x[:common]
    return x.astype(dtype), y.astype(dtype), (rng.standard_normal(m) / m).astype(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 5e-14), (np.float32, 5e-6)])
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [1, 2, 3, 5, 64])
def test_pairwise_against_dense(d: int, name: str, dtype: type, tolerance: float) -> None:
    """The sums equal those over the dense matrix, over several tiles, coincident points included."""
    x, y, w = _clouds(70, 1100, d, dtype=dtype)
    bandwidth = 0.8 * np.sqrt(d)
    u, g = potential_and_gradient(name, x, y, w, bandwidth)
    expected, slope = _dense(name, x, y, w, bandwidth)
    assert u.dtype == dtype
    assert g is not None
    assert g.dtype == dtype
    assert np.max(np.abs(u - expected)) < tolerance * np.max(np.abs(expected))
    assert np.max(np.abs(g - slope)) < tolerance * np.max(np.abs(slope))


@pytest.mark.parametrize(("d", "name"), [(1, "energy"), (2, "gaussian"), (3, "laplace"), (5, "gaussian")])
def test_pairwise_without_gradient(d: int, name: str) -> None:
    """The potential alone is the same."""
    x, y, w = _clouds(70, 1100, d)
    u, g = potential_and_gradient(name, x, y, w, want_gradient=False)
    assert g is None
    np.testing.assert_allclose(u, potential_and_gradient(name, x, y, w)[0], atol=1e-13)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_pairwise_gradient_is_the_derivative_of_the_potential(d: int, name: str) -> None:
    """Central differences of the potential give the gradient."""
    rng = np.random.default_rng(3)
    x, y, w = rng.standard_normal((6, d)), rng.standard_normal((40, d)) + 5, rng.standard_normal(40)
    _, g = potential_and_gradient(name, x, y, w, 2.0)
    assert g is not None
    for axis, step in enumerate(1e-5 * np.eye(d)):
        ahead, behind = (potential_and_gradient(name, x + s * step, y, w, 2.0)[0] for s in (1, -1))
        np.testing.assert_allclose((ahead - behind) / 2e-5, g[:, axis], atol=1e-8)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_pairwise_has_the_same_bits_on_one_and_two_threads(d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row is summed by one thread in one order."""
    x, y, w = _clouds(333, 2100, d)
    alone = potential_and_gradient("laplace", x, y, w)
    monkeypatch.setattr(pairwise, "PARALLEL_PAIRS", 1)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(2)
        together = potential_and_gradient("laplace", x, y, w)
    finally:
        numba.set_num_threads(before)
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("name", KERNELS)
def test_pairwise_under_permutations(name: str) -> None:
    """Permuting targets permutes the result exactly; permuting sources changes rounding only."""
    x, y, w = _clouds(50, 1300, 2)
    rng = np.random.default_rng(4)
    rows, columns = rng.permutation(50), rng.permutation(1300)
    u, g = potential_and_gradient(name, x, y, w)
    u_rows, g_rows = potential_and_gradient(name, x[rows], y, w)
    u_columns, _ = potential_and_gradient(name, x, y[columns], w[columns])
    assert g is not None
    assert np.array_equal(u_rows, u[rows])
    assert np.array_equal(g_rows, g[rows])
    np.testing.assert_allclose(u_columns, u, atol=1e-14)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [1, 2, 3, 7])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 65), (65, 1)])
def test_pairwise_smallest_sizes(n: int, m: int, d: int, name: str) -> None:
    """One target or one source."""
    x, y, w = _clouds(n, m, d, seed=5)
    np.testing.assert_allclose(potential_and_gradient(name, x, y, w, 1.5)[1], _dense(name, x, y, w, 1.5)[1], atol=1e-13)


@pytest.mark.parametrize("name", KERNELS)
def test_pairwise_at_coincident_points(name: str) -> None:
    """Where all points coincide the potential is k(0) times the mass and the gradient is 0."""
    point = np.full((5, 2), 0.1)
    u, g = potential_and_gradient(name, point, point, np.full(5, 0.2))
    np.testing.assert_allclose(u, 0.0 if name == "energy" else 1.0, atol=1e-15)
    assert not np.any(g)


@pytest.mark.parametrize("name", KERNELS)
def test_pairwise_close_points_far_from_the_origin(name: str) -> None:
    """No squares cancel; scaled coordinates are off by half a unit in the last place at most."""
    x, y = np.array([[1024.0, 1.0]]), np.array([[1024.0 + 2.0**-30, 1.0]])
    u, g = potential_and_gradient(name, x, y, np.ones(1), 1.0)
    expected, slope = _dense(name, x, y, np.ones(1), 1.0)
    np.testing.assert_allclose(u, expected, rtol=1e-3 if name == "gaussian" else 1e-9)
    np.testing.assert_allclose(g, slope, rtol=1e-3 if name == "gaussian" else 1e-9)


@pytest.mark.parametrize("name", KERNELS)
def test_pairwise_far_points_and_nan(name: str) -> None:
    """Far points give 0 (or the distance) without overflow; NaN stays NaN."""
    x = np.array([[1e6, 0.0], [np.nan, 0.0], [0.0, 0.0]])
    u, g = potential_and_gradient(name, x, np.zeros((1, 2)), np.ones(1), 1.0)
    assert g is not None
    assert u[0] == (-1e6 if name == "energy" else 0.0)
    assert np.isnan(u[1])
    assert np.isnan(g[1, 0])
    assert np.all(np.isfinite(g[[0, 2]]))


def test_pairwise_names_what_is_allowed() -> None:
    """An unknown kernel is refused with the list of kernels."""
    with pytest.raises(ValueError, match="gaussian, laplace, energy, got 'cauchy'"):
        potential_and_gradient("cauchy", np.zeros((1, 1)), np.zeros((1, 1)), np.ones(1))


# Few distinct values, so that ties within and between the laws are common.
ATOMS = st.lists(st.tuples(st.integers(-4, 4).map(float) | st.floats(-9, 9), st.floats(0.01, 1.0)), min_size=1, max_size=12)


def _law(atoms: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    x, w = np.array(atoms).T
    return x, w / w.sum()


@settings(max_examples=100, deadline=None)
@given(ATOMS, ATOMS)
def test_energy_line_against_brute_force(first: list[tuple[float, float]], second: list[tuple[float, float]]) -> None:
    """Value and gradient equal the double sums, ties included."""
    (x, wx), (y, wy) = _law(first), _law(second)
    value, gradient = energy_line(x, wx, y, wy)
    to_y, to_x, y_to_y = x[:, None] - y, x[:, None] - x, y[:, None] - y
    expected = wx @ np.abs(to_y) @ wy - wx @ np.abs(to_x) @ wx / 2 - wy @ np.abs(y_to_y) @ wy / 2
    np.testing.assert_allclose(value, expected, atol=1e-13)
    np.testing.assert_allclose(gradient, np.sign(to_y) @ wy - np.sign(to_x) @ wx, atol=1e-13)


@settings(max_examples=100, deadline=None)
@given(ATOMS, ATOMS, st.integers(0, 2**32 - 1))
def test_interaction_line_against_brute_force(
    first: list[tuple[float, float]], second: list[tuple[float, float]], seed: int
) -> None:
    """Potential and slope of signed weights equal the sums, ties included."""
    x, y = _law(first)[0], _law(second)[0]
    w = np.random.default_rng(seed).standard_normal(y.size)
    u, slope = interaction_line(x, y, w)
    np.testing.assert_allclose(u, np.abs(x[:, None] - y) @ w, atol=1e-12)
    np.testing.assert_allclose(slope, np.sign(x[:, None] - y) @ w, atol=1e-12)


def test_energy_line_of_close_laws_keeps_its_digits() -> None:
    """A shift by h of n separate atoms has energy distance h / n."""
    n, h = 1000, 2.0**-40
    x = np.arange(n, dtype=float)
    value, _ = energy_line(x, np.full(n, 1 / n), x + h, np.full(n, 1 / n))
    np.testing.assert_allclose(value, h / n, rtol=1e-9)


def test_energy_line_agrees_with_pairwise() -> None:
    """The sweep and the direct sum are two routes to one gradient."""
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal(400), rng.standard_normal(300)
    wx, wy = np.full(400, 1 / 400), np.full(300, 1 / 300)
    _, g = potential_and_gradient("energy", np.r_[x][:, None], np.r_[x, y][:, None], np.r_[wx, -wy])
    assert g is not None
    np.testing.assert_allclose(energy_line(x, wx, y, wy)[1], g[:, 0], atol=1e-13)
    assert np.isnan(energy_line(np.array([np.nan, 0.0]), np.array([0.5, 0.5]), y, wy)[0])
