"""Exact solutions: printed numbers, exact steps, orders of convergence, invariants, and the theorems of theory.md."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

import measureflow as mf
from measureflow import problems
from measureflow.problems import SCHEMES, Printed, Problem, distance_between

CLOSED = 1e-10
"""Bound on the distance of a closed-form step from the exact one."""

QUANTILES = mf.Quantiles(np.linspace(-1.5, 2.0, 12))
POINTS = mf.Particles(np.random.default_rng(3).normal(size=(7, 1)), np.arange(1, 8) / 28.0)
PLANE = mf.Particles(np.random.default_rng(4).normal(size=(6, 2)))

VARIANTS = [
    *[(label, {}) for label in problems.names()],
    *[(label, {"initial": state}) for label in ("E1", "E2", "E3", "E4") for state in (QUANTILES, POINTS)],
    *[("E1", {"initial": PLANE, "a": a}) for a in (3.0, -0.5)],
    ("S1", {"alpha": 0.3, "mean": -2.0, "deviation": 0.1}),
    ("S2", {"A": np.diag([1.0, 2.0, 5.0]) + 0.3, "cov": np.diag([2.0, 0.1, 1.0]) - 0.05}),
    ("S3", {"deviation": 0.2, "temperature": 0.5}),
    ("S3", {"deviation": 0.7, "dim": 3}),
    ("S6", {"initial": QUANTILES}),
    ("S6", {"initial": POINTS}),
    ("S9", {"x0": 2.0, "n": 50}),
    *[("S13", {"kind": kind, "n": 30}) for kind in ("particles", "gaussian")],
    ("C1", {"ratio": 1.5, "n": 40}),
    *[("C1", {"kind": "histogram", "dim": dim, "n": 10}) for dim in (1, 2)],
    ("C2", {"ratio": 3.0, "speed": 0.7, "n": 40}),
    ("C2", {"kind": "histogram", "n": 16}),
    ("G1", {"omega": -2.0, "speeds": (1.0, 4.0)}),
    ("G1", {"laws": True, "speeds": (0.5, 1.0)}),
    ("G2", {"P": [[1.0, 0.2], [0.2, 0.5]], "C": [[1.0], [-2.0]], "Q": 0.7, "start": ([1.0, -1.0], 0.5)}),
    *[("G3", {"r2": r2}) for r2 in (0.5, 2.0)],
    *[("G15", {"eta": eta, "beta": beta}) for eta, beta in ((2.0, 0.5), (1.0, 1.4), (6.0, 0.5))],
    ("G15", {"modes": 5}),
]


def name_of(variant):
    label, parameters = variant
    return label + "".join(f"-{value}" for value in parameters.values() if isinstance(value, (int, float, str, tuple)))


@pytest.fixture(params=VARIANTS, ids=name_of)
def problem(request) -> Problem:
    label, parameters = request.param
    return problems.get(label, **parameters)


def order(taus, errors):
    assert len(taus) >= 4
    return float(np.polyfit(np.log(taus), np.log(errors), 1)[0])


# the room ---------------------------------------------------------------------------------------------------------


def test_labels_are_those_of_theory():
    assert problems.names()[:2] == ("E1", "E2")
    assert all(problems.get(label).label == label for label in problems.names())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: problems.get("S99"), "label must be one of"),
        (lambda: problems.get(3.5), "label must be one of"),
        (lambda: problems.get("S1", alpha=-1.0), "alpha must be a finite number > 0"),
        (lambda: problems.get("S1", deviation=0.0), "deviation must be"),
        (lambda: problems.get("S3", temperature=-1.0), "temperature must be"),
        (lambda: problems.get("S3", n=20, dim=2), "dim must be an integer >= 1 and <= 1"),
        (lambda: problems.get("S3 waves", dim=4), "dim must be an integer"),
        (lambda: problems.get("S3 waves", waves=17), "waves must be an integer"),
        (lambda: problems.get("S3 waves", amplitude=1.5), "amplitude must be"),
        (lambda: problems.get("S3 waves", periodic=1), "periodic must be"),
        (lambda: problems.get("S1", n=1), "n must be an integer >= 2"),
        (lambda: problems.get("S13", kind="field"), "kind must be one of"),
        (lambda: problems.get("E1", initial=3.0), "initial must be a Vector, Particles or Quantiles"),
        (lambda: problems.get("G3", r2=0.0), "r2 must be"),
        (lambda: problems.get("G15", modes=1), "modes must be"),
        (lambda: problems.get("E1").solve(0.1, "euler"), "scheme must be one of"),
        (lambda: problems.get("S1", beta=1.0), "beta"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_error_needs_an_exact_flow():
    p = problems.get("G4")
    with pytest.raises(ValueError, match="no exact flow is known for the problem G4"):
        p.error(p.solve(0.5, "explicit simultaneous", t=1.0))


def test_printed_tolerance_is_half_a_unit_of_the_last_digit():
    printed = Printed("1.40600585", lambda x: x, 0.0)
    assert printed.error(1.406005854) < 0.0 < printed.error(1.406005861)
    assert_allclose(Printed("2.5e-6", lambda x: x, 0.0).tolerance, 0.51e-7)


# exact flows ------------------------------------------------------------------------------------------------------


def test_exact_flow_starts_at_the_initial_state(problem):
    if problem.exact is not None:
        assert problem.distance(problem.exact(problem.t_span[0]), problem.initial) < 1e-12


def test_exact_flow_has_the_semigroup_property_with_its_velocity(problem):
    """The difference quotient of the exact flow is minus the gradient of the energy: an explicit step agrees to O(h^2)."""
    if problem.exact is None or problem.label in ("S9", "S12", "S1n", "F3", "S3 waves", "PME-B", "AGG-B", "AGG-N"):
        return
    if isinstance(problem.initial, mf.Histogram) and problem.label in ("C1", "C2"):
        return
    h, t = 1e-4, 0.37 * problem.t_span[1]
    here, there = problem.exact(t), problem.exact(t + h)
    scheme = mf.Explicit()
    sol = mf.solve(problem.problem, here, (t, t + h), h, scheme=scheme, speeds=problem.speeds, metric=problem.metrics)
    moved = problem.distance(here, there)
    assert problem.distance(sol.states[-1], there) <= 1e-3 * moved + 3.0 * h**2


def test_exact_flow_conserves_its_invariants(problem):
    if problem.exact is None:
        return
    for name, invariant in problem.invariants.items():
        values = [invariant(problem.exact(t)) for t in np.linspace(*problem.t_span, 7)]
        assert np.ptp(values) < 1e-12 * max(1.0, abs(values[0])), name


PRINTED = [(label, parameters, name) for label, parameters in VARIANTS for name in problems.get(label, **parameters).reference]


@pytest.mark.parametrize(("label", "parameters", "name"), PRINTED)
def test_printed_numbers_of_theory(label, parameters, name):
    p = problems.get(label, **parameters)
    printed = p.reference[name]
    if printed.scheme is None:
        assert printed.error(p.exact(printed.t)) <= 0.0
    else:
        assert printed.error(p.solve(printed.tau, printed.scheme, t=printed.t).states[-1]) <= 0.0


def test_every_label_with_printed_numbers_shows_them():
    single = {"E3", "E4", "S1", "S2", "S4", "S5", "S9", "S14", "F2"}
    printed = single | {"G2", "G3", "G4", "G5", "G7", "G8", "G12", "G15", "N1", "N2", "N3"}
    assert {label for label, _, _ in PRINTED} == printed
    assert len(PRINTED) > 30


# exact steps ------------------------------------------------------------------------------------------------------

STEPS = [(label, parameters, scheme) for label, parameters in VARIANTS for scheme in problems.get(label, **parameters).exact_step]


@pytest.mark.parametrize(("label", "parameters", "scheme"), STEPS, ids=lambda value: str(value)[:30])
def test_computed_steps_are_the_exact_ones(label, parameters, scheme):
    if label in ("PME-B", "AGG-B", "AGG-N"):
        return  # exact up to the grid: see test_grid_jko.py and test_interaction_grids.py
    p = problems.get(label, **parameters)
    for tau in (0.01, 0.07):
        sol = p.solve(tau, scheme, t=p.t_span[0] + 3 * tau)
        for k in range(3):
            exact = p.exact_step[scheme](sol.states[k], tau)
            bound = CLOSED + 2.0 * float(np.max(sol.info["residual"][k + 1]))
            assert p.distance(sol.states[k + 1], exact) <= bound


@pytest.mark.parametrize("label", ["E1", "E2", "S1", "S2", "S3", "S9", "S10", "S12", "S13", "G1", "G2"])
def test_closed_forms_are_used_where_there_are_any(label):
    p = problems.get(label)
    sol = p.solve(0.05, "jko", t=0.2)
    assert np.all(sol.info["residual"] == 0.0)
    assert np.all(sol.info["iterations"] == 0)


@pytest.mark.parametrize("label", ["E2", "S9", "S12"])
def test_minimizing_movements_exact_at_their_times(label):
    p = problems.get(label)
    sol = p.solve(0.07)
    assert max(p.error(sol, row) for row in range(len(sol))) < 1e-12


def test_w1_decreases_by_the_mean_distance_travelled():
    p = problems.get("S12")
    sol = p.solve(0.05)
    offset = np.abs(p.initial.values - p.problem.target.values)
    expected = [np.mean(np.maximum(offset - t, 0.0)) for t in sol.t]
    assert_allclose(sol.energies, expected, rtol=0.0, atol=1e-12)
    assert_allclose(sol.energies[0], p.constants["W1(0)"], rtol=1e-14)


def test_energy_distance_before_arrival_is_linear():
    """S9: F = x0 - 4t/3 before x0/2, then x0^3/(12 t^2)."""
    sol = problems.get("S9", n=2000).solve(0.05, t=0.9)
    early, late = sol.t <= 0.5, sol.t >= 0.5
    assert_allclose(sol.energies[early], 1.0 - 4.0 * sol.t[early] / 3.0, atol=1e-6)
    assert_allclose(sol.energies[late], 1.0 / (12.0 * sol.t[late] ** 2), atol=1e-6)


# order of convergence ---------------------------------------------------------------------------------------------

ORDERS = [
    ("E1", {}, "jko"),
    ("E1", {"initial": POINTS}, "explicit"),
    ("E3", {}, "jko"),
    ("E3", {"initial": QUANTILES}, "explicit"),
    ("E4", {}, "jko"),
    ("E4", {}, "explicit"),
    ("S1", {}, "jko"),
    ("S1", {}, "explicit"),
    ("S2", {}, "jko"),
    ("S2", {}, "explicit"),
    ("S3", {}, "jko"),
    ("S3", {"dim": 2}, "jko"),
    ("S4", {"n": 60}, "jko"),
    ("S5", {"n": 60}, "jko"),
    ("S3", {}, "explicit"),
    ("S6", {}, "jko"),
    ("S6", {}, "explicit"),
    ("S10", {}, "jko"),
    ("S10", {}, "explicit"),
    ("S13", {}, "jko"),
    ("S13", {}, "explicit"),
    ("S13", {"kind": "gaussian"}, "jko"),
    ("S13", {"kind": "particles", "n": 10}, "jko"),
    *[
        (label, {"t": 0.7}, prefix + coupling)
        for label in ("G1", "G2", "G15")
        for prefix in ("", "explicit ")
        for coupling in ("simultaneous", "alternating", "implicit")
        if label != "G15" or prefix + coupling != "explicit implicit"
    ],
    *[("G1", {"laws": True, "speeds": (1.0, 2.0)}, name) for name in ("simultaneous", "alternating", "implicit")],
    *[("G3", {"t": 2.0}, name) for name in ("simultaneous", "alternating", "implicit", "explicit simultaneous")],
]


@pytest.mark.parametrize(("label", "parameters", "scheme"), ORDERS, ids=lambda value: str(value)[:30])
def test_first_order_in_tau(label, parameters, scheme):
    p = problems.get(label, **parameters)
    steps = np.array([16, 24, 36, 54]) if "implicit" in scheme else np.array([32, 48, 72, 108])
    taus = (p.t_span[1] - p.t_span[0]) / steps
    errors = [p.error(p.solve(tau, scheme, save_at=10**6)) for tau in taus]
    assert abs(order(taus, errors) - 1.0) <= 0.05, errors


def test_quantiles_follow_the_gaussian_flow():
    """S1, S3: the same flow in another representation, with the same error in tau, for every number of levels."""
    for label in ("S1", "S3"):
        for n in (2, 5, 50, 200):
            p = problems.get(label, n=n)
            assert distance_between(p.solve(0.1).states[-1], _minimized(label, 0.1).to_quantiles(n)) < 1e-9


def _minimized(label, tau):
    return problems.get(label).solve(tau).states[-1]


# linear games: the table of section 6, D7 -------------------------------------------------------------------------


def multipliers(game, start, scheme, tau, speeds=None):
    """Return the eigenvalues of one step on scalar players, from its action on two starting points."""
    columns = []
    for x, y in ((1.0, 0.0), (0.0, 1.0)):
        sol = mf.solve(game, (mf.Vector(x), mf.Vector(y)), tau, tau, scheme=SCHEMES[scheme], speeds=speeds)
        columns.append([sol.states[-1][0].values[0], sol.states[-1][1].values[0]])
    return np.linalg.eigvals(np.array(columns).T)


@pytest.mark.parametrize("kappa", [0.05, 0.1, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("scheme", sorted(problems.get("G1").exact_step))
def test_bilinear_multipliers(scheme, kappa):
    p = problems.get("G1", omega=2.0, speeds=(1.0, 0.25))
    found = multipliers(p.problem, p.initial, scheme, kappa, p.speeds)
    expected = p.factors[scheme](kappa)
    modulus = {
        "simultaneous": np.sqrt(1.0 + kappa**2),
        "alternating": 1.0,
        "symmetric": 1.0,
        "implicit": 1.0 / np.sqrt(1.0 + kappa**2),
        "extragradient": np.sqrt(1.0 - kappa**2 + kappa**4),
        "adjoint": 1.0,
        "vim symmetric": 1.0,
        "vim implicit": 1.0,
        "rk2": np.sqrt(1.0 + kappa**4 / 4.0),
        "rk4": np.sqrt(1.0 - kappa**6 / 72.0 + kappa**8 / 576.0),
    }
    assert_allclose(abs(expected), modulus[scheme.removeprefix("explicit ")], rtol=1e-14)
    assert_allclose(np.abs(found), abs(expected), rtol=1e-12)
    assert_allclose(found[np.argmax(found.imag)], expected, rtol=1e-12)


@pytest.mark.parametrize("kappa", [0.05, 0.1, 0.45, 0.55, 1.0, 1.5])
@pytest.mark.parametrize("scheme", ["optimistic", "explicit optimistic"])
def test_optimistic_steps_are_the_two_step_recurrence(scheme, kappa):
    """z+ = z + i k (2 z - z_before) with z = x + i y; the multiplier of section 6 is its larger root."""
    p = problems.get("G1", start=(1.0, 0.3))
    sol = p.solve(kappa, scheme, t=12 * kappa)
    z = np.array([x.values[0] + 1j * y.values[0] for x, y in sol.states])
    scale = np.abs(z).max()
    assert_allclose(z[1], (1.0 + 1j * kappa) * z[0], rtol=1e-13)
    assert_allclose(z[2:], z[1:-1] + 1j * kappa * (2.0 * z[1:-1] - z[:-2]), rtol=0.0, atol=1e-13 * scale)
    roots = np.roots([1.0, -(1.0 + 2j * kappa), 1j * kappa])
    expected = p.factors[scheme](kappa)
    assert np.abs(roots - expected).min() < 1e-12 and abs(expected) >= np.abs(roots).max() - 1e-12
    modulus = np.sqrt(0.5 * (1.0 + np.sqrt(1.0 - 4.0 * kappa**2))) if kappa <= 0.5 else None
    if modulus is not None:
        assert_allclose(abs(expected), modulus, rtol=1e-14)


@pytest.mark.parametrize("scheme", ["simultaneous", "alternating", "implicit", "extragradient"])
def test_bilinear_radius_grows_by_the_modulus_at_every_step(scheme):
    p = problems.get("G1", start=(1.0, 0.0))
    tau, steps = 0.1, 100
    sol = p.solve(tau, scheme, t=steps * tau)
    radii = np.array([p.invariants["radius"](states) for states in sol.states])
    if scheme == "alternating":
        x, y = np.array([[s.values[0] for s in states] for states in sol.states]).T
        assert np.ptp(x**2 + y**2 - tau * x * y) < 1e-13
        assert abs(np.log(radii).max()) < tau
    else:
        modulus = abs(p.factors[scheme](tau))
        assert_allclose(radii, modulus ** np.arange(steps + 1), rtol=1e-11)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_critic_steps_multiply_kappa_squared(k):
    """K-step critic: kappa^2 = k omega^2 tau^2 in the alternating multiplier."""
    omega, tau = 1.3, 0.2
    game = mf.games.Bilinear(omega)
    columns = []
    for x, y in ((1.0, 0.0), (0.0, 1.0)):
        scheme = mf.JKO("alternating", inner_steps=(1, k))
        end = mf.solve(game, (mf.Vector(x), mf.Vector(y)), tau, tau, scheme=scheme).states[-1]
        columns.append([end[0].values[0], end[1].values[0]])
    found = np.linalg.eigvals(np.array(columns).T)
    expected = problems.get("G1").factors["alternating"](np.sqrt(k) * omega * tau)
    assert_allclose(found[np.argmax(found.imag)], expected, rtol=1e-12)


@pytest.mark.parametrize("tau", [0.05, 0.2, 0.7, 1.5, 3.0])
@pytest.mark.parametrize("scheme", sorted(problems.get("G2").factors))
def test_linear_quadratic_multipliers(scheme, tau):
    """D7: the explicit coupling is stable conditionally, the alternating one has modulus 1/(1 + l tau) while it rotates."""
    a, c = 0.3, 2.0
    p = problems.get("G2", P=a, C=c, Q=a)
    found = multipliers(p.problem, p.initial, scheme, tau)
    expected = p.factors[scheme](tau)
    assert np.abs(found - expected).min() < 1e-12 * abs(expected)
    modulus = {
        "simultaneous": np.sqrt(1.0 + (c * tau) ** 2) / (1.0 + a * tau),
        "alternating": 1.0 / (1.0 + a * tau),
        "implicit": 1.0 / np.hypot(1.0 + a * tau, c * tau),
        "explicit simultaneous": np.hypot(1.0 - a * tau, c * tau),
    }[scheme]
    if scheme != "alternating" or (c * tau) ** 2 <= 4.0 * (1.0 + a * tau):
        assert_allclose(np.abs(found).max(), modulus, rtol=1e-12)
    if scheme == "alternating":
        assert (np.abs(found).max() < 1.0) == (c * tau < 2.0 + a * tau)


def test_simultaneous_threshold():
    p = problems.get("G2")
    threshold = p.constants["largest stable simultaneous tau"]
    radii = []
    for tau in (0.9 * threshold, 1.1 * threshold):
        end = p.solve(tau, "simultaneous", t=400 * tau, save_at=10**6).states[-1]
        radii.append(np.hypot(end[0].values[0], end[1].values[0]))
    assert radii[0] < 0.5 and radii[1] > 2.0


def test_dual_flow_contracts_at_the_rate_of_d2():
    """D2: e^{min(l1, l2) t} D(t) does not increase, whatever the coupling; the implicit scheme keeps this (D6)."""
    parameters = {"P": 0.5, "C": 3.0, "Q": 0.8}
    flows = [problems.get("G2", **parameters, start=start) for start in ((1.0, 1.0), (-0.5, 2.0))]
    times = np.linspace(0.0, 2.0, 9)
    apart = [distance_between(*(p.exact(t) for p in flows)) for t in times]
    assert np.all(np.diff(np.exp(0.5 * times) * apart) <= 1e-12)
    sols = [p.solve(0.3, "implicit", t=3.0) for p in flows]
    apart = np.array([distance_between(a, b) for a, b in zip(sols[0].states, sols[1].states, strict=True)])
    assert np.all((1.0 + 0.5 * 0.3) * apart[1:] <= apart[:-1] + 1e-12)


# the Dirac-GAN and the GAN on the ring -----------------------------------------------------------------------------


def test_dirac_radius_drifts_at_first_order_in_simultaneous_steps():
    p = problems.get("G3", t=3.0)
    taus = 3.0 / np.array([30, 45, 68, 102])
    for scheme, sign in (("explicit simultaneous", 1.0), ("explicit implicit", -1.0)):
        radii = [p.invariants["radius"](p.solve(tau, scheme, save_at=10**6).states[-1]) ** 2 for tau in taus]
        drift = sign * (np.array(radii) - 1.0)
        assert np.all(drift > 0.0)
        assert abs(order(taus, drift) - 1.0) < 0.05


def test_dirac_radius_stays_bounded_in_alternating_steps():
    p = problems.get("G3", r2=1.0)
    period = p.constants["period"]
    worst = []
    for tau in (0.1, 0.05):
        sol = p.solve(tau, "explicit alternating", t=6.0 * period)
        squared = np.array([p.invariants["radius"](states) ** 2 for states in sol.states])
        first = sol.t <= period
        assert np.ptp(squared) < 1.05 * np.ptp(squared[first])
        worst.append(np.ptp(squared))
    assert_allclose(worst[0] / worst[1], 2.0, rtol=0.1)


def extrapolated(values):
    """Richardson on values at tau, tau/2, tau/4, ... whose errors are a series in tau."""
    table = np.array(values)
    for k in range(1, len(values)):
        table = (2.0**k * table[1:] - table[:-1]) / (2.0**k - 1.0)
    return float(table[0])


def test_dirac_exact_flow_returns_after_a_period():
    for r2 in (0.5, 1.0, 2.0, 9.0):
        p = problems.get("G3", r2=r2)
        assert distance_between(p.exact(3.0 * p.constants["period"]), p.initial) < 1e-11


def test_dirac_exact_flow_against_an_integrator():
    p = problems.get("G3", r2=2.0)

    def field(t, z):
        slope = 1.0 / (1.0 + np.exp(z[0] * z[1]))
        return [-z[1] * slope, z[0] * slope]

    fine = solve_ivp(field, (0.0, 9.0), [1.0, 1.0], rtol=1e-12, atol=1e-12, method="DOP853")
    end = p.exact(9.0)
    assert_allclose([end[0].values[0], end[1].values[0]], fine.y[:, -1], atol=1e-10)


OFF_THE_WAVE = (mf.Particles([[0.3]]), mf.Vector([0.9, -0.8]))


@pytest.mark.parametrize("scheme", ["simultaneous", "alternating", "explicit simultaneous", "explicit alternating"])
@pytest.mark.parametrize(("eta", "beta"), [(1.0, 0.6), (2.0, 0.5)])
def test_ring_gan_runs_around_with_the_printed_speed(eta, beta, scheme):
    p = problems.get("G15", eta=eta, beta=beta)
    angles, sizes = [], []
    for tau in (0.04, 0.02, 0.01, 0.005):
        end = p.solve(tau, scheme, t=0.4, save_at=10**6).states[-1]
        angles.append(end[0].points[0, 0])
        sizes.append(p.invariants["critic"](end))
    assert abs(extrapolated(angles) / 0.4 - p.constants["speed"]) < 2e-6
    assert abs(extrapolated(sizes) - p.constants["critic"]) < 2e-6


@pytest.mark.parametrize("scheme", ["alternating", "explicit simultaneous"])
def test_ring_gan_is_drawn_to_the_rotating_wave(scheme):
    p = problems.get("G15", eta=2.0, beta=0.5)
    sol = mf.solve(p.problem, OFF_THE_WAVE, 16.0, 0.05, scheme=SCHEMES[scheme], speeds=p.speeds, save_at=[14.0, 16.0])
    angles = [states[0].points[0, 0] for states in sol.states]
    assert_allclose(abs(angles[1] - angles[0]) / 2.0, p.constants["speed"], rtol=0.1)
    assert_allclose(p.invariants["critic"](sol.states[1]), p.constants["critic"], rtol=0.1)


@pytest.mark.parametrize(
    ("eta", "beta", "scheme", "tau"),
    [
        (1.0, 1.4, "simultaneous", 0.1),
        (1.0, 1.4, "implicit", 0.6),
        (6.0, 0.5, "simultaneous", 0.04),
        (6.0, 0.5, "alternating", 0.04),
        (6.0, 0.5, "explicit simultaneous", 0.04),
    ],
)
def test_ring_gan_freezes(eta, beta, scheme, tau):
    p = problems.get("G15", eta=eta, beta=beta)
    sol = mf.solve(p.problem, OFF_THE_WAVE, 18.0, tau, scheme=SCHEMES[scheme], speeds=p.speeds, save_at=[17.0, 18.0])
    assert abs(sol.states[1][0].points[0, 0] - sol.states[0][0].points[0, 0]) < 5e-4
    assert_allclose(p.invariants["critic"](sol.states[1]), p.constants["critic"], atol=5e-4)


@pytest.mark.parametrize("modes", [2, 3, 8])
def test_ring_gan_does_not_see_equidistant_modes(modes):
    p = problems.get("G15", modes=modes)
    assert np.abs(p.problem.critic.features(p.problem.target.points).mean(axis=0)).max() < 1e-15


def test_averaging_identity_of_linear_critics():
    """D10: the features of the generator average to (w_T - w_0)/(eta T) + beta mean(w), exactly for explicit critics."""
    p = problems.get("G15", eta=2.0, beta=0.5)
    tau, steps = 0.1, 80
    sol = p.solve(tau, "explicit simultaneous", t=steps * tau)
    critic = np.array([states[1].values for states in sol.states])
    features = np.concatenate([p.problem.critic.features(states[0].points) for states in sol.states])
    left = features[:-1].mean(axis=0)
    right = (critic[-1] - critic[0]) / (2.0 * tau * steps) + 0.5 * critic[:-1].mean(axis=0)
    assert_allclose(left, right, atol=1e-13)


# no energy, no motion ----------------------------------------------------------------------------------------------

GRID = mf.Grid([(0.0, 1.0), (-1.0, 1.0)], (4, 3))
STATES = {
    "particles": PLANE,
    "weighted particles": POINTS,
    "quantiles": QUANTILES,
    "gaussian": mf.Gaussian([1.0, 2.0], [[2.0, 0.3], [0.3, 0.5]]),
    "histogram": mf.Histogram(np.arange(12.0) / 66.0, mf.Grid([(0.0, 1.0)], (12,))),
    "vector": mf.Vector([1.0, -2.0]),
    "field": mf.Field(np.arange(12.0).reshape(4, 3), GRID),
}
NOTHING = mf.energies.Function(lambda state: 0.0, lambda state: np.zeros(state.coordinates.shape))


@pytest.mark.parametrize("kind", STATES)
@pytest.mark.parametrize("scheme", ["jko", "explicit"])
@pytest.mark.parametrize("energy", [NOTHING, 0.0 * NOTHING], ids=["function", "multiple"])
def test_no_energy_is_the_identity(kind, scheme, energy):
    sol = mf.solve(energy, STATES[kind], 1.0, 0.4, scheme=scheme)
    assert_allclose(sol.states[-1].coordinates, STATES[kind].coordinates, rtol=0.0, atol=1e-15)
    assert sol.info["distance"].max() <= (1e-9 if kind == "histogram" else 0.0)


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if "mirror" not in name])  # those are for histograms
def test_no_payoff_is_the_identity(scheme):
    if SCHEMES[scheme].coupling == "simultaneous" and " " not in scheme and scheme in ("jko", "explicit"):
        return
    game = mf.games.Game([NOTHING, NOTHING, NOTHING])
    start = (PLANE, STATES["gaussian"], STATES["vector"])
    sol = mf.solve(game, start, 1.0, 0.3, scheme=SCHEMES[scheme])
    for a, b in zip(sol.states[-1], start, strict=True):
        assert_allclose(a.coordinates, b.coordinates, rtol=0.0, atol=1e-15)


@pytest.mark.parametrize("metric", [mf.Sobolev(1), mf.Sobolev(-1), mf.Euclidean()])
def test_no_energy_is_the_identity_in_every_metric(metric):
    sol = mf.solve(NOTHING, STATES["field"], 1.0, 0.4, metric=metric)
    assert_allclose(sol.states[-1].values, STATES["field"].values, rtol=0.0, atol=1e-15)


# theorems on single flows ------------------------------------------------------------------------------------------

CONVEX = [
    ("E1", {"initial": PLANE, "a": 2.0}, 0.0),
    ("E2", {"initial": QUANTILES}, 0.0),
    ("E3", {"initial": QUANTILES}, 0.0),
    ("S1", {}, 0.0),
    ("S2", {}, 0.0),
    ("S3", {}, None),
    ("S6", {}, 0.0),
    ("S9", {"n": 60}, 0.0),
    ("S10", {"n": 60}, 0.0),
    ("S12", {"n": 60}, 0.0),
    ("S13", {"n": 60}, None),
    ("S13", {"kind": "gaussian", "n": 2}, 0.0),
    ("S1", {"n": 60}, None),
    ("S4", {"n": 60}, 0.0),
    ("S5", {"n": 60}, None),
    ("S7", {"confined": True, "initial": QUANTILES}, None),
    ("S17", {}, 0.0),
]


@pytest.mark.parametrize(("label", "parameters", "lowest"), CONVEX, ids=lambda value: str(value)[:30])
def test_one_step_inequalities(label, parameters, lowest):
    """T1 for minimizing movements of lambda-convex energies."""
    p = problems.get(label, **parameters)
    constant = p.problem.convexity or 0.0
    tau = 0.08
    sol = p.solve(tau, t=p.t_span[0] + 8 * tau)
    moved, slack = sol.info["distance"][1:], 1e-10 * (1.0 + np.abs(sol.energies[:-1]))
    drop = sol.energies[:-1] - sol.energies[1:]
    assert np.all((1.0 / tau + 0.5 * constant) * moved**2 <= drop + slack)
    if label not in ("E2", "S9", "S12"):  # slopes of kinks are reported as one of the subgradients
        assert np.all(sol.slopes[1:] <= moved / tau + 1e-8)
        assert np.all((1.0 + constant * tau) * moved / tau <= sol.slopes[:-1] * (1.0 + 1e-9) + 1e-8)
    if lowest is not None:
        assert np.all(sol.energies[1:] - lowest <= (sol.energies[:-1] - lowest) / (1.0 + constant * tau) ** 2 + slack)


@pytest.mark.parametrize(("label", "parameters", "lowest"), CONVEX, ids=lambda value: str(value)[:30])
def test_discrete_evi(label, parameters, lowest):
    """T2: the residual is at most 0 for every test state, with the convexity that the energy claims (else 0)."""
    p = problems.get(label, **parameters)
    sol = p.solve(0.1, t=p.t_span[0] + 0.3)
    tests = [*sol.states[::2], *random_states(p.initial, 10)]
    residual = sol.residuals(test_states=tests).evi
    bound = 1e-12 if np.all(sol.info["residual"] == 0.0) else 1e-9
    assert residual.max() <= bound * (1.0 + np.abs(sol.energies).max())


def random_states(like, count):
    rng = np.random.default_rng(11)
    found = []
    for _ in range(count):
        if isinstance(like, mf.Gaussian):
            root = rng.normal(size=(like.dim, like.dim))
            found.append(mf.Gaussian(rng.normal(size=like.dim), root @ root.T + 0.05 * np.eye(like.dim)))
        elif isinstance(like, mf.Quantiles):
            found.append(mf.Quantiles(np.sort(rng.normal(size=len(like)))))
        else:
            found.append(like.replace(like.coordinates + rng.normal(size=like.coordinates.shape)))
    return found


@pytest.mark.parametrize(("label", "parameters", "lowest"), CONVEX, ids=lambda value: str(value)[:30])
def test_degiorgi_identity(label, parameters, lowest):
    p = problems.get(label, **parameters)
    sol = p.solve(0.05, t=p.t_span[0] + 0.25)
    # atoms that arrive within a step leave a kink in delta, on which the quadrature has no order
    bound = 1e-4 if label in ("E2", "S12") else 1e-9
    assert np.abs(sol.residuals().degiorgi).max() <= bound


def test_explicit_schemes_have_no_degiorgi_identity():
    assert problems.get("E1").solve(0.1, "explicit").residuals().degiorgi is None


def test_energy_identity_is_of_second_order_in_a_step():
    p = problems.get("S1")
    taus = 1.0 / np.array([10, 20, 40, 80])
    worst = [np.abs(p.solve(tau).residuals().energy_identity).max() for tau in taus]
    assert abs(order(taus, worst) - 2.0) < 0.15


def test_evi_residual_of_explicit_steps_vanishes_like_tau():
    """T2: for explicit Euler the residual is positive at most like tau |grad E|^2 / 2."""
    p = problems.get("E1", initial=PLANE, a=2.0)
    for tau in (0.1, 0.05):
        sol = p.solve(tau, "explicit")
        assert sol.residuals().evi.max() <= tau * sol.slopes.max() ** 2 + 1e-12


def test_a_priori_and_a_posteriori_errors():
    """T3 and T4 for convex energies."""
    for label in ("S1", "S2", "E3", "S10"):
        p = problems.get(label)
        for tau in (0.1, 0.02):
            sol = p.solve(tau, t=1.0)
            errors = np.array([p.error(sol, row) for row in range(len(sol))])
            assert errors.max() <= tau * sol.slopes[0] / np.sqrt(2.0) + 1e-12
            eps = -np.diff(sol.energies) / tau - (sol.info["distance"][1:] / tau) ** 2
            assert eps.min() >= -1e-9
            assert np.all(errors[1:] ** 2 <= np.cumsum(tau**2 * eps) + 1e-12)


# theorems on games -------------------------------------------------------------------------------------------------


def test_dual_total_balance():
    """4.3: E1 changes by minus the dissipation of the steps, plus what the opponent's moves do; exact for any step size."""
    p = problems.get("G2", P=0.3, C=2.0, Q=0.5)
    tau = 0.2
    for coupling in ("simultaneous", "alternating", "implicit"):
        sol = p.solve(tau, coupling, t=5.0)
        for player, own in ((0, 0.3), (1, 0.5)):
            dissipated = through_opponent = 0.0
            for old, new in zip(sol.states[:-1], sol.states[1:], strict=True):
                seen = SCHEMES[coupling].seen_by(player, old, new)
                frozen = p.problem.energy(player, seen)
                slope = float(frozen.gradient(old[player])[0])
                dissipated += 0.5 * tau * slope**2 * (1.0 / (1.0 + own * tau) + 1.0 / (1.0 + own * tau) ** 2)
                through_opponent += p.problem.energy(player, new).value(new[player]) - frozen.value(new[player])
                through_opponent += frozen.value(old[player]) - p.problem.energy(player, old).value(old[player])
            change = sol.energies[-1, player] - sol.energies[0, player]
            assert abs(change + dissipated - through_opponent) < 1e-12 * (1.0 + dissipated)


@pytest.mark.parametrize("coupling", ["simultaneous", "alternating", "implicit"])
def test_degiorgi_identity_and_evi_of_each_player(coupling):
    for p, bound in ((problems.get("G2"), 1e-12), (problems.get("G15"), 1e-9)):
        sol = p.solve(0.1, coupling, t=0.8)
        residuals = sol.residuals()
        assert residuals.degiorgi.shape == (8, 2)
        assert np.abs(residuals.degiorgi).max() <= 1e-9
        if p.label == "G2":
            assert residuals.evi.max() <= bound


def test_energy_identity_of_zero_sum_flows():
    """3.1: J changes by -int |x'|^2 + int |y'|^2, so that it is no Lyapunov function; at first order in tau."""
    p = problems.get("G2")

    def payoff(x, y):
        return 0.15 * x**2 + 2.0 * x * y - 0.15 * y**2

    gaps = []
    taus = 1.0 / np.array([50, 100, 200, 400])
    for tau in taus:
        sol = p.solve(tau, "simultaneous")
        work = np.sum((sol.info["distance"][1:] / tau) ** 2 * tau, axis=0)
        first, last = (payoff(*(z.values[0] for z in sol.states[k])) for k in (0, -1))
        gaps.append(abs(last - first + work[0] - work[1]))
    assert abs(order(taus, gaps) - 1.0) < 0.1


def test_energies_of_zero_sum_games_are_opposite():
    """E1 = J and E2 = -J (theory, section 1)."""
    neurons = mf.Particles(np.random.default_rng(0).normal(size=(5, 3)))
    neuron_gan = mf.games.GAN(QUANTILES, critic=mf.games.NeuronCritic(), penalty=mf.games.Ridge(0.3))
    cases = [(p.problem, p.initial) for p in map(problems.get, ("G1", "G3", "G15", "G2"))]
    cases.append((neuron_gan, (POINTS, neurons)))
    for game, states in cases:
        first, second = (game.energy(k, states).value(states[k]) for k in range(2))
        assert_allclose(first, -second, rtol=1e-12, atol=1e-14, err_msg=repr(game))


def random_game(seed):
    """Two players in the plane: stiff quadratics, a quartic each, and a coupling with mixed derivative at most L."""
    rng = np.random.default_rng(seed)
    stiff = [np.diag(rng.uniform(0.5, 30.0, 2)) for _ in range(2)]
    c = rng.normal(size=(2, 2))
    u, v = rng.normal(size=(2, 2))
    wave = 0.3 / (np.linalg.norm(u) * np.linalg.norm(v))
    bend = [0.3 * np.linalg.norm(w) / np.linalg.norm(z) for w, z in ((u, v), (v, u))]

    def own(k, z):
        a = stiff[k] + bend[k] * np.eye(2)
        return 0.5 * z @ a @ z + 0.1 * np.sum(z**4), a @ z + 0.4 * z**3

    def coupling(x, y):
        sx, cx, sy, cy = np.sin(u @ x), np.cos(u @ x), np.sin(v @ y), np.cos(v @ y)
        return x @ c @ y + wave * sx * sy, c @ y + wave * cx * sy * u, c.T @ x + wave * sx * cy * v

    def first(state, others):
        x, y = state.values, others[0].values
        value, slope = own(0, x)
        joint = coupling(x, y)
        return value + joint[0], slope + joint[1]

    def second(state, others):
        y, x = state.values, others[0].values
        value, slope = own(1, y)
        joint = coupling(x, y)
        return value - joint[0], slope - joint[2]

    lipschitz = np.linalg.norm(c, 2) + 0.3
    return mf.games.Game([first, second]), first, second, lipschitz


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tau", [0.05, 0.01])
def test_a_posteriori_error_of_the_dual_scheme(seed, tau):
    """D4 for DUAL-JKO-SIM, against a reference integrator: the a posteriori, the a priori and the speed bounds."""
    game, first, second, L = random_game(seed)
    rng = np.random.default_rng(100 + seed)
    start = (mf.Vector(rng.normal(size=2)), mf.Vector(rng.normal(size=2)))
    t = 0.5
    sol = mf.solve(game, start, t, tau, scheme=mf.JKO("simultaneous", tolerance=1e-12))

    def field(_, z):
        x, y = mf.Vector(z[:2]), mf.Vector(z[2:])
        return -np.concatenate([first(x, (y,))[1], second(y, (x,))[1]])

    z0 = np.concatenate([s.values for s in start])
    exact = solve_ivp(field, (0.0, t), z0, method="DOP853", rtol=1e-10, atol=1e-12, t_eval=sol.t).y.T
    computed = np.array([np.concatenate([s.values for s in states]) for states in sol.states])
    errors = np.linalg.norm(exact - computed, axis=1)[1:]
    moved = sol.info["distance"][1:]
    eps = np.zeros(len(moved))
    for k, (old, new) in enumerate(zip(sol.states[:-1], sol.states[1:], strict=True)):
        for player in range(2):
            frozen = game.energy(player, old)
            drop = frozen.value(old[player]) - frozen.value(new[player])
            found = drop / tau - (moved[k, player] / tau) ** 2
            assert found >= -1e-9
            eps[k] += found
    delta = np.linalg.norm(moved, axis=1)
    grown = np.exp(L * sol.t[1:])
    posterior = grown * (np.sqrt(np.cumsum(tau**2 * eps)) + L * np.cumsum(tau * delta))
    s0 = float(np.linalg.norm(sol.slopes[0]))
    assert np.all(errors <= posterior + 1e-9)
    assert np.all(errors <= tau * s0 * grown * ((1.0 + 1.0 / np.sqrt(2.0)) * grown - 1.0) + 1e-9)
    assert np.all(delta / tau <= s0 * (1.0 + L * tau) ** np.arange(len(delta)) + 1e-9)
