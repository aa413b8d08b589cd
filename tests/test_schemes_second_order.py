"""Schemes of second and higher order: orders on games and on single flows, exact steps, two-step recursions, D4, noise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from scipy.optimize import isotonic_regression, minimize

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow import problems
from measureflow.metrics import natural
from measureflow.schemes import Players

V = mf.Vector


def distance(a, b):
    """Return the product distance of two tuples of states, labels kept."""
    return np.sqrt(sum(natural(x).labelled_distance(x, y) ** 2 for x, y in zip(a, b, strict=True)))


# games: a linear one, a nonlinear one of vectors, a nonlinear one of laws -----------------------------------------------

MIX = np.array([[1.0, -0.6], [0.5, 0.8]])


def payoff(x, y):
    """J = sum log cosh x + x.C y + (3/10) sin(x_0 y_1) - |y|^2/4 - sum y^4/20."""
    x, y = np.asarray(x), np.asarray(y)
    sine, cosine = 0.3 * np.sin(x[0] * y[1]), 0.3 * np.cos(x[0] * y[1])
    value = np.sum(np.log(np.cosh(x))) + x @ MIX @ y + sine - 0.25 * y @ y - 0.05 * np.sum(y**4)
    down = np.tanh(x) + MIX @ y + cosine * np.array([y[1], 0.0])
    return value, down, MIX.T @ x + cosine * np.array([0.0, x[0]]) - 0.5 * y - 0.2 * y**3


def law_game():
    """J(mu, nu) = iint cos(x - y) + (2/5) x^2 - (3/10) y^2."""

    def offset(x, y):
        return x[:, None, :] - y[None, :, :]

    return g.KernelGame(
        lambda x, y: np.cos(offset(x, y)).sum(axis=2) + 0.4 * x**2 - 0.3 * y.T**2,
        lambda x, y: -np.sin(offset(x, y)) + 0.8 * x[:, None, :],
        lambda x, y: np.sin(offset(x, y)) - 0.6 * y[None, :, :],
    )


LINEAR = g.LinearQuadratic([[0.5, 0.1], [0.1, 0.3]], [[1.0, 0.4], [-0.3, 1.2]], 0.4)
LAWS = mf.Particles([[0.2], [1.1], [-0.6]], [0.2, 0.5, 0.3]), mf.Particles([[0.9], [-0.4]])
GAMES = {
    "linear": (LINEAR, (V([1.0, -0.5]), V([0.3, 0.8])), (1.0, 1.0)),
    "nonlinear": (g.ZeroSum(payoff), (V([0.9, -0.7]), V([0.4, 0.8])), (1.0, 2.0)),
    "laws": (law_game(), LAWS, (1.0, 1.5)),
}
FIRST = ["jko simultaneous", "jko alternating", "jko implicit", "jko optimistic", "explicit extragradient", "explicit optimistic"]
ALSO_FIRST = ["explicit simultaneous", "explicit alternating", "explicit symmetric", "jko extragradient", "jko symmetric"]
ALSO_FIRST += ["vim simultaneous", "vim alternating", "vim extragradient", "bdf2 simultaneous", "bdf2 alternating"]
SECOND = ["vim implicit", "bdf2 implicit", "vim optimistic", "vim symmetric", "jko adjoint", "bdf2 optimistic", "rk2"]
END = 0.5


SLOW = ("optimistic", "explicit extragradient")
"""Schemes of first order with large terms of second order."""


def scheme_of(name):
    kind, _, coupling = name.partition(" ")
    kinds = {"jko": mf.JKO, "explicit": mf.Explicit, "vim": mf.VIM, "bdf2": mf.BDF2, "rk2": mf.RK2, "rk4": mf.RK4}
    return kinds[kind](coupling) if coupling else kinds[kind]()


@pytest.fixture(scope="module")
def ends():
    """The flows' ends, by a method of order 4 with tiny steps."""
    return {
        name: mf.solve(game, start, END, END / 100, scheme="rk4", speeds=speeds).states[-1]
        for name, (game, start, speeds) in GAMES.items()
    }


def observed(ends, name, scheme, counts):
    game, start, speeds = GAMES[name]
    sols = [mf.solve(game, start, END, END / n, scheme=scheme, speeds=speeds, save_at=n) for n in counts]
    errors = [distance(sol.states[-1], ends[name]) for sol in sols]
    return np.polyfit(-np.log(counts), np.log(errors), 1)[0]


@pytest.mark.parametrize(
    ("game", "name"), [(game, name) for game in GAMES for name in FIRST] + [("linear", name) for name in ALSO_FIRST]
)
def test_schemes_of_first_order(ends, game, name):
    scheme = scheme_of(name)
    assert scheme.order == 1
    assert_allclose(observed(ends, game, scheme, (40, 80) if name.endswith(SLOW) else (20, 40)), 1.0, atol=0.05)


@pytest.mark.parametrize("name", SECOND)
@pytest.mark.parametrize("game", GAMES)
def test_schemes_of_second_order(ends, game, name):
    scheme = scheme_of(name)
    assert scheme.order == 2
    assert_allclose(observed(ends, game, scheme, (20, 40) if "bdf2" in name else (10, 20)), 2.0, atol=0.1)


@pytest.mark.parametrize(
    ("name", "order"),
    [("jko", 1), ("jko alternating", 1), ("jko implicit", 1)]
    + [(name, 2) for name in ("vim implicit", "vim optimistic", "vim symmetric", "bdf2 implicit", "jko adjoint", "rk2")],
)
def test_orders_on_gaussian_laws_with_entropies(name, order):
    """G11, in the product of the true W2 distances."""
    problem = mf.problems.get("G11")
    errors = [problem.error(problem.solve(problem.t_span[1] / n, scheme_of(name), save_at=n)) for n in (20, 40)]
    assert_allclose(np.log2(errors[0] / errors[1]), order, atol=0.05)


@pytest.mark.parametrize("game", GAMES)
def test_runge_kutta_is_of_fourth_order(ends, game):
    assert mf.RK4().order == 4
    assert_allclose(observed(ends, game, mf.RK4(), (4, 8)), 4.0, atol=0.2)


@pytest.mark.parametrize("name", ["vim implicit", "vim optimistic", "vim symmetric", "bdf2 implicit", "jko adjoint", "rk2"])
def test_three_players_to_second_order(name):
    """Every player is drawn to a function of the others."""

    def player(own, others):
        offset = own - np.tanh(others[0] - 0.5 * others[1])
        return 0.5 * float(offset @ offset), offset

    game, start = g.Game([player] * 3), (V(1.0), V(-0.5), V(0.8))
    end = mf.solve(game, start, 1.0, 0.005, scheme="rk4").states[-1]
    errors = [distance(mf.solve(game, start, 1.0, 1.0 / n, scheme=scheme_of(name)).states[-1], end) for n in (16, 32)]
    assert_allclose(np.log2(errors[0] / errors[1]), 2.0, atol=0.1)


def test_orders_depend_on_the_coupling_and_the_number_of_players():
    assert {c for c in mf.VIM.couplings if mf.VIM(c).order == 2} == {"symmetric", "implicit", "optimistic"}
    assert {c for c in mf.BDF2.couplings if mf.BDF2(c).order == 2} == {"implicit", "optimistic"}
    assert {c for c in mf.JKO.couplings if mf.JKO(c).order == 2} == {"adjoint"}
    assert {mf.Explicit(c).order for c in mf.Explicit.couplings} == {1}
    assert mf.VIM("alternating").order_for(1) == mf.BDF2("alternating").order_for(1) == mf.VIM("symmetric").order_for(3) == 2
    assert mf.JKO("adjoint", unrolled=2).order == mf.VIM("alternating").order_for(3) == mf.JKO("symmetric").order_for(1) == 1


def test_no_energy_of_their_own_is_the_identity_of_one_player():
    for name in ("vim", "bdf2", "rk2", "rk4"):
        sol = mf.solve(0.0 * e.Quadratic(), mf.Gaussian([1.0, 2.0], [[2.0, 0.3], [0.3, 1.0]]), 1.0, 0.3, scheme=name)
        assert_allclose(sol.states[-1].coordinates, sol.states[0].coordinates, rtol=0.0, atol=1e-15)


# the table of section 6 ---------------------------------------------------------------------------------------------------

KAPPAS = [0.05, 0.1, 0.55, 1.5]
TABLE = {
    "simultaneous": lambda k: abs(1 + 1j * k),
    "alternating": lambda k: 1.0,
    "extragradient": lambda k: np.sqrt(1 - k**2 + k**4),
    "implicit": lambda k: 1 / np.sqrt(1 + k**2),
    "vim implicit": lambda k: 1.0,
    "vim symmetric": lambda k: 1.0,
    "adjoint": lambda k: 1.0,
    "rk2": lambda k: np.sqrt(1 + k**4 / 4),
    "rk4": lambda k: np.sqrt(1 - k**6 / 72 + k**8 / 576),
}


def complex_orbit(name, kappa, steps):
    sol = problems.get("G1", start=(1.0, 0.3)).solve(kappa, name, t=steps * kappa)
    return np.array([x.values[0] + 1j * y.values[0] for x, y in sol.states])


@pytest.mark.parametrize("kappa", KAPPAS)
@pytest.mark.parametrize("name", TABLE)
def test_moduli_of_one_step_schemes(name, kappa):
    p = problems.get("G1", omega=2.0, speeds=(1.0, 0.25))
    columns = []
    for x, y in ((1.0, 0.0), (0.0, 1.0)):
        end = mf.solve(p.problem, (V(x), V(y)), kappa, kappa, scheme=problems.SCHEMES[name], speeds=p.speeds).states[-1]
        columns.append([end[0].values[0], end[1].values[0]])
    found = np.linalg.eigvals(np.array(columns).T)
    assert_allclose(np.abs(found).max(), TABLE[name](kappa), rtol=1e-12)
    assert np.abs(found - p.factors[name](kappa)).min() < 1e-12


RECURSIONS = {
    "vim optimistic": lambda k: (1.0, -(1.0 + 1.5j * k), 0.5j * k),
    "bdf2 implicit": lambda k: (1.5 - 1j * k, -2.0, 0.5),
    "bdf2 optimistic": lambda k: (1.5, -2.0 - 2j * k, 0.5 + 1j * k),
    "optimistic": lambda k: (1.0, -(1.0 + 2j * k), 1j * k),
}


@pytest.mark.parametrize("kappa", KAPPAS)
@pytest.mark.parametrize("name", RECURSIONS)
def test_two_step_schemes_are_their_recursions(name, kappa):
    """z = x + i y; the multiplier of the table is the root of larger modulus."""
    a, b, c = RECURSIONS[name](kappa)
    z = complex_orbit(name, kappa, 8)
    assert_allclose(a * z[2:] + b * z[1:-1] + c * z[:-2], 0.0, atol=2e-12 * np.abs(z).max())
    roots = np.roots([a, b, c])
    expected = problems.get("G1").factors[name](kappa)
    assert np.abs(roots - expected).min() < 1e-13 and abs(expected) >= np.abs(roots).max() - 1e-13
    modulus = {"vim optimistic": 0.25, "bdf2 implicit": -0.25}.get(name)
    if modulus is not None and kappa <= 0.1:
        assert_allclose((abs(expected) - 1.0) / kappa**4, modulus, atol=20.0 * kappa**2)


def test_growth_after_a_time():
    """Growth per unit time, leading terms: omega^2 tau/2, 0, -omega^2 tau/2; +-omega^4 tau^3/4 of the two-step methods."""
    tau, steps = 0.02, 2500
    growth = {"simultaneous": 0.5 * tau, "implicit": -0.5 * tau, "vim implicit": 0.0, "rk2": tau**3 / 8.0}
    growth |= {"vim optimistic": tau**3 / 4.0, "rk4": -(tau**5) / 144.0}
    for name, rate in growth.items():
        factor = abs(problems.get("G1").factors[name](tau))
        assert_allclose(steps * np.log(factor), rate * tau * steps, rtol=2e-3, atol=1e-11)


# single flows -------------------------------------------------------------------------------------------------------------


def slope_of(errors, counts):
    return np.polyfit(-np.log(counts), np.log(errors), 1)[0]


@pytest.mark.parametrize(("name", "order"), [("vim", 2), ("bdf2", 2), ("rk2", 2), ("rk4", 4)])
@pytest.mark.parametrize("label", ["E3", "S1", "S2", "S13"])
def test_orders_on_exact_flows(label, name, order):
    p = problems.get(label)
    counts = np.array([8, 16, 32] if order == 2 else [16, 32]) * (order**2 if label == "E3" else 1)
    t = min(1.0, p.t_span[1])
    errors = [p.error(p.solve(t / n, name, t=t)) for n in counts]
    if label == "S13" and name in ("rk4", "rk2"):
        assert errors[-1] < 1e-3
    else:
        assert_allclose(slope_of(errors, counts), order, atol=0.2)


def test_printed_midpoint_steps_of_ornstein_uhlenbeck():
    """S1: ten VIM steps of size .1 from s = 2 end at s = 1.185055904."""
    sol = problems.get("S1").solve(0.1, "vim", t=1.0)
    assert_allclose(np.sqrt(sol.states[-1].cov[0, 0]), 1.185055904, atol=1e-9)
    roots = [np.sqrt(law.cov[0, 0]) for law in sol.states]
    for s, after in zip(roots[:-1], roots[1:], strict=True):
        half = (s + np.sqrt(s**2 + 4.0 * 0.05 * 1.05)) / (2.0 * 1.05)
        assert_allclose(after, 2.0 * half - s, rtol=1e-13)


def test_two_step_method_of_ornstein_uhlenbeck():
    """S1: (3/2 + alpha tau) s^2 - (2 s_n - s_{n-1}/2) s - tau = 0."""
    tau = 0.1
    sol = problems.get("S1").solve(tau, "bdf2", t=1.0)
    s = np.array([np.sqrt(law.cov[0, 0]) for law in sol.states])
    assert_allclose((1.5 + tau) * s[2:] ** 2 - (2.0 * s[1:-1] - 0.5 * s[:-2]) * s[2:] - tau, 0.0, atol=1e-13)


NORMAL = mf.Gaussian([1.0, -0.5], [[2.0, 0.7], [0.7, 0.6]])
WELL = e.KL(mf.Gaussian([0.0, 0.3], [[0.8, -0.3], [-0.3, 1.5]]))


@pytest.mark.parametrize(("name", "order"), [("vim", 2), ("bdf2", 2), ("rk2", 2), ("rk4", 4)])
def test_gaussians_that_do_not_commute(name, order):
    end = mf.solve(WELL, NORMAL, 0.5, 0.5 / 160, scheme="rk4", save_at=160).states[-1]
    errors = [mf.distance(mf.solve(WELL, NORMAL, 0.5, 0.5 / n, scheme=name).states[-1], end) for n in (20, 40, 80)]
    assert_allclose(slope_of(errors, (20, 40, 80)), order, atol=0.2)


def test_quantiles_and_particles_agree_with_gaussians():
    """Affine images of a law stay affine images: VIM and BDF2 act on means and deviations as on Gaussians (potentials only)."""
    values = np.sort(np.random.default_rng(3).normal(size=9))
    energy = e.Quadratic(1.3, centre=0.4)
    for name in ("vim", "bdf2"):
        ends = [
            mf.solve(energy, law, 1.0, 0.11, scheme=name).states[-1]
            for law in (mf.Quantiles(values), mf.Particles(values[:, None]), mf.Quantiles(values).to_gaussian())
        ]
        assert_allclose(ends[0].values, ends[1].points[:, 0], atol=1e-13)
        assert_allclose([ends[0].mean()[0], ends[0].covariance()[0, 0]], [ends[2].mean[0], ends[2].cov[0, 0]], atol=1e-12)


def test_midpoint_steps_where_the_geodesic_ends_are_halved():
    """From N(0, 25) a long step towards N(0, 0.01) has a midpoint below half of the deviation."""
    sol = mf.solve(e.KL(mf.Gaussian(0.0, 0.01)), mf.Gaussian(0.0, 25.0), 0.4, 0.1, scheme="vim")
    assert sol.info["rejected"] > 0 and sol.status == "done"
    assert all(law.cov[0, 0] > 0.0 for law in sol.states)
    with pytest.raises(mf.ConvergenceError, match="ends before twice its length"):
        mf.VIM().advance(e.KL(mf.Gaussian(0.0, 0.01)), mf.Wasserstein(), mf.Gaussian(0.0, 25.0), 0.1)


@pytest.mark.parametrize("name", ["vim", "bdf2", "rk2", "rk4"])
def test_steps_stay_in_boxes_and_cones(name):
    boxed = e.Quadratic(1.0, centre=3.0) + e.Box(-1.0, 1.0)
    for start in (mf.Particles([[0.9], [-0.5]]), mf.Quantiles([-0.5, 0.9])):
        sol = mf.solve(boxed, start, 2.0, 0.1, scheme=name)
        assert max(float(law.coordinates.max()) for law in sol.states) <= 1.0
        assert_allclose(sol.states[-1].coordinates, 1.0, atol=0.05)
    sticky = mf.solve(e.EnergyDistance(mf.Quantiles([0.0, 0.0, 0.0])), mf.Quantiles([-1.0, 0.2, 0.3]), 2.0, 0.1, scheme=name)
    assert all(np.all(np.diff(law.values) >= 0.0) for law in sticky.states)


def test_two_step_method_minimises_its_functional():
    """Inside the cone it is the functional of Matthes and Plazotta; a point off the cone is projected first."""
    energy = e.MMD(mf.Quantiles([-0.2, 0.1]), "gaussian") + 0.7 * e.Quadratic()
    players, tau = Players(g.Game([energy]), (mf.Wasserstein(),), (1.0,)), 0.9
    past, x = mf.Quantiles([-0.6, 0.2, 0.9, 1.5]), mf.Quantiles([-0.3, 0.11, 0.6, 1.2])
    (new,), memory, _ = mf.BDF2().step(players, (x,), ((past,), tau), tau)
    assert memory == ((x,), tau)

    def functional(u):
        far, near = np.mean((u - past.values) ** 2), np.mean((u - x.values) ** 2)
        return energy.value(x.replace(np.sort(u))) + near / tau - far / (4.0 * tau)

    best = minimize(functional, x.values, tol=1e-14)
    assert functional(new.values) <= best.fun + 1e-13
    assert_allclose(new.values, best.x, atol=1e-5)
    crowded = mf.Quantiles([0.1, 0.11, 0.12, 0.2])
    base = (4.0 * crowded.values - past.values) / 3.0
    assert np.any(np.diff(base) < 0.0)
    (new,), _, _ = mf.BDF2().step(players, (crowded,), ((past,), tau), tau)
    projected = x.replace(np.asarray(isotonic_regression(base).x))
    assert_allclose(new.values, mf.proximal(energy, mf.Wasserstein(), projected, 2.0 * tau / 3.0).values, atol=1e-9)


@pytest.mark.parametrize("coupling", ["implicit", "optimistic"])
@pytest.mark.parametrize("kind", [mf.VIM, mf.BDF2])
def test_irregular_steps_keep_second_order(kind, coupling):
    game, start, speeds = GAMES["linear" if coupling == "implicit" else "nonlinear"]
    players = Players(game, (mf.Euclidean(),) * 2, speeds)
    end = mf.solve(game, start, 1.0, 1.0 / 400, scheme="rk4", speeds=speeds).states[-1]
    shares = np.tile([1.0, 1.7, 0.8, 2.6, 0.5], 3)
    errors = []
    for refined in (1, 2):
        scheme = kind(coupling)
        states, memory = start, scheme.init(players, start)
        taus = np.tile(shares, refined)
        for tau in taus / taus.sum():
            states, memory, _ = scheme.step(players, states, memory, float(tau))
        errors.append(distance(states, end))
    assert_allclose(slope_of(errors, (1, 2)), 2.0, atol=0.25)


def test_automatic_steps_use_the_order():
    """At the same tolerance a scheme of order 2 needs fewer steps, and both keep their promise."""
    p = problems.get("S1")
    steps = {}
    for name in ("jko", "vim", "bdf2", "rk4"):
        sol = mf.solve(p.problem, p.initial, 1.0, "auto", scheme=name, rtol=1e-3, atol=1e-5)
        assert p.error(sol) < 3e-3
        steps[name] = sol.info["steps"]
    assert steps["rk4"] < steps["vim"] < 0.3 * steps["jko"] and steps["bdf2"] < 0.5 * steps["jko"]


def test_the_adjoint_coupling_of_one_player_is_the_midpoint_rule():
    """In a flat space x - (tau/2) grad E(m) is 2 m - x."""
    energy = e.Function(lambda x: float(np.sum(np.cosh(x))), lambda x: np.sinh(np.asarray(x)))
    a, b = (mf.solve(energy, V([1.0, -0.4]), 1.0, 0.1, scheme=s).states[-1].values for s in (mf.JKO("adjoint"), mf.VIM()))
    assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize("scheme", [mf.VIM("implicit"), mf.VIM("symmetric"), mf.JKO("adjoint")])
def test_midpoint_schemes_conserve_the_radius(scheme):
    """VIM-NASH exactly; the splittings conserve a modified radius."""
    sol = mf.solve(g.Bilinear(1.0), (V(1.0), V(0.0)), 20.0, 0.2, scheme=scheme)
    radii = np.array([np.hypot(x.values[0], y.values[0]) for x, y in sol.states])
    assert np.abs(radii - 1.0).max() < (1e-9 if scheme.coupling == "implicit" else 0.02)


def test_critic_steps_of_the_midpoint_rule():
    game = g.LinearQuadratic(0.5, 1.5, 0.2)
    x, y = (z.values[0] for z in mf.solve(game, (V(1.0), V(0.3)), 0.1, 0.1, scheme=mf.VIM("alternating", (1, 2))).states[-1])
    tau, a, q = 0.1, 0.25 * 0.1, 0.1 * 0.1
    ex = ((1.0 - a) - tau * 1.5 * 0.3) / (1.0 + a)
    ey = 0.3
    for _ in range(2):
        ey = ((1.0 - q) * ey + tau * 1.5 * ex) / (1.0 + q)
    assert_allclose([x, y], [ex, ey], rtol=1e-13)


@pytest.mark.parametrize(
    ("scheme", "text"),
    [
        (mf.VIM("implicit"), "midpoints"),
        (mf.VIM("optimistic"), "'optimistic'"),
        (mf.JKO("adjoint"), "'adjoint'"),
        (mf.RK4(), r"RK4\(\) see stages"),
        (mf.Explicit(unrolled=2), "unrolled=2"),
    ],
)
def test_residuals_refuse_by_name(scheme, text):
    sol = mf.solve(g.Bilinear(1.0), (V(1.0), V(0.0)), 0.4, 0.1, scheme=scheme)
    with pytest.raises(mf.UnsupportedError, match=text):
        sol.residuals()
    assert_allclose(sol(0.15)[0].values, 0.5 * (sol.states[1][0].values + sol.states[2][0].values))


@pytest.mark.parametrize("name", ["vim", "bdf2", "rk4"])
def test_residuals_of_single_flows(name):
    """The energy balance of a step, E(x+) - E(x) + d^2/(2 tau) + (tau/2) |dE|^2(x+), is of second order in tau."""
    worst = [
        np.abs(mf.solve(e.Quadratic(), V(1.0), 1.0, tau, scheme=name).residuals().energy_identity).max() for tau in (0.1, 0.05)
    ]
    assert 3.0 < worst[0] / worst[1] < 5.0


def test_bdf2_of_laws_next_to_players_without_energy():
    """Players that rest keep their states, and the two-step memory of the others does not mix with theirs."""
    same = V([1.0, 2.0])
    sol = mf.solve(g.Game([e.Quadratic(), 0.0 * e.Quadratic()]), (same, same), 1.0, 0.1, scheme="bdf2")
    alone = mf.solve(e.Quadratic(), same, 1.0, 0.1, scheme="bdf2")
    assert_array_equal(sol.states[-1][0].values, alone.states[-1].values)
    assert sol.states[-1][1] is same


# D4: bounds of the simultaneous scheme with explicit constants ----------------------------------------------------------------


def stiff_game(rng):
    """Return E_1 = f(x) + h(x, y), E_2 = q(y) - h(x, y) with stiff convex f, q, the velocity, and the mixed constant of h."""
    k = 10.0 ** rng.uniform(-1.0, 2.5, size=(2, 2))
    C, wave = rng.normal(size=(2, 2)), 0.5 * rng.uniform()

    def one(own, others):
        x, y = np.asarray(own), np.asarray(others[0])
        value = x @ C @ y + wave * np.sum(np.cos(x - y)) + 0.5 * (k[0] + wave) @ x**2
        return value, C @ y - wave * np.sin(x - y) + (k[0] + wave) * x

    def two(own, others):
        y, x = np.asarray(own), np.asarray(others[0])
        value = -x @ C @ y - wave * np.sum(np.cos(x - y)) + 0.25 * k[1] @ y**4 + 0.5 * wave * y @ y
        return value, -C.T @ x - wave * np.sin(x - y) + k[1] * y**3 + wave * y

    def field(_, z):
        return -np.concatenate([one(z[:2], (z[2:],))[1], two(z[2:], (z[:2],))[1]])

    start = V(rng.normal(size=2)), V(rng.normal(size=2))
    return g.Game([one, two]), start, field, float(np.linalg.norm(C, 2)) + wave  # d_x d_y of sum cos(x - y) is at most 1


def d4_ratios(seed):
    """Return error / a posteriori bound, a posteriori / a priori bound, and speed / its bound, the largest of a run."""
    rng = np.random.default_rng(seed)
    game, start, field, L = stiff_game(rng)
    steps = int(rng.integers(4, 9))
    tau = float(10.0 ** rng.uniform(-2.0, -0.7))
    sol = mf.solve(game, start, steps * tau * (1.0 - 1e-12), tau, scheme=mf.JKO("simultaneous", tolerance=1e-11))
    z = np.array([np.concatenate([x.values, y.values]) for x, y in sol.states])
    exact = solve_ivp(field, (0.0, sol.t[-1]), z[0], method="LSODA", t_eval=sol.t, rtol=1e-9, atol=1e-11).y.T
    errors = np.linalg.norm(z - exact, axis=1)[1:]
    delta = np.linalg.norm(np.diff(z, axis=0), axis=1)
    eps = np.zeros(steps)
    for n, (old, new) in enumerate(zip(sol.states[:-1], sol.states[1:], strict=True)):
        for k in range(2):
            frozen = game.energy(k, old)
            part = np.linalg.norm(new[k].values - old[k].values)
            eps[n] += (frozen.value(old[k]) - frozen.value(new[k])) / tau - (part / tau) ** 2
    n, t = np.arange(1, steps + 1), tau * np.arange(1, steps + 1)
    s0 = np.linalg.norm(sol.slopes[0])
    posterior = np.exp(L * t) * (np.sqrt(np.cumsum(tau**2 * np.maximum(eps, 0.0))) + L * np.cumsum(tau * delta))
    prior = tau * s0 * np.exp(L * t) * ((1.0 + np.sqrt(0.5)) * np.exp(L * t) - 1.0)
    assert eps.min() >= -1e-6 * s0**2
    slack = 1e-6 * s0 * tau
    return (
        float(np.max((errors - slack) / posterior)),
        float(np.max(posterior / prior)),
        float(np.max(delta / tau / (s0 * (1.0 + L * tau) ** (n - 1)))),
    )


@pytest.mark.parametrize("seeds", [range(20), pytest.param(range(20, 300), marks=pytest.mark.slow)])
def test_bounds_of_d4_are_never_violated(seeds):
    ratios = np.array([d4_ratios(seed) for seed in seeds])
    assert ratios.max(axis=0)[0] <= 1.0 and ratios.max(axis=0)[1] <= 1.0 + 1e-6
    assert ratios.max(axis=0)[2] <= 1.0 + 1e-6


# noise --------------------------------------------------------------------------------------------------------------------


def test_stationary_variance_of_noisy_steps():
    """x+ = (1 - a tau) x + sqrt(2 T tau) xi has the variance 2 T / (a (2 - a tau))."""
    n, a, temperature, tau = 20000, 1.5, 0.7, 0.1
    sol = mf.solve(e.Quadratic(a), mf.Particles(np.ones((n, 1))), 4.0, tau, scheme=mf.Langevin(temperature, seed=3), save_at=40)
    variance = 2.0 * temperature / (a * (2.0 - a * tau))
    mean = (1.0 - a * tau) ** 40
    assert_allclose(sol.states[-1].covariance()[0, 0], variance, rtol=5.0 * np.sqrt(2.0 / n))
    assert_allclose(sol.states[-1].mean()[0], mean, atol=5.0 * np.sqrt(variance / n))


def test_mean_and_variance_of_noise_on_the_way():
    """Weights do not change the noise of an atom; speeds multiply it like steps."""
    n, tau, steps = 10000, 0.05, 6
    weights = np.random.default_rng(0).random(n) + 0.5
    cloud = mf.Particles(np.full((n, 2), 2.0), weights / weights.sum())
    sol = mf.solve(e.Quadratic(), cloud, steps * tau, tau, scheme=mf.Langevin(0.3, seed=1), speeds=2.0)
    q = 1.0 - 2.0 * tau
    variance = 0.3 * 4.0 * tau * (1.0 - q ** (2 * steps)) / (1.0 - q**2)
    assert_allclose(sol.states[-1].points.mean(axis=0), 2.0 * q**steps, atol=5.0 * np.sqrt(variance / n))
    assert_allclose(sol.states[-1].points.var(axis=0), variance, rtol=5.0 * np.sqrt(2.0 / n))


def test_noise_depends_on_seed_step_and_player_only():
    game, start = g.Bilinear(0.0), (mf.Particles(np.zeros((5, 1))), mf.Particles(np.zeros((5, 1))))
    whole = mf.solve(game, start, 0.4, 0.1, scheme=mf.Langevin(1.0, seed=4))
    again = mf.solve(game, start, 0.4, 0.1, scheme=mf.Langevin((1.0, 0.0), "alternating", seed=4))
    other = mf.solve(game, start, 0.4, 0.1, scheme=mf.Langevin(1.0, seed=5))
    for row, same, differs in zip(whole.states[1:], again.states[1:], other.states[1:], strict=True):
        assert_array_equal(row[0].points, same[0].points)
        assert_array_equal(same[1].points, 0.0)
        assert not np.any(row[0].points == row[1].points) and not np.any(row[0].points == differs[0].points)
    steps = np.diff([row[0].points[:, 0] for row in whole.states], axis=0)
    assert len(np.unique(np.abs(steps))) == steps.size


def test_two_populations_on_the_torus():
    """J = iint cos(x - y), both at temperature T: modes at the uniform laws decay like exp(-T t) and turn, at frequency 1/2."""
    n, tau, temperature, t = 20000, 0.05, 0.25, 2.0
    rng = np.random.default_rng(7)

    def mode(points):
        return np.mean(np.exp(1j * points[:, 0]))

    def draw(a):
        x = rng.uniform(-np.pi, np.pi, size=8 * n)
        return mf.Particles(x[rng.random(8 * n) < 0.5 * (1.0 + a * np.cos(x))][:n, None])

    features = np.cos, np.sin

    # cos(x - y) = cos x cos y + sin x sin y: a force needs two means only
    def force(own, others, sign):
        x, y = np.asarray(own)[:, 0], np.asarray(others[0])[:, 0]
        c, s = (np.mean(f(y)) for f in features)
        return sign * float(np.mean(np.cos(x) * c + np.sin(x) * s)), sign * (-np.sin(x) * c + np.cos(x) * s)[:, None]

    game = g.Game([lambda x, o: force(x, o, 1.0), lambda y, o: force(y, o, -1.0)])
    start = draw(0.4), draw(0.0)
    sol = mf.solve(game, start, t, tau, scheme=mf.Langevin(temperature, seed=2), save_at=10**6)
    z = [mode(law.points) for law in start]
    # linearised: a' = -T a - b/2, b' = -T b + a/2 for the modes a of player 0 and b of player 1
    decay = np.exp(-temperature * t)
    cosine, sine = decay * np.cos(0.5 * t), decay * np.sin(0.5 * t)
    found = [mode(law.points) for law in sol.states[-1]]
    expected = [cosine * z[0] - sine * z[1], cosine * z[1] + sine * z[0]]
    assert_allclose(np.array(found), np.array(expected), atol=0.03)
