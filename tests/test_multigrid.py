"""The multigrid kernel for (diag(a) - div(k grad)) u = f: exact modes, odd sizes, walls, glued sides, holes, anisotropy."""

from __future__ import annotations

import numpy as np
import pytest

from measureflow.kernels import springs
from measureflow.proximal.elliptic import Elliptic
from measureflow.proximal.medium import Medium

SHAPES = [(17,), (64,), (32, 32), (31, 45), (1, 40), (9, 10, 12), (7, 1, 9)]


def faces(shape: tuple[int, ...], periodic: bool = False, spacing: tuple[float, ...] | None = None, free: object = None) -> list:
    h = spacing or (1.0,) * len(shape)
    open_ = np.ones(shape, dtype=bool) if free is None else np.asarray(free)
    none = np.empty(0)
    return Medium(h, (periodic,) * len(shape), none, none, np.zeros(shape), open_).faces


def dense(operator: Elliptic) -> np.ndarray:
    units = np.eye(int(np.prod(operator.shape)))
    return np.array([operator.apply(unit.reshape(operator.shape)).ravel() for unit in units]).T


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("periodic", [False, True])
def test_solutions_solve_the_system(shape: tuple[int, ...], periodic: bool) -> None:
    rng = np.random.default_rng(0)
    rough = [k * np.exp(rng.normal(size=shape)) for k in faces(shape, periodic)]
    operator = Elliptic(0.01 * rng.random(shape) + 1e-3, rough)
    f = rng.normal(size=shape)
    u, residual, count = operator.solve(f, 1e-11, 200)
    assert residual <= 1e-11 and count < 60
    assert np.max(np.abs(operator.apply(u) - f)) < 1e-9


@pytest.mark.parametrize("periodic", [False, True])
def test_the_operator_and_its_cycle_are_symmetric(periodic: bool) -> None:
    """Conjugate gradients need both."""
    shape = (9, 11)
    rng = np.random.default_rng(1)
    operator = Elliptic(rng.random(shape), [k * rng.random(shape) for k in faces(shape, periodic)])
    matrix = dense(operator)
    cycle = np.array([operator.cycle(unit.reshape(shape)).ravel() for unit in np.eye(99)])
    assert np.allclose(matrix, matrix.T, atol=1e-14) and np.allclose(cycle, cycle.T, atol=1e-13)
    assert np.linalg.eigvalsh(cycle).min() > 0.0
    assert np.linalg.eigvals(cycle @ matrix).real.max() < 2.5


@pytest.mark.parametrize("n", [24, 25])
def test_modes_of_the_box_are_exact(n: int) -> None:
    """On n cells between walls cos(pi k x) is an eigenvector, of eigenvalue (2 sin(pi k / 2n) / h)^2."""
    x, h = (np.arange(n) + 0.5) / n, 1.0 / n
    mode = np.cos(2.0 * np.pi * x)[:, None] * np.cos(3.0 * np.pi * x)[None, :]
    value = sum((2.0 * np.sin(np.pi * k / (2 * n)) / h) ** 2 for k in (2, 3))
    u, _, _ = Elliptic(np.full((n, n), 5.0), faces((n, n), spacing=(h, h))).solve(mode, 1e-13)
    assert np.max(np.abs(u - mode / (5.0 + value))) < 1e-12


@pytest.mark.parametrize("shape", [(40,), (24, 33), (8, 9, 10)])
@pytest.mark.parametrize("periodic", [False, True])
def test_the_singular_system_has_the_solution_of_mean_zero(shape: tuple[int, ...], periodic: bool) -> None:
    f = np.random.default_rng(2).normal(size=shape)
    f -= f.mean()
    operator = Elliptic(np.zeros(shape), faces(shape, periodic))
    u, residual, _ = operator.solve(f, 1e-10, 100)
    assert residual <= 1e-10 and abs(u.mean()) < 1e-13
    assert np.max(np.abs(operator.apply(u) - f)) < 1e-8


def test_cells_that_take_no_part_stay_out() -> None:
    free = np.ones((20, 18), dtype=bool)
    free[7:10, :13] = False
    rng = np.random.default_rng(3)
    f = np.where(free, rng.normal(size=free.shape), 0.0)
    f[free] -= f[free].mean()
    operator = Elliptic(np.zeros(free.shape), faces(free.shape, free=free))
    u, residual, _ = operator.solve(f, 1e-11)
    assert residual <= 1e-11 and np.all(u[~free] == 0.0) and abs(u.sum()) < 1e-9
    matrix = dense(operator)
    assert np.allclose(u.ravel(), np.linalg.lstsq(matrix, f.ravel(), rcond=1e-10)[0], atol=1e-9)


def test_flat_cells_do_not_slow_it_down() -> None:
    """Cells ten times as long as wide: only the strong axis is coarsened until both are alike."""
    f = np.random.default_rng(4).normal(size=(48, 48))
    _, _, count = Elliptic(np.full((48, 48), 1e-3), faces((48, 48), spacing=(1.0, 0.1))).solve(f, 1e-8)
    assert count <= 20


def test_iterations_do_not_grow_with_the_size() -> None:
    rng = np.random.default_rng(5)
    counts = [Elliptic(np.full((n, n), 1e-6), faces((n, n))).solve(rng.normal(size=(n, n)), 1e-8)[2] for n in (16, 64, 128)]
    assert max(counts) <= 12


def test_the_same_bits_on_every_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    for shape in ((150, 130), (71, 40), (24, 40, 16)):
        a, f = rng.random(shape), rng.normal(size=shape)
        with monkeypatch.context() as patch:
            alone = Elliptic(a, faces(shape, shape[0] % 2 == 0)).solve(f, 1e-6, 2)[0]
            patch.setattr(springs, "PARALLEL_CELLS", 1)
            patch.setattr(springs.numba, "get_num_threads", lambda: 2)
            together = Elliptic(a, faces(shape, shape[0] % 2 == 0)).solve(f, 1e-6, 2)[0]
        assert alone.tobytes() == together.tobytes()


@pytest.mark.parametrize("shape", [(12, 20, 1), (1, 12, 20), (12, 1, 20), (16, 1, 1), (1, 1, 1)])
def test_axes_of_one_cell_change_nothing(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(7)
    long = tuple(n for n in shape if n > 1) or (1,)
    a, stiff, f = rng.random(shape) + 0.1, [rng.random(shape) for _ in shape], rng.normal(size=shape)
    held = [k.reshape(long) for k, n in zip(stiff, shape, strict=True) if n > 1] or [np.zeros(1)]
    flat, solid = Elliptic(a.reshape(long), held), Elliptic(a, stiff)
    assert np.array_equal(flat.cycle(f.reshape(long)), solid.cycle(f).reshape(long))
    assert np.array_equal(flat.apply(f.reshape(long)), solid.apply(f).reshape(long))


@pytest.mark.parametrize("shape", [(50,), (20, 33), (8, 9, 10)])
def test_new_coefficients_are_those_of_a_new_operator(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(8)
    a, f = rng.random(shape), rng.normal(size=shape)
    first, second = ([k * rng.random(shape) for k in faces(shape, True)] for _ in range(2))
    operator = Elliptic(np.ones(shape), first)
    operator.ground(a)
    assert np.array_equal(operator.cycle(f), Elliptic(a, first).cycle(f))
    operator.update(a, second)
    assert np.array_equal(operator.cycle(f), Elliptic(a, second).cycle(f))
    operator.update(a, [k * 10.0 ** -(3 * axis) for axis, k in enumerate(second)])  # other axes are strong, and need more room
    again = Elliptic(a, [k * 10.0 ** -(3 * axis) for axis, k in enumerate(second)])
    assert np.array_equal(operator.cycle(f), again.cycle(f))


@pytest.mark.parametrize("shape", [(3, 40), (7, 21), (9, 8), (10, 6), (5, 6, 7), (4, 12, 3)])
@pytest.mark.parametrize("periodic", [False, True])
def test_cycles_are_symmetric_and_positive_on_all_shapes(shape: tuple[int, ...], periodic: bool) -> None:
    """Few and many layers, odd and even, glued or not: each has its own way through the cells."""
    rng = np.random.default_rng(9)
    operator = Elliptic(0.1 * rng.random(shape), [k * rng.random(shape) for k in faces(shape, periodic)])
    size = int(np.prod(shape))
    cycle = np.array([operator.cycle(unit.reshape(shape)).ravel() for unit in np.eye(size)])
    assert np.allclose(cycle, cycle.T, atol=1e-12 * cycle.max())
    values = np.linalg.eigvals(cycle @ dense(operator)).real
    assert 0.05 < values.min() and values.max() < 2.5


def test_arrays_may_be_read_only_or_strided() -> None:
    rng = np.random.default_rng(12)
    a, k, f = rng.random((18, 14)), rng.random((2, 18, 14)), rng.normal(size=(18, 14))
    expected = Elliptic(a, list(k)).cycle(f)
    frozen = [np.asfortranarray(z) for z in (a, *k, f)]
    for z in frozen:
        z.flags.writeable = False
    assert np.array_equal(Elliptic(frozen[0], frozen[1:3]).cycle(frozen[3]), expected)


def test_a_cycle_on_a_few_cells_is_exact() -> None:
    rng = np.random.default_rng(10)
    f = rng.normal(size=(4, 4))
    operator = Elliptic(rng.random((4, 4)), [rng.random((4, 4)) for _ in range(2)])
    assert np.allclose(operator.apply(operator.cycle(f)), f, atol=1e-12)
    f -= f.mean()
    operator.ground(np.zeros((4, 4)))
    assert np.allclose(operator.apply(operator.cycle(f)), f, atol=1e-12)


def test_cells_held_by_next_to_nothing_stay_where_they_are() -> None:
    a = np.ones((16, 16))
    a[3, 5], a[10] = 1e-200, 0.0
    u = Elliptic(a, [np.zeros((16, 16)), np.zeros((16, 16))]).cycle(np.ones((16, 16)))
    assert u[3, 5] == 0.0 and np.all(u[10] == 0.0) and np.all(np.isfinite(u)) and u[0, 0] == 1.0


@pytest.mark.parametrize("size", [100, 1 << 14, 50000])
def test_inner_products_do_not_depend_on_threads(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.random.default_rng(11).normal(size=(2, size))
    alone = springs.dot(x, y)
    assert abs(alone - float(np.dot(x, y))) < 1e-10
    monkeypatch.setattr(springs, "PARALLEL_CELLS", 1)
    monkeypatch.setattr(springs.numba, "get_num_threads", lambda: 2)
    assert springs.dot(x, y) == alone
