"""Mini-batches: moments of noisy steps, biased losses, and the orders of section 10 in the step and in the batch.

Seeds are fixed. Means over independent copies may miss exact moments by 5 standard errors, exact ones where the copies are
Gaussian and the variance is known, else estimated from the copies; a right program fails a new seed once in a million.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import measureflow as mf
from measureflow import games as g
from measureflow import problems
from measureflow.problems import distance_between
from measureflow.problems.batches import order_statistics
from measureflow.problems.stochastic import descent_variance, rotation_second_moment

SIGMAS = 5.0

VARIANTS = [
    ("N1", {"strength": 0.7, "copies": 3}),
    ("N2", {"start": (0.3, -1.0), "copies": 2}),
    ("N3", {"n": 2, "copies": 3}),
    ("N3", {"unbiased": True, "target": 2.0}),
    ("N4", {"n": 1}),
    ("N4", {"n": 5, "target": 0.5, "copies": 2}),
    ("N5", {"deviation": 2.0}),
]


@pytest.fixture(params=VARIANTS, ids=lambda variant: variant[0] + "".join(f"-{v}" for v in variant[1].values()))
def variant(request):
    label, parameters = request.param
    return problems.get(label, **parameters)


def order(sizes, errors):
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def complex_of(states):
    return states[0].values + 1j * states[1].values


# what the problems say --------------------------------------------------------------------------------------------


def test_without_batches_the_flow_is_the_mean(variant):
    assert distance_between(variant.exact(0.0), variant.initial) < 1e-14
    scheme = "explicit" if variant.label in ("N1", "N3", "N4") else "explicit simultaneous"
    taus = 1.0 / np.array([50, 100, 200])
    errors = [variant.error(variant.solve(tau, scheme, t=1.0)) for tau in taus]
    assert abs(order(taus, errors) - 1.0) < 0.05
    for name, step in variant.exact_step.items():
        for old, new in zip(*(variant.solve(0.1, name, t=0.3).states[k] for k in (slice(0, -1), slice(1, None))), strict=True):
            assert distance_between(new, step(old, 0.1)) < 1e-9


@pytest.mark.parametrize(
    ("label", "printed"),
    [("N1", {".036036"}), ("N2", {"19.32005"}), *[("N3", {value}) for value in (".377964473", ".6255432422", ".8854220042")]],
)
def test_printed_numbers(label, printed):
    parameters = [{"n": n} for n in (2, 4, 16)] if label == "N3" else [{}]
    references = [entry for p in parameters for entry in problems.get(label, **p).reference.values()]
    shown = {entry.digits for entry in references if entry.error(None) <= 0.0}
    assert printed <= shown and len(shown) == len(parameters)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: problems.get("N1", strength=0.0), "strength must be"),
        (lambda: problems.get("N1", batch=0), "batch must be an integer >= 1"),
        (lambda: problems.get("N1", sigma=-1.0), "sigma must be"),
        (lambda: problems.get("N2", start=(1.0,)), "start must have 2 entries"),
        (lambda: problems.get("N2", copies=0), "copies must be"),
        (lambda: problems.get("N3", n=1), "n must be an integer >= 2"),
        (lambda: problems.get("N3", unbiased=1), "unbiased must be True or False"),
        (lambda: problems.get("N4", start=0.0), "start must be"),
        (lambda: problems.get("N5", deviation=-1.0), "deviation must be"),
        (lambda: mf.solve(problems.get("N3").problem, mf.Particles([[1.0]]), 1.0, 0.1), "Vector"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises((TypeError, ValueError, mf.UnsupportedError), match=message):
        call()


# N1 and N2: noise of known variance -------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "implicit"), [("explicit", False), ("jko", True)])
@pytest.mark.parametrize("steps", [1, 10, 80])
def test_noisy_descent_has_its_variance(scheme, implicit, steps):
    """N1; a variance estimated from m Gaussian copies has the relative standard error sqrt(2/m)."""
    copies, tau, batch = 300 if implicit else 2000, 0.1, 4
    p = problems.get("N1", copies=copies)
    sol = p.solve(tau, scheme, t=steps * tau, batch=batch, seed=7, save_at=10**6)
    x = sol.states[-1][0].values
    variance = descent_variance(tau, 1.5, 2.0, batch, steps, implicit)
    assert abs(np.var(x, ddof=1) / variance - 1.0) < SIGMAS * np.sqrt(2.0 / (copies - 1))
    mean = p.factors[scheme](tau) ** steps
    assert abs(np.mean(x) - mean) < SIGMAS * np.sqrt(variance / copies)
    if steps == 80:
        stationary = p.constants["stationary variance" + (", jko" if implicit else "")]
        assert_allclose(variance, stationary, rtol=1e-8)


def test_stationary_variances_agree_for_small_steps_only():
    """tau sigma^2/(B lambda (2 - lambda tau)) and, implicit, with 2 + lambda tau: both sigma^2 tau/(2 B lambda) for tau -> 0."""
    for tau in (0.4, 1e-4):
        found = [descent_variance(tau, 1.5, 2.0, 4, implicit=implicit) for implicit in (False, True)]
        assert_allclose(found, [4.0 * tau / (4 * 1.5 * (2.0 + s * 1.5 * tau)) for s in (-1.0, 1.0)], rtol=1e-11)
    assert descent_variance(2.0 / 1.5, 1.5, 2.0, 4) == np.inf


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_noisy_rotation_has_its_second_moment(batch):
    """N2; |z|^2 = |mean|^2 + noise, of exact variance 4 |m|^2 v + 4 v^2 for a complex Gaussian with E|noise|^2 = 2v."""
    copies, steps, tau = 200, 50, 0.2
    p = problems.get("N2", copies=copies)
    sol = p.solve(tau, "explicit simultaneous", t=steps * tau, batch=batch, seed=3, save_at=10**6)
    squares = np.abs(complex_of(sol.states[-1])) ** 2
    moment = rotation_second_moment(steps, tau, (2.0, 2.0), batch)
    grown = (1.0 + tau**2) ** steps
    noise = 0.5 * (moment - grown)
    error = np.sqrt((4.0 * grown * noise + 4.0 * noise**2) / copies)
    assert abs(np.mean(squares) - moment) < SIGMAS * error
    assert_allclose(moment, grown + 2.0 * 4.0 / batch * (grown - 1.0), rtol=1e-12)
    if batch == 4:
        assert_allclose(p.constants["E|z_n|^2"], moment, rtol=1e-14)


def test_the_dirac_wgan_with_noisy_data_has_its_second_moment():
    """N5: only the critic's gradient is noisy; 100 runs of 8 steps, their standard error estimated."""
    p = problems.get("N5", tau=0.125, steps=8)
    squares = []
    for seed in range(100):
        sol = p.solve(0.125, "explicit simultaneous", t=1.0, batch=4, seed=seed, save_at=10**6)
        squares.append(float(np.abs(complex_of(sol.states[-1])[0]) ** 2))
    expected, grown = p.constants["E|z_n|^2"], (1.0 + 0.125**2) ** 8
    assert_allclose(expected, grown + 0.25 * (grown - 1.0), rtol=1e-12)
    assert abs(np.mean(squares) - expected) < SIGMAS * np.std(squares) / np.sqrt(len(squares))


def test_the_dual_limit_needs_small_steps_over_large_batches():
    """N5: E|z_n - z(t_n)|^2 at fixed t has the noise s^2 ((1 + tau^2)^n - 1)/B ~ s^2 t tau/B and the bias t^2 tau^2/4."""

    def gap(tau, batch, t=2.0):
        steps = round(t / tau)
        noise = rotation_second_moment(steps, tau, (0.0, 1.0), batch, radius=0.0)
        return noise + abs((1.0 + 1j * tau) ** steps - np.exp(1j * t)) ** 2

    assert_allclose(gap(1e-3, 1), 2.0 * 1e-3 + 1e-6, rtol=2e-3)
    assert gap(1e-3, 1) < 0.02 * gap(0.1, 1) and gap(0.1, 10**6) > 0.9 * gap(0.1, 10**9)
    assert gap(1e-3, 1000) < 0.01 * gap(1e-3, 1)


# N3 and N4: biased mini-batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.4, 1.7, -0.8])
@pytest.mark.parametrize(
    ("label", "parameters"), [("N3", {"n": 3}), ("N3", {"n": 3, "unbiased": True}), ("N4", {"n": 3}), ("N4", {"n": 1})]
)
def test_losses_are_the_means_of_their_mini_batches(label, parameters, scale):
    copies = 4000
    p = problems.get(label, copies=copies, target=1.3, **parameters)
    g0 = mf.Vector(np.full(copies, scale))
    sampled = p.problem.minibatch(2, np.random.default_rng(1))
    slopes = sampled.gradient(g0)
    error = np.std(slopes) / np.sqrt(copies)
    assert abs(np.mean(slopes) - p.problem.gradient(g0)[0]) < SIGMAS * error
    one = problems.get(label, target=1.3, **parameters).problem
    values = [one.minibatch(1, np.random.default_rng(k)).value(mf.Vector(scale)) for k in range(400)]
    assert abs(np.mean(values) - one.value(mf.Vector(scale))) < SIGMAS * np.std(values) / 20.0
    assert mf.check_gradient(sampled, mf.Vector(np.linspace(0.3, 2.0, copies))) > 1.9


@pytest.mark.parametrize(("n", "unbiased"), [(2, False), (4, False), (16, False), (4, True)])
def test_the_energy_distance_of_mini_batches_falls_short(n, unbiased):
    """N3: flows end at g/target = sqrt((1 - 1/n)^2/(2 - (1 - 1/n)^2)), and noisy steps on average near it."""
    p = problems.get("N3", n=n, unbiased=unbiased, target=2.0, start=1.5, copies=300)
    ratio = p.constants["g/target"]
    assert_allclose(p.exact(80.0).values / 2.0, ratio, rtol=1e-5)
    sol = p.solve(0.2, "explicit", t=20.0, batch=10, seed=0, save_at=10**6)
    scales, expected = sol.states[-1].values / 2.0, p.exact(20.0).values[0] / 2.0
    # the curvature of the loss shifts the mean by O(tau/B), below 0.005 here
    assert abs(np.mean(scales) - expected) < SIGMAS * np.std(scales) / np.sqrt(300.0) + 0.005
    assert abs(expected - ratio) < 0.02
    assert (abs(ratio - 1.0) < 1e-14) == unbiased


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("tau", [0.2, 0.02])
def test_mini_batch_transport_collapses_the_scale(n, tau):
    """N4: E g_k = rho + (g_0 - rho)(1 - tau)^k for explicit steps, whatever the learning rate and the number of batches."""
    copies = 400
    p = problems.get("N4", n=n, start=1.0, copies=copies)
    rho = p.constants["g/target"]
    sol = p.solve(tau, "explicit", t=2.0, batch=20, seed=5, save_at=10**6)
    scales = sol.states[-1].values
    expected = rho + (1.0 - rho) * (1.0 - tau) ** round(2.0 / tau)
    assert n == 1 or scales.min() > 0.0  # negative scales would be matched the other way round
    assert abs(np.mean(scales) - expected) < SIGMAS * np.std(scales) / np.sqrt(copies)
    assert_allclose(p.exact(60.0).values, rho, atol=1e-12)


def test_mini_batches_of_transport_see_more_the_larger_they_are():
    shares = [problems.get("N4", n=n).constants["g/target"] for n in (1, 2, 4, 16, 64)]
    assert_allclose(shares[:2], [0.0, 1.0 / np.pi], atol=1e-14)
    assert np.all(np.diff(shares) > 0.0) and 0.95 < shares[-1] < 1.0


def test_means_of_order_statistics():
    assert_allclose(order_statistics(3), [-1.5 / np.sqrt(np.pi), 0.0, 1.5 / np.sqrt(np.pi)], atol=1e-13)
    for n in (5, 30):
        means = np.array(order_statistics(n))
        assert_allclose(means, -means[::-1], atol=1e-12)
        draws = np.sort(np.random.default_rng(0).normal(size=(20000, n)), axis=1)
        assert np.all(np.abs(draws.mean(axis=0) - means) < SIGMAS * draws.std(axis=0) / np.sqrt(20000.0))


# the game of noise ------------------------------------------------------------------------------------------------


def test_noise_is_that_of_the_seed_and_shrinks_like_the_root_of_the_batch():
    game = g.Noisy(g.Bilinear(np.eye(2)), ([1.0, 0.0], [0.5, 2.0]))
    start = mf.Vector([1.0, 2.0]), mf.Vector([0.0, -1.0])
    runs = [mf.solve(game, start, 1.0, 0.1, scheme="explicit", batch=b, seed=s).states[-1] for b, s in ((1, 0), (1, 0), (1, 1))]
    assert distance_between(runs[0], runs[1]) == 0.0 < distance_between(runs[0], runs[2])
    mean = mf.solve(game, start, 0.1, 0.1, scheme="explicit").states[-1]
    gaps = []
    for batch in (1, 4, 10**8):
        end = mf.solve(game, start, 0.1, 0.1, scheme="explicit", batch=batch, seed=9).states[-1]
        gaps.append(np.concatenate([x.values - y.values for x, y in zip(end, mean, strict=True)]))
    assert_allclose(gaps[1], gaps[0] / 2.0, atol=1e-15)
    assert gaps[0][1] == 0.0 and np.all(gaps[0][[0, 2, 3]] != 0.0)
    assert np.abs(gaps[2]).max() < 1e-3


def test_noise_leaves_the_game_what_it_is():
    game = g.Noisy(g.Bilinear(1.0), (1.0, 1.0))
    assert game.zero_sum and game.players == 2
    assert game.best_response(0, (mf.Vector(1.0), mf.Vector(1.0))) is None
    plain = mf.solve(g.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 1.0, 0.1)
    sol = mf.solve(game, (mf.Vector(1.0), mf.Vector(0.0)), 1.0, 0.1)
    assert distance_between(plain.states[-1], sol.states[-1]) == 0.0


def test_all_atoms_of_a_law_feel_the_same_force():
    rng = np.random.default_rng(0)
    laws = mf.Particles(rng.normal(size=(5, 2))), mf.Gaussian([0.0, 1.0], np.eye(2))
    game = g.Noisy(g.Bilinear(np.eye(2)), (np.ones(2), np.ones(2)))
    noisy, plain = (mf.solve(game, laws, 0.5, 0.1, **more).states[-1] for more in ({"batch": 1, "seed": 0}, {}))
    shift = noisy[0].points - plain[0].points
    assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-14)
    assert np.linalg.norm(shift[0]) > 1e-3
    assert_allclose(noisy[1].cov, plain[1].cov, rtol=1e-12)


def test_noise_and_mini_batches_of_the_target_add_up():
    target = mf.Particles(np.linspace(-1.0, 1.0, 8)[:, None])
    game = g.Noisy(g.Game([mf.energies.MMD(target, "gaussian")]), (0.3,))
    start = (mf.Particles([[0.0], [2.0]]),)
    ends = [mf.solve(game, start, 0.2, 0.1, scheme="explicit", **more).states[-1][0] for more in ({}, {"batch": 3, "seed": 1})]
    quiet = mf.solve(game.game, start, 0.2, 0.1, scheme="explicit", batch=3, seed=1).states[-1][0]
    assert mf.distance(*ends) > 1e-3 and mf.distance(ends[1], quiet) > 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: g.Noisy(mf.energies.Quadratic(), (1.0,)), "game must be a game"),
        (lambda: g.Noisy(g.Bilinear(1.0), (1.0,)), "deviations must have 2 entries"),
        (lambda: g.Noisy(g.Bilinear(1.0), (1.0, -1.0)), r"deviations\[1\] must be nonnegative"),
    ],
)
def test_noise_needs_a_game_and_deviations(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_noise_needs_states_of_its_dimension():
    pair = mf.Vector(1.0), mf.Vector(0.0)
    with pytest.raises(ValueError, match=r"initial\[0\] must have the dimension 2 of deviations\[0\]"):
        mf.solve(g.Noisy(g.Bilinear(1.0), ([1.0, 1.0], 1.0)), pair, 1.0, 0.1)


# section 10: orders in the step and in the batch ------------------------------------------------------------------

COPIES = 120


def worst(p, tau, **options):
    """Return the root mean square, over copies, of the largest |z_n - z(t_n)| on [0, 1]."""
    sol = p.solve(tau, "explicit simultaneous", t=1.0, **options)
    gaps = [np.abs(complex_of(states) - complex_of(p.exact(float(t)))) for t, states in zip(sol.t, sol.states, strict=True)]
    return float(np.sqrt(np.mean(np.max(gaps, axis=0) ** 2)))


TAUS = 1.0 / np.array([5, 10, 20, 40])


def test_exact_gradients_have_order_one_in_the_step():
    p = problems.get("N2")
    assert abs(order(TAUS, [worst(p, tau) for tau in TAUS]) - 1.0) < 0.05


def test_large_batches_have_order_one_in_the_step():
    p = problems.get("N2", sigma=1.0, copies=COPIES)
    errors = [worst(p, tau, batch=10**6, seed=k) for k, tau in enumerate(TAUS)]
    assert abs(order(TAUS, errors) - 1.0) < 0.05


def test_small_batches_have_order_one_half_in_the_step():
    """RMS of the largest error <= C (tau + sqrt(tau/B)); here the noise dominates."""
    p = problems.get("N2", sigma=5.0, copies=COPIES)
    errors = [worst(p, tau, batch=1, seed=k) for k, tau in enumerate(TAUS / 2.0)]
    assert abs(order(TAUS, errors) - 0.5) < 0.06, errors


def test_errors_have_order_minus_one_half_in_the_batch():
    p = problems.get("N2", sigma=5.0, copies=COPIES)
    batches = np.array([1, 4, 16, 64])
    errors = [worst(p, 0.02, batch=int(b), seed=k) for k, b in enumerate(batches)]
    assert abs(order(batches, errors) + 0.5) < 0.05, errors


def test_fluctuations_are_those_of_the_limiting_diffusion():
    """sqrt(B/tau)(z_n - z(t_n)) has the covariance sigma^2 t in the rotation, in both directions, for tau -> 0."""
    tau, batch, sigma = 0.02, 4, 2.0
    p = problems.get("N2", sigma=sigma, copies=COPIES)
    sol = p.solve(tau, "explicit simultaneous", t=1.0, batch=batch, seed=11, save_at=10**6)
    noise = complex_of(sol.states[-1]) - p.factors["explicit simultaneous"](tau) ** 50
    scaled = np.sqrt(batch / tau) * np.array([noise.real, noise.imag])
    expected = sigma**2 * ((1.0 + tau**2) ** 50 - 1.0) / tau
    assert_allclose(expected, sigma**2, rtol=0.02)
    spread = np.cov(scaled) / expected
    assert np.all(np.abs(spread - np.eye(2)) < SIGMAS * np.sqrt(2.0 / COPIES))
