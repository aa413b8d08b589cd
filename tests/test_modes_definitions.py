"""Modes: the published measures of coverage, stricter ones, averages over time, and the targets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import measureflow as mf
from measureflow import modes
from measureflow.modes.catalogue import TARGETS
from measureflow.modes.digits import reader
from measureflow.quality import PERFECT

PLANE = ("ring", "grid", "uneven-ring", "uneven-grid", "mixed-widths", "spiral", "hundred")
PAIR = [[-1.0, 0.0], [1.0, 0.0]]


# the published definitions -----------------------------------------------------------------------------------------


def by_hand(points, centres, std, radius=3.0):
    """Modes, high quality and reverse KL, one sample after the other."""
    good, everything = np.zeros(len(centres)), np.zeros(len(centres))
    for point in points:
        gaps = [np.linalg.norm(point - centre) for centre in centres]
        nearest = int(np.argmin(gaps))
        everything[nearest] += 1
        good[nearest] += gaps[nearest] <= radius * std
    share = everything / len(points)
    kl = sum(p * np.log(p * len(centres)) for p in share if p > 0.0)
    return np.count_nonzero(good), good.sum() / len(points), kl


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 40), st.integers(0, 10**6))
def test_the_published_numbers_are_what_the_papers_say(k, d, n, seed) -> None:
    rng = np.random.default_rng(seed)
    centres, std = rng.normal(size=(k, d)), 0.2
    points = centres[rng.integers(k, size=n)] + 0.4 * rng.normal(size=(n, d))
    seen = modes.coverage(points, centres, std)
    count, quality, kl = by_hand(points, centres, std)
    assert seen.modes == count
    assert seen.high_quality == pytest.approx(quality, abs=1e-12)
    assert seen.reverse_kl == pytest.approx(kl, abs=1e-12)


@pytest.mark.parametrize("name", PLANE)
def test_a_perfect_sampler_scores_98_9_percent(name) -> None:
    target = modes.target(name)
    seen = target.cover(target.sample(20_000, seed=4))
    assert seen.modes == seen.fair_modes == seen.visited == len(target)
    assert seen.complete
    assert abs(seen.high_quality - PERFECT) < 4.0 * np.sqrt(PERFECT * (1.0 - PERFECT) / 20_000)
    assert seen.perfect == pytest.approx(PERFECT, rel=1e-12)
    assert seen.reverse_kl < 4.0 * len(target) / 40_000  # 2 n KL is chi^2 of k - 1 degrees of freedom
    assert seen.reverse_kl_high_quality < 4.0 * len(target) / 40_000
    assert abs(seen.entropy + np.sum(target.weights * np.log(target.weights))) < 0.03


@pytest.mark.parametrize("dim", [1, 2, 3, 10, 192])
def test_the_radius_of_quality_is_the_chi_quantile(dim) -> None:
    reach = modes.quality_radius(dim)
    assert modes.quality(reach, dim) == pytest.approx(PERFECT, rel=1e-12)
    norms = np.linalg.norm(np.random.default_rng(0).normal(size=(20_000, dim)), axis=1)
    assert abs(np.mean(norms <= reach) - PERFECT) < 4e-3
    assert modes.mixture(np.zeros((1, dim)), 1.0).radius == pytest.approx(max(reach, 3.0))


def test_three_deviations_hold_little_in_high_dimension() -> None:
    assert modes.quality(3.0, 2) == pytest.approx(1.0 - np.exp(-4.5), rel=1e-14)
    assert modes.quality(10.0, 700) < 1e-100
    target = modes.mixture(np.zeros((1, 100)), 1.0, radius=3.0)
    assert target.cover(target.sample(500, seed=0)).high_quality == 0.0
    assert target.perfect < 1e-30


@pytest.mark.parametrize("held", [1, 3, 8])
def test_a_collapsed_law_has_the_reverse_kl_of_its_modes(held) -> None:
    target = modes.ring()
    seen = target.cover(target.centres[:held])
    assert (seen.modes, seen.high_quality) == (held, 1.0)
    assert seen.reverse_kl == pytest.approx(np.log(8 / held), abs=1e-12)
    assert seen.entropy == pytest.approx(np.log(held), abs=1e-12)


def test_uneven_weights_are_the_fair_shares() -> None:
    points = [PAIR[0]] * 94 + [PAIR[1]] * 6
    even, fitting = (modes.coverage(points, PAIR, 0.1, weights) for weights in (None, [0.94, 0.06]))
    assert (even.modes, even.fair_modes, even.complete) == (2, 1, False)
    assert (fitting.modes, fitting.fair_modes, fitting.complete) == (2, 2, True)
    assert fitting.reverse_kl == pytest.approx(0.0, abs=1e-14) and even.reverse_kl > 0.4
    assert modes.coverage([PAIR[0]] * 9 + [PAIR[1]], PAIR, 0.1).fair_modes == 2  # 20 % of a half


def test_what_is_far_from_all_modes_counts_for_the_histogram_only() -> None:
    seen = modes.coverage([[-1.0, 0.0], [0.5, 0.0]], PAIR, 0.1)
    assert (seen.modes, seen.visited, seen.high_quality) == (1, 2, 0.5)
    assert seen.reverse_kl == pytest.approx(0.0, abs=1e-15)
    assert seen.reverse_kl_high_quality == pytest.approx(np.log(2.0))
    lost = modes.coverage([[0.0, 50.0]], PAIR, 0.1)
    assert (lost.modes, lost.high_quality, lost.reverse_kl_high_quality) == (0, 0.0, np.inf)


def test_distances_are_in_units_of_each_modes_width() -> None:
    seen = modes.coverage([[0.0, 0.0]], PAIR, [0.1, 1.0])
    assert seen.captured.tolist() == [False, True]
    assert modes.coverage([[0.0, 0.0]], PAIR, [0.1, 0.3]).modes == 0


def test_the_numbers_do_not_depend_on_the_picture() -> None:
    """Moved, turned and scaled problems give the same numbers, whatever the order of samples and modes."""
    target, rng = modes.grid(), np.random.default_rng(3)
    points = rng.normal(size=(300, 2)) * 2.0
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    plain = target.cover(points)
    other = modes.coverage(7.0 * points[::-1] @ turn + 5.0, 7.0 * target.centres[::-1] @ turn + 5.0, 7.0 * target.std)
    assert other.modes == plain.modes and other.mass[::-1] == pytest.approx(plain.mass)
    assert other.histogram[::-1] == pytest.approx(plain.histogram)


# laws with weights -------------------------------------------------------------------------------------------------


def test_atoms_count_by_their_weights() -> None:
    law = mf.Particles([PAIR[0], PAIR[1], [0.3, 0.0]], [0.5, 0.25, 0.25])
    seen = modes.coverage(law, PAIR, 0.1)
    assert seen.mass == pytest.approx([0.5, 0.25]) and seen.histogram == pytest.approx([0.5, 0.5])
    copies = modes.coverage([PAIR[0]] * 2 + [PAIR[1]] + [[0.3, 0.0]], PAIR, 0.1)
    assert copies.numbers() == pytest.approx(seen.numbers())


def test_an_atom_without_weight_captures_nothing() -> None:
    """WFR flows drop atoms by their weights: of 2500 samples one is to be expected."""
    rest = mf.Particles([PAIR[0], PAIR[1]], [1.0 - 1e-6, 1e-6])
    assert modes.coverage(rest, PAIR, 0.1).modes == 1
    assert modes.coverage(mf.Particles([PAIR[0], PAIR[1]], [0.999, 0.001]), PAIR, 0.1).modes == 2
    assert modes.coverage([PAIR[0]] * 9999 + [PAIR[1]], PAIR, 0.1).modes == 2


def test_every_law_of_atoms_is_accepted() -> None:
    for law in (mf.Quantiles([-1.0, 1.0]), mf.Particles([[-1.0], [1.0]]), [[-1.0], [1.0]]):
        assert modes.coverage(law, [[-1.0], [1.0]], 0.1).modes == 2
    assert modes.coverage(mf.Vector([1.0, 0.0]), PAIR, 0.1).captured.tolist() == [False, True]


# transport ---------------------------------------------------------------------------------------------------------


def test_w2_is_the_distance_to_the_reference() -> None:
    target = modes.ring()
    points = target.sample(300, seed=1)
    seen = modes.coverage(points + [0.3, 0.4], target.centres, target.std, reference=points)
    assert seen.w2 == pytest.approx(0.5, rel=1e-9)
    assert seen.numbers()["w2"] == seen.w2
    assert target.cover(points).w2 is None


def test_w2_of_a_perfect_sample_is_the_floor() -> None:
    target = modes.ring()
    floor = target.floor(400)
    perfect = target.cover(target.sample(400, seed=9), w2=True).w2
    assert 0.3 * floor < perfect < 3.0 * floor
    assert target.cover(target.centres[np.zeros(400, int)], w2=True).w2 > 1.2  # sqrt of E|x - x_0|^2 = 2
    assert target.distance(target.sample(400, seed=5), seed=5) == pytest.approx(0.0, abs=1e-9)


def test_w2_of_many_atoms_is_sliced() -> None:
    target = modes.ring()
    points = target.sample(3000, seed=0)
    moved = modes.coverage(points + [0.3, 0.4], target.centres, target.std, reference=points).w2
    assert moved == pytest.approx(0.5 / np.sqrt(2.0), rel=0.1)  # the mean square of a projection is half


# averages over time ------------------------------------------------------------------------------------------------


def test_a_hopping_atom_covers_all_modes_on_average_only() -> None:
    ring = modes.ring()
    mean = modes.average(ring.cover(ring.centres[[k % 8]]) for k in range(80))
    assert (mean.modes, mean.fair_modes, mean.high_quality) == (1.0, 1.0, 1.0)
    assert mean.reverse_kl == pytest.approx(np.log(8.0))
    assert (mean.law.modes, mean.law.fair_modes) == (8, 8)
    assert mean.law.reverse_kl == pytest.approx(0.0, abs=1e-12)


def test_the_average_distance_is_known_if_all_are() -> None:
    pair = np.asarray(PAIR, np.float64)
    near, far = (modes.coverage(pair + shift, PAIR, 0.1, reference=PAIR) for shift in (0.1, 0.3))
    assert modes.average([near, far]).w2 == pytest.approx(0.2 * np.sqrt(pair.shape[1]))
    assert modes.average([near, modes.coverage(PAIR, PAIR, 0.1)]).w2 is None


def test_the_average_law_is_the_law_of_all_times() -> None:
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(50, 2)) for _ in range(4)]
    mean = modes.average([modes.coverage(cloud, PAIR, 0.3) for cloud in clouds])
    whole = modes.coverage(np.concatenate(clouds), PAIR, 0.3)
    assert mean.law.numbers() == pytest.approx(whole.numbers()) and mean.law.n == whole.n


def test_uneven_times_weigh_by_the_trapezoidal_rule() -> None:
    rows = [modes.coverage([PAIR[k]], PAIR, 0.1) for k in (0, 1, 1)]
    mean = modes.average(rows, t=[0.0, 1.0, 4.0])
    assert mean.law.histogram == pytest.approx([1 / 8, 7 / 8])
    assert mean.law.modes == 2


# targets -----------------------------------------------------------------------------------------------------------


def test_the_published_targets() -> None:
    ring, grid = modes.ring(), modes.grid()
    assert (len(ring), ring.std, len(grid), grid.std) == (8, 0.01, 25, 0.05)
    assert np.linalg.norm(ring.centres, axis=1) == pytest.approx(np.ones(8))
    assert sorted(set(grid.centres.ravel())) == [-4.0, -2.0, 0.0, 2.0, 4.0]
    assert ring.radius == grid.radius == pytest.approx(3.0)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_samples_have_the_moments_of_the_target(name) -> None:
    target = modes.target(name)
    points = target.sample(5000, seed=2)
    assert points.shape == (5000, target.dim)
    spread = np.sqrt(np.mean(np.var(points, axis=0)))
    assert spread == pytest.approx(target.spread, rel=0.05)
    assert np.max(np.abs(points.mean(axis=0) - target.mean)) < 5.0 * np.max(points.std(axis=0)) / np.sqrt(5000)
    inside = (points >= target.box()[:, 0]) & (points <= target.box()[:, 1])
    assert inside.all()
    assert target.weights.sum() == pytest.approx(1.0) and target.weights.shape == target.widths.shape == (len(target),)


def test_samples_are_the_same_for_the_same_seed() -> None:
    for target in (modes.ring(), modes.stacked_digits()):
        assert np.array_equal(target.sample(20, seed=7), target.sample(20, seed=7))
        assert not np.array_equal(target.sample(20, seed=7), target.sample(20, seed=8))
        assert np.array_equal(target.particles(20, seed=7).points, target.sample(20, seed=7))
        assert np.array_equal(target.start(20, seed=7).points, target.start(20, seed=7).points)


def test_a_start_knows_mean_and_size_only() -> None:
    target = modes.mixture(np.add(PAIR, 5.0), 0.1)
    law = target.start(20_000, seed=0)
    assert law.mean() == pytest.approx(target.mean, abs=0.03)
    assert law.covariance() == pytest.approx(target.spread**2 * np.eye(2), abs=0.02)
    assert np.ptp(target.start(100, seed=0, spread=1e-3, at=[4.0, 5.0]).points, axis=0).max() < 0.01


def test_spirals_are_evenly_spaced_and_weights_geometric() -> None:
    gaps = np.linalg.norm(np.diff(modes.spiral(40).centres, axis=0), axis=1)
    assert gaps.max() < 1.15 * gaps.min()
    uneven = modes.uneven(modes.grid(), 10.0, seed=1)
    assert np.sort(uneven.weights)[[0, -1]] @ [10.0, -1.0] == pytest.approx(0.0, abs=1e-12)
    assert not np.array_equal(uneven.weights, modes.uneven(modes.grid(), 10.0, seed=2).weights)


def test_ten_modes_in_1200_dimensions() -> None:
    target = modes.high_dimensional()
    points = target.sample(2000, seed=0)
    assert (target.dim, len(target)) == (1200, 10)
    assert np.all(points[:, 700:] == points[:, 700:701])  # 500 coordinates do not vary within a mode
    assert np.linalg.norm(points - points[:, 700:701], axis=1) == pytest.approx(np.sqrt(700) * np.ones(2000), rel=0.15)
    seen = target.cover(points)
    assert (seen.modes, seen.fair_modes) == (10, 10)
    assert abs(seen.high_quality - PERFECT) < 0.01 and seen.perfect == pytest.approx(PERFECT)
    nearest = points[:, 700, None] - target.centres[:, 0]
    assert seen.histogram == pytest.approx(np.bincount(np.argmin(np.abs(nearest), axis=1), minlength=10) / 2000)


# stacked digits ----------------------------------------------------------------------------------------------------


def test_the_reader_of_digits_is_fixed_and_accurate() -> None:
    assert reader() is reader()
    assert reader().accuracy == pytest.approx(0.98664, abs=2e-5)
    target = modes.stacked_digits()
    known = {image.tobytes() for image in reader().images}
    assert not any(image.tobytes() in known for image in target.images)  # it has seen none of the images of the target


def test_real_stacked_digits_cover_the_thousand_modes() -> None:
    target = modes.stacked_digits()
    seen = target.cover(target.sample(26_000, seed=1))
    assert (seen.visited, seen.modes, seen.fair_modes) == (1000, 1000, 1000)
    assert seen.high_quality == pytest.approx(target.perfect, abs=0.01) and 0.85 < target.perfect < 0.95
    assert seen.reverse_kl == pytest.approx(999 / 52_000, rel=0.2)  # what chance leaves


def test_nonsense_is_in_some_mode_but_not_of_quality() -> None:
    target, rng = modes.stacked_digits(), np.random.default_rng(0)
    noise = target.cover(rng.uniform(size=(200, 192)))
    assert noise.visited > 0 and noise.modes == 0
    assert target.cover(target.mean[None]).modes == 0  # the mean of all digits
    blurred = 0.5 * (target.sample(2000, seed=1) + target.sample(2000, seed=2))
    assert target.cover(blurred).high_quality < 0.15


def test_means_of_kinds_are_in_their_modes() -> None:
    target = modes.stacked_digits()
    seen = target.cover(target.centres[[0, 123, 999]])
    assert np.flatnonzero(seen.histogram).tolist() == [0, 123, 999]
    assert seen.reverse_kl == pytest.approx(np.mean([np.log(1 / (3 * target.weights[k])) for k in (0, 123, 999)]))
    assert target.cover(target.centres[[123]], w2=True).w2 > 2.0


# bad arguments -----------------------------------------------------------------------------------------------------

BAD = {
    "samples must be a 2-D array": lambda: modes.coverage([1.0, 2.0], PAIR, 0.1),
    r"samples must have shape \(n, 2\)": lambda: modes.coverage([[1.0]], PAIR, 0.1),
    "samples must be finite": lambda: modes.coverage([[np.nan, 0.0]], PAIR, 0.1),
    "centres must be a 2-D array": lambda: modes.coverage(PAIR, [1.0, 0.0], 0.1),
    "std must be positive, got the minimum 0": lambda: modes.coverage(PAIR, PAIR, 0.0),
    r"std must be a number or have shape \(2,\)": lambda: modes.coverage(PAIR, PAIR, [0.1, 0.1, 0.1]),
    r"weights must have shape \(2,\), one for each of the centres": lambda: modes.coverage(PAIR, PAIR, 0.1, [1.0]),
    "weights must be positive with sum 1": lambda: modes.coverage(PAIR, PAIR, 0.1, [0.5, 0.6]),
    "radius must be a finite number > 0": lambda: modes.coverage(PAIR, PAIR, 0.1, radius=0.0),
    "part must be a finite number > 0 and < 1": lambda: modes.quality_radius(2, 1.0),
    "dim must be an integer >= 1": lambda: modes.quality(3.0, 0),
    "coverages must have one or more entries": lambda: modes.average([]),
    "coverages must be of one target": lambda: modes.average(
        [modes.coverage(PAIR, PAIR, 0.1), modes.coverage(PAIR, PAIR, 0.1, [0.4, 0.6])]
    ),
    "t must be increasing": lambda: modes.average([modes.coverage(PAIR, PAIR, 0.1)] * 2, t=[1.0, 1.0]),
    "n_modes must be an integer >= 1": lambda: modes.ring(0),
    "side must be an integer >= 1": lambda: modes.grid(0),
    "spacing must be a finite number > 0": lambda: modes.grid(spacing=0.0),
    "turns must be a finite number > 0": lambda: modes.spiral(turns=0.0),
    "ratio must be a finite number >= 1": lambda: modes.uneven(modes.ring(), 0.5),
    "inner must be an integer >= 1 and <= 5": lambda: modes.high_dimensional(5, 6),
    "n must be an integer >= 1": lambda: modes.ring().sample(0),
    "spread must be a finite number > 0": lambda: modes.ring().start(5, spread=0.0),
    r"at must have shape \(2,\)": lambda: modes.ring().start(5, at=[0.0]),
    "margin must be a finite number >= 0": lambda: modes.ring().box(-1.0),
    "name must be one of 'ring', 'grid'": lambda: modes.target("rings"),
}


@pytest.mark.parametrize("message", list(BAD))
def test_bad_arguments_are_named(message) -> None:
    with pytest.raises(ValueError, match=message):
        BAD[message]()


def test_wrong_kinds_are_named() -> None:
    with pytest.raises(TypeError, match="samples must be an array of real numbers"):
        modes.coverage("ring", PAIR, 0.1)
    with pytest.raises(TypeError, match="coverages must be a sequence of Coverage"):
        modes.average([1.0])
    with pytest.raises(TypeError, match="w2 must be True or False"):
        modes.ring().cover(PAIR, w2=1)
    with pytest.raises(TypeError, match="target must be a Mixture"):
        modes.uneven("ring")
