"""The fused critic kernel against dense numpy, finite differences and itself on other thread counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from measureflow.kernels import neurons

Array = NDArray[Any]
TOLERANCE = {np.float64: 1e-13, np.float32: 5e-6}


def problem(n: int, h: int, d: int, dtype: Any = np.float64, seed: int = 0) -> tuple[Array, Array, Array, Array]:
    """Points, signed coefficients, atoms and unequal weights."""
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(h, d + 2))
    atoms[:, 1:-1] /= np.sqrt(d)
    weights = rng.uniform(0.5, 1.5, size=h)
    arrays = rng.normal(size=(n, d)), rng.normal(size=n), atoms, weights / weights.sum()
    x, q, theta, v = (a.astype(dtype) for a in arrays)
    return x, q, theta, v


def dense(x: Array, q: Array, atoms: Array, v: Array, activation: str) -> tuple[Array, Array, Array]:
    """Evaluate the definitions in float64 with N x H matrices."""
    x, q, atoms, v = (np.asarray(a, np.float64) for a in (x, q, atoms, v))
    a, w, b = atoms[:, 0], atoms[:, 1:-1], atoms[:, -1]
    z = x @ w.T + b
    t, s = (np.tanh(z), 1 - np.tanh(z) ** 2) if activation == "tanh" else (np.maximum(z, 0), (z > 0) * 1.0)
    in_atoms = np.column_stack([q @ t, a[:, None] * (s.T @ (q[:, None] * x)), a * (q @ s)])
    return t @ (v * a), s @ ((v * a)[:, None] * w), in_atoms


def assert_close(got: tuple[Array | None, ...], wanted: tuple[Array, ...], tolerance: float) -> None:
    """Compare arrays relative to the largest entry."""
    for g, e in zip(got, wanted, strict=True):
        assert g is not None and g.shape == e.shape
        assert np.abs(g - e).max() <= tolerance * np.abs(e).max()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("d", [1, 2, 3, 8, 9, 64])
def test_equals_dense_numpy(d: int, dtype: Any, activation: str) -> None:
    args = problem(611, 1030, d, dtype)
    got = neurons.evaluate(*args, activation)
    assert all(g is not None and g.dtype == dtype for g in got)
    assert_close(got, dense(*args, activation), TOLERANCE[dtype])


@pytest.mark.parametrize("d", [2, 9])
def test_the_gradients_left_out_do_not_change_the_others(d: int) -> None:
    args = problem(70, 33, d)
    values, in_points, in_atoms = neurons.evaluate(*args, "tanh")
    for points in (True, False):
        for atoms in (True, False):
            got = neurons.evaluate(*args, "tanh", want_points=points, want_atoms=atoms)
            assert (got[1] is None, got[2] is None) == (not points, not atoms)
            np.testing.assert_allclose(got[0], values, rtol=0, atol=1e-15)
            if points:
                np.testing.assert_allclose(got[1], in_points, rtol=0, atol=1e-15)
            if atoms:
                np.testing.assert_allclose(got[2], in_atoms, rtol=0, atol=1e-13)


@pytest.mark.parametrize("d", [1, 2, 3, 8])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_gradients_are_derivatives(d: int, activation: str) -> None:
    x, q, atoms, v = problem(9, 7, d, seed=5)
    _, in_points, in_atoms = neurons.evaluate(x, q, atoms, v, activation)
    assert in_points is not None and in_atoms is not None
    step = 1e-6

    def values(points: Array, theta: Array) -> Array:
        return neurons.evaluate(points, q, theta, v, activation, want_atoms=False)[0]

    for k in range(d):
        e = step * np.eye(d)[k]
        slope = (values(x + e, atoms) - values(x - e, atoms)) / (2 * step)
        np.testing.assert_allclose(in_points[:, k], slope, atol=1e-8)
    for j in range(len(v)):
        for k in range(d + 2):
            e = np.zeros_like(atoms)
            e[j, k] = step
            slope = q @ (values(x, atoms + e) - values(x, atoms - e)) / (2 * step)
            assert v[j] * in_atoms[j, k] == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize(("n", "d", "dtype"), [(5001, 2, np.float64), (5001, 3, np.float32), (1501, 64, np.float64)])
def test_same_bits_on_any_number_of_threads(n: int, d: int, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    args = problem(n, 300, d, dtype)
    results = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(neurons, "_threads", lambda *work, threads=threads: threads)
        results.append(neurons.evaluate(*args, "tanh"))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a is not None and b is not None and a.tobytes() == b.tobytes()


def test_threads_only_for_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neurons.numba, "get_num_threads", lambda: 2)
    assert neurons._threads(10_000, 2, 8) == 1
    assert neurons._threads(100_000_000, 2, 8) == 2


@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize(("n", "h"), [(1, 1), (1, 20), (6, 1), (257, 513)])
def test_edge_sizes(n: int, h: int, d: int) -> None:
    args = problem(n, h, d, seed=2)
    assert_close(neurons.evaluate(*args, "tanh"), dense(*args, "tanh"), 1e-13)


@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_nan_in_nan_out(d: int, activation: str) -> None:
    x, q, atoms, v = problem(7, 5, d)
    x[3, 0] = np.nan
    values, in_points, in_atoms = neurons.evaluate(x, q, atoms, v, activation)
    assert in_points is not None and in_atoms is not None
    assert np.isnan(values).tolist() == [i == 3 for i in range(7)]
    assert np.isnan(in_points).all(axis=1).tolist() == np.isnan(in_points).any(axis=1).tolist()
    assert np.isnan(in_points[3]).all() and np.isnan(in_atoms).all()

    x, q, atoms, v = problem(7, 5, d)
    q[2] = atoms[1, 1] = np.nan
    values, in_points, in_atoms = neurons.evaluate(x, q, atoms, v, activation)
    assert in_points is not None and in_atoms is not None
    assert np.isnan(values).all() and np.isnan(in_points).all() and np.isnan(in_atoms).all()


def test_relu_has_slope_zero_at_zero_and_saturated_tanh_is_finite() -> None:
    atoms, one = np.array([[1.0, 1.0, 0.0]]), np.ones(1)
    got = neurons.evaluate(np.zeros((1, 1)), one, atoms, one, "relu")
    assert all(g is not None and not g.any() for g in got)
    values, in_points, _ = neurons.evaluate(np.array([[1e300]]), one, atoms, one, "tanh")
    assert in_points is not None and values[0] == 1.0 and in_points[0, 0] == 0.0


def test_equal_halves_of_an_atom_are_one_atom() -> None:
    x, q, atoms, v = problem(50, 20, 2)
    once = neurons.evaluate(x, q, atoms, v, "tanh")
    twice = neurons.evaluate(x, q, np.vstack([atoms, atoms]), np.concatenate([v, v]) / 2, "tanh")
    assert once[2] is not None and twice[2] is not None
    np.testing.assert_allclose(twice[0], once[0], atol=1e-14)
    np.testing.assert_allclose(twice[2], np.vstack([once[2], once[2]]), atol=1e-13)


def test_layout_and_dtype_of_the_arguments_do_not_matter() -> None:
    x, q, atoms, v = problem(40, 12, 3)
    wanted = neurons.evaluate(x, q, atoms, v, "tanh")
    got = neurons.evaluate(np.asfortranarray(x), q.tolist(), np.repeat(atoms, 2, axis=0)[::2], v, "tanh")  # type: ignore[arg-type]
    for a, b in zip(wanted, got, strict=True):
        np.testing.assert_array_equal(a, b)
    assert neurons.evaluate(np.ones((2, 1), int), np.ones(2), atoms[:, :3], v, "relu")[0].dtype == np.float64


def test_bad_arguments_are_named() -> None:
    x, q, atoms, v = problem(4, 3, 2)
    with pytest.raises(ValueError, match="activation must be one of .*'tanh', 'relu'.*'sine'"):
        neurons.evaluate(x, q, atoms, v, "sine")
    for bad in ((x[:, :1], q, atoms, v), (x, q[:2], atoms, v), (x, q, atoms, v[:2])):
        with pytest.raises(ValueError, match="shapes must be"):
            neurons.evaluate(*bad, "tanh")
