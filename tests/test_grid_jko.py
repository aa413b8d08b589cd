"""Minimizing movements of histograms on grids through the potentials of the nodes: certificates, exact solutions, symmetries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import measureflow as mf
from measureflow import problems
from measureflow.kernels.cell_push import averages, bend, push, stiffness
from measureflow.kernels.ctransform import envelopes, transforms
from measureflow.problems.barenblatt import profile
from measureflow.proximal import Step, Tolerance, solve_proximal
from measureflow.proximal.dual_transport import on_grid

e = mf.energies
W2 = mf.Wasserstein()
TIGHT = Tolerance(1e-13, 200)


def step(energy: Any, x: mf.Histogram, tau: float, tolerance: Tolerance = TIGHT) -> Step:
    """A step, by default with a residual of 3e-6 of the distance moved."""
    done = on_grid(energy, W2, x, tau, tolerance)
    assert done is not None
    return done


def blob(shape: tuple[int, ...], periodic: Any = False, seed: int = 3) -> mf.Histogram:
    """A positive law without symmetry."""
    grid = mf.Grid([(0.0, 1.0)] * len(shape), shape, periodic)
    waves = np.random.default_rng(seed).normal(size=(4, len(shape)))
    return mf.Histogram.from_density(lambda x: 1.3 + np.mean(np.sin(2.0 * np.pi * (x @ np.rint(2.0 * waves).T + 0.3)), -1), grid)


def island(shape: tuple[int, ...]) -> mf.Histogram:
    """A law with empty cells around it."""
    centre = np.array([0.45, 0.55, 0.5])[: len(shape)]
    grid = mf.Grid([(0.0, 1.0)] * len(shape), shape)
    return mf.Histogram.from_density(lambda x: np.maximum(0.06 - np.sum((x - centre) ** 2, -1), 0.0), grid)


@pytest.mark.parametrize("wrap", [0, 4])
def test_transforms_average_the_least_parabola(wrap: int) -> None:
    phi = np.random.default_rng(1).normal(size=(3, 7))
    hull, ends, counts = np.empty((3, 7 + 2 * wrap), np.int32), np.empty((3, 7 + 2 * wrap)), np.empty(3, np.int64)
    out = np.empty((3, 7))
    envelopes(phi, wrap, hull, ends, counts)
    transforms(phi, wrap, hull, ends, out)
    inside = (np.arange(4000) + 0.5) / 4000 - 0.5
    nodes = np.arange(-wrap, 7 + wrap)
    x = np.arange(7)[:, None, None] + inside[None, :, None]
    costs = (x - nodes) ** 2 / 2.0 + phi[:, None, None, nodes % 7]
    assert_allclose(out, costs.min(axis=-1).mean(axis=-1) - 1.0 / 24.0, atol=1e-6)


@pytest.mark.parametrize("wrap", [0, 4])
def test_push_forward_and_stiffness_are_derivatives(wrap: int) -> None:
    rng = np.random.default_rng(2)
    phi, m, v = rng.normal(size=(3, 5, 7))

    def transformed(phi: np.ndarray) -> tuple[np.ndarray, Any]:
        hull, ends, counts = np.empty((5, 7 + 2 * wrap), np.int32), np.empty((5, 7 + 2 * wrap)), np.empty(5, np.int64)
        out = np.empty((5, 7))
        envelopes(phi, wrap, hull, ends, counts)
        transforms(phi, wrap, hull, ends, out)
        return out, (wrap, hull, ends, counts)

    def pushed(phi: np.ndarray) -> np.ndarray:
        out = np.empty((5, 7))
        push(m, *transformed(phi)[1][:3], out)
        return out

    up, down = phi + 1e-6 * v, phi - 1e-6 * v
    slope = np.sum(m * (transformed(up)[0] - transformed(down)[0])) / 2e-6
    assert_allclose(np.sum(pushed(phi) * v), slope, rtol=1e-7)
    _, (_, hull, ends, counts) = transformed(phi)
    mean, faces, weights, bent = np.empty((5, 7)), np.empty((5, 7)), np.zeros(ends.shape), np.zeros((5, 7))
    averages(v, wrap, hull, ends, mean)
    assert_allclose(np.sum(m * mean), slope, rtol=1e-7)
    stiffness(m, wrap, hull, ends, counts, faces, weights)
    bend(v, wrap, hull, counts, weights, 1.0, bent)
    assert_allclose(bent, -(pushed(up) - pushed(down)) / 2e-6, atol=1e-7)


def well(x: np.ndarray) -> np.ndarray:
    """A potential."""
    return np.asarray(np.sum((x - 0.3) ** 2, axis=-1))


ENERGIES = {
    "entropy": e.Entropy(),
    "porous medium": e.PowerEntropy(2.0),
    "m = 4": 0.2 * e.PowerEntropy(4.0),
    "fast diffusion": e.PowerEntropy(0.7),
    "sum": 0.5 * e.Entropy(2.0) + e.PowerEntropy(3.0) + 2.0 * e.Potential(well),
    "entropy and fast diffusion": e.Entropy() + e.PowerEntropy(0.6),
    "drift": e.PowerEntropy(2.0) + 5.0 * e.Quadratic(1.0, linear=np.ones(2)),
}
LAWS = {"positive": blob((16, 12)), "glued": blob((16, 12), (True, False)), "island": island((16, 16))}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("energy", ENERGIES)
def test_steps_keep_mass_and_sign_and_are_certified(energy: str, law: str) -> None:
    x, f = LAWS[law], ENERGIES[energy]
    hard = law == "island" and ("entropy" in energy or "fast" in energy or energy == "sum")
    tau, tight = (2e-2, Tolerance()) if hard else (2e-3, TIGHT)
    done = step(f, x, tau, tight)
    masses = done.state.coordinates
    assert masses.min() >= 0.0
    assert abs(masses.sum() - 1.0) <= 1e-12
    assert 0.0 <= done.residual <= max(1e-7, 3.01e7 * tight.residual * done.distance)
    assert f.value(done.state) + done.distance**2 / (2.0 * tau) < f.value(x)
    rough = step(f, x, tau, Tolerance())
    functional = [f.value(s.state) + s.distance**2 / (2.0 * tau) for s in (done, rough)]
    assert functional[0] <= functional[1] + 1e-12 <= functional[0] + rough.residual**2 / (2.0 * tau) + 2e-12


@pytest.mark.parametrize("shape", [(12, 8, 6), (7, 9, 5), (1, 12, 1)])
def test_three_dimensions(shape: tuple[int, ...]) -> None:
    x = blob(shape)
    done = step(e.Entropy(), x, 1e-3)
    assert abs(done.state.coordinates.sum() - 1.0) <= 1e-12
    assert e.Entropy().value(done.state) < e.Entropy().value(x)


def test_solve_in_two_dimensions() -> None:
    sol = mf.solve(e.PowerEntropy(2.0), island((20, 20)), 2e-3, 5e-4, scheme="jko")
    assert np.all(np.diff(sol.energies) < 0.0)
    assert all(abs(x.masses.sum() - 1.0) < 1e-12 and x.masses.min() >= 0.0 for x in sol.states)


@pytest.mark.parametrize("energy", [e.Entropy(), e.PowerEntropy(2.0)])
def test_data_of_one_variable_agree_with_the_line(energy: Any) -> None:
    line = mf.Grid([(0.0, 1.0)], 128)
    x = mf.Histogram.from_density(lambda z: 1.0 + 0.8 * np.cos(np.pi * z[..., 0]), line)
    exact = mf.proximal(energy, W2, x, 0.02).coordinates
    for shape in ((128, 1), (128, 4), (4, 128)):
        spread = np.broadcast_to(x.masses[:, None] / min(shape), (128, min(shape)))
        plane = mf.Histogram(spread if shape[0] == 128 else spread.T, mf.Grid([(0.0, 1.0)] * 2, shape))
        found = step(energy, plane, 0.02).state.coordinates
        assert_allclose(found.sum(axis=0 if shape[0] == 4 else 1), exact, rtol=2e-3)


def test_a_glued_line_agrees_with_its_mirrored_half() -> None:
    half = mf.Histogram.from_density(lambda z: 1.0 + 0.8 * np.cos(np.pi * z[..., 0]), mf.Grid([(0.0, 1.0)], 64))
    both = mf.Histogram(np.concatenate([half.masses, half.masses[::-1]]) / 2.0, mf.Grid([(0.0, 2.0)], 128, True))
    found = step(e.Entropy(), both, 0.02).state.coordinates
    assert_allclose(2.0 * found[:64], mf.proximal(e.Entropy(), W2, half, 0.02).coordinates, rtol=5e-3)


def test_a_quadratic_program_finds_the_same_step() -> None:
    clarabel = pytest.importorskip("clarabel")
    from scipy import sparse

    n, s, tau = 4, 6, 0.05
    x = blob((n, n))
    fine = (np.stack(np.meshgrid(*[(np.arange(n * s) + 0.5) / (n * s)] * 2, indexing="ij"), -1)).reshape(-1, 2)
    mass = np.repeat(np.repeat(x.masses, s, 0), s, 1).ravel() / s**2
    cost = np.sum((fine[:, None] - x.grid.points[None]) ** 2, -1) / 2.0
    spread = (1.0 - 1.0 / s**2) / 12.0 / n**2  # of the sub-samples of a cell, over both axes, halved
    sources, nodes = cost.shape
    out = sparse.kron(np.ones((1, sources)), sparse.eye(nodes))
    quadratic = sparse.block_diag([sparse.csc_matrix((sources * nodes,) * 2), 2.0 * tau * n**2 * sparse.eye(nodes)], format="csc")
    equal = sparse.bmat([[sparse.kron(sparse.eye(sources), np.ones((1, nodes))), None], [out, -sparse.eye(nodes)]])
    rows = sparse.vstack([equal, -sparse.eye(sources * nodes, sources * nodes + nodes)], format="csc")
    cones = [clarabel.ZeroConeT(sources + nodes), clarabel.NonnegativeConeT(sources * nodes)]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    right = np.concatenate([mass, np.zeros(nodes + sources * nodes)])
    linear = np.concatenate([cost.ravel(), np.zeros(nodes)])
    solved = clarabel.DefaultSolver(quadratic, linear, rows, right, cones, settings).solve()
    found = step(e.PowerEntropy(2.0), x, tau)
    value = tau * e.PowerEntropy(2.0).value(found.state) + found.distance**2 / 2.0
    assert_allclose(value, solved.obj_val - spread, rtol=5e-3)
    assert np.abs(found.state.coordinates.ravel() - np.array(solved.x[-nodes:])).sum() < 0.02


@pytest.mark.parametrize(("dim", "sizes"), [(2, (16, 32, 64)), (3, (8, 16))])
def test_barenblatt_iterates_to_second_order_in_the_cell(dim: int, sizes: tuple[int, ...]) -> None:
    errors = []
    for n in sizes:
        p = problems.get("PME-B", n=n, dim=dim)
        tau = (p.t_span[1] - p.t_span[0]) / 4.0
        exact = p.exact_step["jko"](p.initial, tau)
        errors.append(np.abs(step(p.problem, p.initial, tau, Tolerance()).state.coordinates - exact.masses).sum())
    assert np.all(np.array(errors[1:]) < 0.4 * np.array(errors[:-1]))
    assert errors[-1] < {2: 3e-3, 3: 6e-2}[dim]


def test_the_exact_iterate_keeps_its_radius_relation() -> None:
    p = problems.get("PME-B", n=48, m=3.0)
    x = profile(0.25, p.initial.grid, 3.0)
    t = 0.25 ** p.constants["p"] / p.constants["K"]
    assert_allclose(p.exact(t).masses, x.masses, atol=1e-12)
    tiny = p.exact_step["jko"](x, 1e-3 * t)
    assert_allclose(tiny.masses, p.exact(1.001 * t).masses, atol=1e-4)


def test_heat_flow_of_a_gaussian() -> None:
    grid = mf.Grid([(-5.0, 5.0), (-4.0, 4.0)], (64, 64))
    s = np.array([1.0, 0.7])
    x = mf.Histogram.from_density(lambda z: np.exp(-0.5 * np.sum((z / s) ** 2, -1)), grid)
    tau = 0.3
    found = step(e.Entropy(), x, tau).state
    widths = 0.5 * (s + np.sqrt(s**2 + 4.0 * tau))
    exact = mf.Histogram.from_density(lambda z: np.exp(-0.5 * np.sum((z / widths) ** 2, -1)), grid)
    assert np.abs(found.coordinates - exact.masses).sum() < 5e-3


@pytest.mark.parametrize("target", ["gaussian", "histogram"])
def test_targets_stay(target: str) -> None:
    grid = mf.Grid([(-4.0, 4.0)] * 2, (24, 24))
    law = mf.Gaussian([0.3, -0.2], [[1.0, 0.2], [0.2, 0.6]])
    density = mf.Histogram.from_density(
        lambda z: np.exp(-0.5 * np.einsum("...i,ij,...j", z - law.mean, np.linalg.inv(law.cov), z - law.mean)), grid
    )
    kl = e.KL(law if target == "gaussian" else density)
    done = step(kl, density, 0.5)
    assert_allclose(done.state.coordinates, density.masses, atol=1e-9)
    assert done.distance < 1e-4


def test_steps_commute_with_flips_and_nearly_with_the_order_of_axes() -> None:
    x, f = blob((24, 32)), e.PowerEntropy(2.0)
    found = step(f, x, 5e-3).state.coordinates
    flipped = step(f, x.replace(x.masses[::-1, ::-1].copy()), 5e-3).state.coordinates
    assert np.abs(flipped[::-1, ::-1] - found).sum() < 1e-4
    other = mf.Histogram(x.masses.T, mf.Grid([(0.0, 1.0)] * 2, (32, 24)))
    assert np.abs(step(f, other, 5e-3).state.coordinates.T - found).sum() < 3e-3


def test_steps_commute_with_shifts_on_a_torus() -> None:
    x, f = blob((16, 24), True), e.Entropy()
    found = step(f, x, 5e-3).state.coordinates
    shifted = step(f, x.replace(np.roll(x.masses, (5, 3), (0, 1))), 5e-3).state.coordinates
    assert np.abs(np.roll(found, (5, 3), (0, 1)) - shifted).sum() < 1e-4


def test_a_potential_alone_moves_by_its_proximal_map() -> None:
    x = island((64, 64))
    done = solve_proximal(e.Quadratic(4.0, centre=[0.5, 0.5]), W2, x, 0.5, TIGHT)
    assert done.iterations == 0
    assert done.residual == 0.0
    assert_allclose(done.state.mean(), 0.5 + (x.mean() - 0.5) / 3.0, atol=1e-3)


def test_nothing_to_do() -> None:
    x = island((8, 8))
    assert np.array_equal(solve_proximal(0.0 * e.Entropy(), W2, x, 1.0, TIGHT).state.coordinates, x.masses)
    assert_allclose(step(1e-12 * e.Entropy(), blob((8, 8)), 1e-3).state.coordinates, blob((8, 8)).masses, atol=1e-10)
    single = mf.Histogram([[1.0]], mf.Grid([(0.0, 1.0)] * 2, (1, 1)))
    assert step(e.Entropy(), single, 1.0).state.coordinates == 1.0


def test_steps_repeat_their_bits() -> None:
    x = blob((16, 16))
    first, second = (step(e.Entropy(), x, 1e-2).state.coordinates for _ in range(2))
    assert np.array_equal(first, second)


def test_what_is_not_covered() -> None:
    x = blob((6, 6))
    with pytest.raises(TypeError, match="sums of Entropy, KL, one PowerEntropy, Potential and Quadratic"):
        step(-1.0 * e.Entropy(), x, 0.1)
    with pytest.raises(TypeError, match="a KL target may have no empty cells"):
        step(e.KL(island((6, 6))), x, 0.1)
    with pytest.raises(mf.ConvergenceError, match="did not reach its tolerance"):
        step(e.Entropy(), x, 10.0, Tolerance(1e-13, 1))
