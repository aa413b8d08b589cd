"""Three-stage, Richardson and forward-backward steps of single flows: orders, exact stages, energies, guards."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow import problems
from measureflow.schemes.three_stage import STAGES, combined

W2 = mf.Wasserstein()
SECOND = {"three-stage": mf.ThreeStage, "richardson": mf.Richardson, "vim": mf.VIM, "bdf2": mf.BDF2}


def order(taus, errors):
    assert len(taus) >= 4
    return float(np.polyfit(np.log(taus), np.log(errors), 1)[0])


SMOOTH = [
    ("S1", {}, 20),
    ("S1", {"n": 60}, 20),
    ("S2", {}, 20),
    ("S4", {"n": 60}, 12),
    ("S4", {"m": 3.0, "n": 60}, 12),
    ("S5", {"n": 60}, 12),
    ("E3", {}, 40),
]


@pytest.mark.parametrize(("label", "parameters", "least"), SMOOTH, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("name", SECOND)
def test_second_order_on_smooth_flows(name, label, parameters, least):
    p = problems.get(label, **parameters)
    least *= 2 if (name, label) == ("richardson", "E3") else 1
    taus = (p.t_span[1] - p.t_span[0]) / (least * np.array([1, 2, 4, 6]))
    errors = [p.error(p.solve(tau, SECOND[name](tolerance=1e-12), save_at=10**6)) for tau in taus]
    assert abs(order(taus, errors) - 2.0) <= 0.1, errors


@pytest.mark.parametrize("n", [None, 30])
def test_the_midpoint_rule_is_exact_for_heat(n):
    """S3: s s' = T, and the midpoint rule conserves what the squares of the deviations gain, 2 T tau a step."""
    p = problems.get("S3", n=n)
    assert p.error(p.solve(0.25, mf.VIM(tolerance=1e-13))) < 1e-12


def test_errors_compared():
    """Theory, 4.4: on Gaussians three stages have a third of the error of the midpoint rule, Richardson less than twice it."""
    p = problems.get("S1")
    vim, three, twice = (p.error(p.solve(0.0125, SECOND[name]())) for name in ("vim", "three-stage", "richardson"))
    assert 0.25 < three / vim < 0.45
    assert 1.5 < twice / vim < 2.1


@pytest.mark.parametrize("name", ["three-stage", "richardson"])
def test_multipliers(name):
    """On x' = -x a step multiplies by a rational function of tau, which is the exponential to second order and damps."""

    def multiplier(z):
        if name == "richardson":
            return 2.0 / (1.0 + 0.5 * z) ** 2 - 1.0 / (1.0 + z)
        u = [1.0]
        for row in STAGES:
            u.append(sum(c * value for c, value in zip(row, u, strict=True)) / (sum(row) + z))
        return u[-1]

    for tau in (0.01, 0.3, 5.0, 1e6):
        end = mf.solve(e.Quadratic(), mf.Vector(1.0), tau, tau, scheme=name).states[-1][0]
        assert_allclose(end, multiplier(tau), rtol=1e-12, atol=1e-14)
        assert abs(end) <= 1.0
    assert abs(multiplier(1e6)) < 1e-5
    constant = (multiplier(1e-2) - np.exp(-1e-2)) / 1e-6
    assert_allclose(constant, {"three-stage": -0.0305, "richardson": 1.0 / 6.0}[name], rtol=0.05)


def test_stages_minimise_their_functional():
    """U_m in argmin E(u) + sum gamma_mi |U_i - u|^2/(2 tau): its gradient vanishes."""
    energy, tau = e.PowerEntropy(2.0) + 0.3 * e.Quadratic(), 0.2
    x = mf.Quantiles(np.linspace(-1.0, 1.5, 12) ** 3)
    stages = [x.values]
    for row in STAGES:
        total = sum(row)
        base, projected = combined(W2, x, [x.replace(u) for u in stages], [c / total for c in row], energy)
        assert not projected
        u = mf.proximal(energy, W2, base, tau / total)
        pull = sum(c * (u.values - v) for c, v in zip(row, stages, strict=True)) / tau
        assert np.sqrt(np.mean((energy.gradient(u) + pull) ** 2)) < 1e-7
        stages.append(u.values)
    step = mf.ThreeStage().advance(energy, W2, x, tau)
    assert_allclose(step.state.values, stages[-1], atol=1e-9)
    assert_allclose(step.distance, W2.distance(x, step.state), rtol=1e-9)


@pytest.mark.parametrize("tau", [0.05, 1.0, 50.0])
def test_three_stages_never_raise_the_energy(tau):
    """Unconditionally, in flat spaces, convex or not, as long as stages are not projected."""
    wells = e.Potential(lambda x: np.sum((x**2 - 1.0) ** 2, axis=1) / 4.0, lambda x: x**3 - x)
    start = mf.Particles(np.random.default_rng(2).normal(size=(7, 2)))
    flows = [(e.Quadratic() + e.MMD(mf.Particles([[0.0, 1.0]]), "gaussian"), start)]
    flows += [(wells, start)] if tau < 1.0 else []
    flows += [(e.KL(mf.Gaussian(0.0, 1.0)), mf.Gaussian(2.0, 0.1).to_quantiles(30)), (e.Quadratic(), mf.Vector([1.0, -2.0]))]
    for energy, initial in flows:
        sol = mf.solve(energy, initial, 6 * tau, tau, scheme="three-stage")
        assert np.all(np.diff(sol.energies) <= 1e-9 * (1.0 + np.abs(sol.energies[:-1])))


@pytest.mark.parametrize("name", ["three-stage", "richardson", "forward-backward"])
def test_steps_stay_in_boxes_and_cones(name):
    boxed = e.Quadratic(1.0, centre=3.0) + e.Box(-1.0, 1.0)
    for start in (mf.Particles([[0.9], [-0.5]]), mf.Quantiles([-0.5, 0.9])):
        sol = mf.solve(boxed, start, 2.0, 0.1, scheme=name)
        assert max(float(law.coordinates.max()) for law in sol.states) <= 1.0
        assert_allclose(sol.states[-1].coordinates, 1.0, atol=0.05)
    sticky = mf.solve(e.EnergyDistance(mf.Quantiles([0.0, 0.0, 0.0])), mf.Quantiles([-1.0, 0.2, 0.3]), 2.0, 0.1, scheme=name)
    assert all(np.all(np.diff(law.values) >= 0.0) for law in sticky.states)


def test_projection_is_named():
    """Extrapolations that leave the cone are projected, and the step says so; those inside are not."""
    crowded, target = mf.Quantiles([-1.0, 0.0, 1.0]), e.SquaredWasserstein(mf.Quantiles([0.0, 0.0, 0.0]))
    law, projected = combined(W2, crowded, [mf.Quantiles([-0.1, 0.0, 0.1]), crowded], [2.0, -1.0], target)
    assert projected and nondecreasing(law)
    assert not combined(W2, crowded, [mf.Quantiles([-0.7, 0.0, 0.7]), crowded], [2.0, -1.0], target)[1]
    pull = e.Function(lambda x: 2.0 * np.mean(np.asarray(x) ** 2), lambda x: 4.0 * np.asarray(x))
    step = mf.ForwardBackward().advance(pull + e.Quadratic(), W2, crowded, 0.5)
    assert step.method == "closed form, projected" and nondecreasing(step.state)
    assert mf.ForwardBackward().advance(pull + e.Quadratic(), W2, crowded, 0.1).method == "closed form"


def nondecreasing(law):
    return bool(np.all(np.diff(law.values) >= 0.0))


def test_gaussians_that_lose_their_covariance_take_shorter_steps():
    target, start = mf.Gaussian(0.0, 0.01), mf.Gaussian(0.0, 25.0)
    energy = e.KL(target)
    with pytest.raises(mf.ConvergenceError, match="leaves the space"):
        mf.ForwardBackward(("KL",)).advance(energy, W2, start, 0.1)
    sol = mf.solve(energy, start, 0.1, 0.1, scheme=mf.ForwardBackward(("KL",)))
    assert len(sol.t) > 1 and all(law.cov[0, 0] > 0.0 for law in sol.states)
    for name in ("three-stage", "richardson"):
        end = mf.solve(energy, start, 0.2, 0.1, scheme=name).states[-1]
        assert end.cov[0, 0] > 0.0
    with pytest.raises(mf.ConvergenceError, match="is no state"):
        combined(W2, start, [start, mf.Gaussian(0.0, 1.0)], [-1.0, 2.0], energy)


# games -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [mf.ThreeStage, mf.Richardson])
@pytest.mark.parametrize(("coupling", "expected"), [("symmetric", 2.0), ("alternating", 1.0), ("simultaneous", 1.0)])
def test_orders_on_games(kind, coupling, expected):
    p = problems.get("G2", P=0.5, C=1.2, Q=0.3)
    taus = p.t_span[1] / np.array([16, 32, 64, 128])
    errors = [p.error(p.solve(tau, kind(coupling), save_at=10**6)) for tau in taus]
    assert abs(order(taus, errors) - expected) <= 0.1
    assert kind(coupling).order == expected and kind(coupling).order_for(1) == 2


def test_automatic_steps_use_the_order():
    p = problems.get("S1")
    for name in ("three-stage", "richardson"):
        sol = mf.solve(p.problem, p.initial, 1.0, "auto", scheme=name, rtol=1e-5, atol=1e-8)
        assert p.error(sol) < 1e-4 and len(sol) < 200


# forward and backward --------------------------------------------------------------------------------------------


def test_forward_backward_splits_by_class():
    energy = e.Entropy() + e.MMD(mf.Particles([[0.0]]), "gaussian") + 2.0 * e.Quadratic() + e.Box(-1.0, 1.0)
    smooth, rest = mf.ForwardBackward().split(energy)
    assert [type(term).__name__ for _, term in smooth.terms()] == ["MMD"]
    assert [type(term).__name__ for _, term in rest.terms()] == ["Entropy", "Quadratic", "Box"]
    smooth, rest = mf.ForwardBackward(["Quadratic"]).split(energy)
    assert [c for c, _ in smooth.terms()] == [2.0] and len(rest.terms()) == 3
    proxed = problems.get("E2").problem
    assert not mf.ForwardBackward().split(proxed)[0].terms()
    assert "explicit=('Quadratic',)" in repr(mf.ForwardBackward(["Quadratic"]))


def test_forward_backward_without_one_of_its_parts():
    """Nothing explicit: JKO. Nothing implicit: an explicit step."""
    p = problems.get("S1")
    jko, explicit = p.solve(0.1, "jko").states[-1], p.solve(0.1, "explicit").states[-1]
    assert p.distance(p.solve(0.1, mf.ForwardBackward()).states[-1], jko) < 1e-14
    assert p.distance(p.solve(0.1, mf.ForwardBackward(("KL",))).states[-1], explicit) < 1e-14


CASES = [
    (e.Entropy() + e.Quadratic(), mf.Gaussian(1.5, 4.0), ("Quadratic",)),
    (e.Entropy() + e.Quadratic(), mf.Gaussian(1.5, 4.0).to_quantiles(40), ("Quadratic",)),
    (e.Entropy() + e.MMD(mf.Particles([[0.0], [1.0]]), "gaussian"), mf.Gaussian(0.5, 0.3).to_quantiles(40), None),
    (
        e.PowerEntropy(2.0) + e.Interaction(lambda z: 0.5 * z[..., 0] ** 2, lambda z: z),
        mf.Quantiles(np.linspace(-1.0, 1.0, 40)),
        None,
    ),
    (e.Quadratic(3.0) + e.Function(lambda x: np.sum(np.cosh(x)), np.sinh), mf.Vector([1.0, -0.4]), None),
]


@pytest.mark.parametrize(("energy", "start", "explicit"), CASES)
def test_forward_backward_is_of_first_order(energy, start, explicit):
    exact = mf.solve(energy, start, 0.4, 0.4 / 160, scheme=mf.ThreeStage(), save_at=10**6).states[-1]
    taus = 0.4 / np.array([8, 12, 16, 24])
    scheme = mf.ForwardBackward(explicit)
    errors = [mf.distance(mf.solve(energy, start, 0.4, tau, scheme=scheme, save_at=10**6).states[-1], exact) for tau in taus]
    assert abs(order(taus, errors) - 1.0) <= 0.1, errors


def test_fixed_points_of_forward_backward_are_stationary():
    """They do not depend on tau, unlike those of splittings that take both parts in turn implicitly."""
    energy = e.Entropy(0.5) + e.MMD(mf.Particles([[0.0], [1.0]]), "gaussian") + 0.5 * e.Quadratic()
    law = mf.solve(energy, mf.Gaussian(0.0, 1.0).to_quantiles(30), 30.0, 0.5, scheme=mf.ForwardBackward()).states[-1]
    assert np.sqrt(np.mean(energy.gradient(law) ** 2)) < 1e-6


def test_forward_backward_in_games():
    """Bilinear coupling explicit, ridge implicit: on linear games the same as steps of JKO with frozen opponents."""
    game = g.LinearQuadratic(0.5, 1.0, 0.5)
    start = mf.Vector(1.0), mf.Vector(0.3)
    for coupling in ("simultaneous", "alternating", "symmetric", "implicit", "extragradient", "optimistic"):
        sol = mf.solve(game, start, 1.0, 0.05, scheme=mf.ForwardBackward(None, coupling))
        exact = problems.get("G2", P=0.5, C=1.0, Q=0.5, start=(1.0, 0.3))
        assert exact.distance(sol.states[-1], exact.exact(1.0)) < 0.1


@pytest.mark.parametrize("metric", [mf.FisherRao(), mf.WassersteinFisherRao(1.0, 0.5)], ids=repr)
def test_forward_steps_of_weights_are_explicit_ones(metric):
    law = mf.Particles([[0.1], [0.4], [0.8]], [0.2, 0.5, 0.3])
    energy = mf.energies.MMD(mf.Particles([[0.0], [1.0]]), "gaussian")
    a, b = (
        mf.solve(energy, law, 0.1, 0.01, scheme=scheme, metric=metric).states[-1] for scheme in (mf.ForwardBackward(), "explicit")
    )
    assert np.abs(a.points - b.points).max() < 1e-12 and np.abs(a.weights - b.weights).max() < 1e-12
    assert np.abs(a.weights - law.weights).max() > 1e-4
