"""Phase diagrams and mitigations: thresholds of the theory, measured; members do not know of each other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import measureflow as mf
from measureflow import problems
from measureflow.modes import grid, phase_ring
from measureflow.modes.mitigations import MITIGATIONS, Mitigation, mitigation_table, mitigations
from measureflow.modes.phase import DIAGRAMS, PhaseDiagram, Threshold, phase_diagram
from measureflow.modes.phase_axes import AXES
from measureflow.modes.phase_models import eigenvalues
from measureflow.modes.phase_panels import phase_panels
from measureflow.modes.phase_ring import predicted, train
from measureflow.modes.pictures import mitigation_picture
from measureflow.modes.side_by_side import side_by_side


@pytest.mark.parametrize("noise", [0.0, 0.7])
@pytest.mark.parametrize("label", ["G15", "G17"])
def test_members_take_the_steps_of_solve(label, noise):
    base = problems.get(label, beta=0.4).problem
    points, critic = np.array([[0.2, 0.3], [0.9, -0.1], [-0.4, 0.5]]), np.array([[0.5, -0.9], [0.1, 0.2]])
    speeds, ridge = np.array([[1.0, 2.0], [0.5, 3.0]]), [0.4, 0.9]
    members = side_by_side(base, speeds, ridge, [noise, 0.0])
    times, x, c = members.solve(points, critic, 1.0, 0.1)
    for k in range(2):
        game = mf.games.GAN(
            base.target, critic=base.critic, penalty=mf.games.Ridge(ridge[k]), instance_noise=noise if k == 0 else 0.0
        )
        start = mf.Particles(points[:, k : k + 1]), mf.Vector(critic[k])
        sol = mf.solve(game, start, 1.0, 0.1, scheme="rk4", speeds=speeds[k])
        assert_allclose(times, sol.t, atol=1e-14)
        assert_allclose(x[-1, :, k], sol.states[-1][0].points[:, 0], atol=1e-12)
        assert_allclose(c[-1, k], sol.states[-1][1].values, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "x", "tolerance", "settings"),
    [
        ("rotating-wave", [0.3, 5.0], 0.03, {"t": 80.0}),
        ("spreading", [0.3, 5.0], 0.05, {"t": 60.0}),
        ("hopping", [1.5], 0.03, {"t": 80.0}),
        ("fast-critic", [0.1, 1.0, 10.0], 0.01, {}),
        ("unrolling", [2.0, 5.0], 0.01, {}),
        ("step", [0.05, 0.2, 0.7], 0.01, {}),
        ("batch", [2.0, 8.0], 0.1, {}),
    ],
)
def test_thresholds_are_those_of_the_theory(name, x, tolerance, settings):
    known = np.asarray(DIAGRAMS[name].predicted(np.array(x), **settings))
    y = np.geomspace(0.6 * known.min(), 1.5 * known.max(), 7)
    diagram = phase_diagram(name, x, y, **settings)
    edge = diagram.threshold(4)
    assert np.isfinite(edge.measured).all() and edge.worst < tolerance + 0.5 * (y[1] / y[0] - 1.0) / 16.0
    assert set(diagram.counts()) <= {"covers", "collapses", "rotates", "frozen", "converges"}
    assert "error" in repr(edge)


def test_noise_lowers_the_ridge_that_stops_the_wave():
    edge = phase_diagram("instance-noise", [0.0, 1.2], [0.35, 0.7, 1.5], t=50.0, eta=1.0).threshold(4)
    assert_allclose(edge.measured, [1.0, np.exp(-0.72)], rtol=0.05)


def test_training_covers_or_rotates():
    settings = {"n": 150, "width": 100, "steps": 480, "seed": 1, "coupling": "alternating"}
    diagram = phase_diagram("training", [0.3, 1.0], [0.005, 0.2], **settings)
    assert diagram.status[0, 0] == "rotates" and diagram.status[1, 1] in ("covers", "blurred")
    assert diagram.predicted is None and diagram.settings == settings
    assert diagram.values["modes"].shape == (2, 2) and diagram.values["modes"][1, 1] == 8.0


def test_a_member_of_a_diagram_is_a_run_of_its_own():
    settings = {"n": 30, "width": 20, "steps": 24, "target": grid(3), "seed": 2}
    _, many = train(np.array([1.0, 4.0]), np.array([0.1, 0.3]), **settings)
    _, one = train(np.array([4.0]), np.array([0.3]), **settings)
    assert_array_equal(many.generator[-1, 1], one.generator[-1, 0])


SMALL = {"n": 30, "width": 20, "steps": 24, "seed": 2}


@pytest.mark.parametrize(
    ("axes", "x", "y"),
    [
        (("speed", "noise"), [0.5, 2.0], [0.0, 0.2]),
        (("packing", "ridge"), [1, 2], [0.1, 0.5]),
        (("unrolling", "speed"), [0, 2], [0.5, 2.0]),
        (("batch", "critic_steps"), [4, 16], [1, 3]),
        (("noise", "coupling"), [0.0, 0.3], ["alternating", "extragradient"]),
    ],
)
def test_any_two_settings_are_axes(axes, x, y):
    diagram = phase_diagram("training", x, y, axes=axes, **SMALL)
    own = {name: values[1] for name, values in zip(axes, (x, y), strict=True)}
    _, alone = train(**SMALL, **own)
    found = phase_ring._judged(diagram_target(), alone, 0)
    assert diagram.status[1, 1] == str(found[1])
    assert [diagram.values[name][1, 1] for name in ("value", "change", "move")] == [found[0][k] for k in (0, 4, 5)]
    assert diagram.settings["axes"] == axes and diagram.predicted is None
    assert [diagram.model.x, diagram.model.y] == [AXES[name].label for name in axes]
    assert diagram.plot().axes[0].get_ylabel() == diagram.model.y


def diagram_target():
    return phase_ring._data(None, 30, 2)[0]


def test_thresholds_of_noise_and_of_whole_numbers():
    names = phase_diagram("training", [1.0], None, axes=("speed", "coupling"), **SMALL)
    assert names.y.tolist() == ["simultaneous", "alternating", "extragradient"]
    with pytest.raises(ValueError, match="over names has no threshold"):
        names.threshold()

    def turned(axes, y, calm):
        values = {"calm": np.array(calm)[:, None]}
        return PhaseDiagram("training", np.array([1.0]), np.array(y), values, np.array(calm)[:, None].astype(str), {"axes": axes})

    assert turned(("speed", "noise"), [0.0, 0.2], [False, True]).threshold(0).measured[0] == pytest.approx(0.1)
    whole = turned(("speed", "batch"), [4.0, 16.0], [False, True])
    assert whole.threshold(5).measured[0] == pytest.approx(8.0)  # no runs: brackets of whole numbers stay


def test_panels_are_diagrams_side_by_side():
    panels = phase_panels("coupling", ["simultaneous", "alternating"], "training", [0.5, 2.0], [0.1, 0.5], **SMALL)
    one = phase_diagram("training", [0.5, 2.0], [0.1, 0.5], coupling="alternating", **SMALL)
    assert_array_equal(panels["alternating"].values["value"], one.values["value"])
    assert repr(panels) == "PhasePanels(coupling = simultaneous, alternating: 2 x 2 each)"
    assert [axes.get_title() for axes in panels.plot().axes[:2]] == ["simultaneous", "alternating"]


def test_packing_stops_rotations():
    settings = {"n": 150, "width": 100, "steps": 480, "seed": 1, "speed": 0.3, "ridge": 0.02}
    diagram = phase_diagram(
        "training", [1, 3], [0.3], axes=("packing", "speed"), **{k: settings[k] for k in settings if k != "speed"}
    )
    assert diagram.status[0].tolist()[0] == "rotates" and diagram.status[0, 1] in ("covers", "blurred")


def test_a_ridge_on_outputs_leaves_the_features():
    target = mf.Particles(np.random.default_rng(0).normal(size=(20, 2)))
    neurons = mf.Particles(np.random.default_rng(1).normal(size=(12, 4)))
    beta = 0.7
    plain = mf.games.GAN(target, critic=mf.games.NeuronCritic())
    ridge = mf.games.GAN(target, critic=plain.critic, penalty=mf.games.Ridge(beta))
    weights = mf.energies.Potential(
        lambda z: 0.5 * beta * z[:, 0] ** 2, lambda z: np.column_stack([beta * z[:, 0], np.zeros((len(z), 3))])
    )
    start = mf.Particles(np.random.default_rng(2).normal(size=(15, 2))), neurons
    runs = mf.ensemble(ridge, start, 6, 0.1, ridge_on="outputs")
    sol = mf.solve(mf.games.Regularised(plain, [None, weights]), start, 0.6, 0.1, scheme="explicit")
    for ours, theirs in zip(runs.states(-1, 0), sol.states[-1], strict=True):
        assert_allclose(ours.coordinates, theirs.coordinates, atol=1e-12)
    network = mf.games.MLPCritic((5,))
    game = mf.games.GAN(target, critic=network, penalty=mf.games.Ridge(beta))
    first = start[0], network.initial(2, 0)
    moved = mf.ensemble(game, first, 1, 0.1, ridge_on="outputs").critic[-1, 0]
    free = mf.ensemble(mf.games.GAN(target, critic=network), first, 1, 0.1).critic[-1, 0]
    decayed = np.where(np.arange(len(moved)) < 15, 0.0, 0.1 * beta * first[1].values)
    assert_allclose(free - moved, decayed, atol=1e-12)


def test_predicted_thresholds_scale_with_the_step():
    eta = np.array([0.5, 2.0])
    assert predicted(eta, coupling="alternating") is None and predicted(eta, loss="hinge") is None
    coarse, fine = (predicted(eta, n=60, width=40, critic_step=h) for h in (0.5, 0.25))
    assert_allclose(coarse, 2.0 * fine)
    assert_allclose(coarse[0], 4.0 * coarse[1])


def test_eigenvalues_of_overdamped_flows():
    t = 0.1 * np.arange(30)[:, None]
    damping, frequency, gap = eigenvalues(np.exp(-t) + 0.5 * np.exp(-3.0 * t), 0.1)
    assert_allclose(damping, 1.0, rtol=1e-6)
    assert frequency[0] == 0.0 and gap[0] > 0.0


def test_pictures_show_both_thresholds():
    diagram = phase_diagram("step", np.geomspace(0.05, 0.5, 4), np.geomspace(0.03, 0.9, 5))
    figure = diagram.plot(diagram.threshold(4))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["theory", "measured"]
    assert len(phase_diagram("batch", [2.0, 4.0], [0.2, 1.0]).plot().axes) == 3


def test_a_diagram_without_change_has_no_threshold():
    edge = phase_diagram("step", [0.1], [0.5, 0.9]).threshold()
    assert np.isnan(edge.measured).all() and np.isnan(edge.worst) and np.isnan(edge.exponent)
    assert Threshold(np.array([1.0, 2.0, 4.0]), np.array([1.0, 0.5, 0.25]), None).exponent == pytest.approx(-1.0)


@pytest.mark.parametrize("name", ["entropy", "unrolling", "packing", "batches"])
def test_mitigations_do_what_the_theory_says(name):
    rows = mitigations(name)
    assert rows and all(row.holds for row in rows), mitigation_table(rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(MITIGATIONS) - {"entropy", "unrolling", "packing", "batches"}))
def test_the_other_mitigations_do_what_the_theory_says(name):
    rows = mitigations(name)
    assert rows and all(row.holds for row in rows), mitigation_table(rows)


def test_the_table_marks_what_fails():
    rows = [Mitigation("a", "b", 1.0, 1.2, 0.1, "M1"), Mitigation("a", "b", 1.0, 0.2, 0.1, "M1", True)]
    assert [row.holds for row in rows] == [False, True]
    assert [line.count("FAILS") for line in mitigation_table(rows).splitlines()[2:]] == [1, 0]
    assert len(mitigation_picture(rows).axes) == 1


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: phase_diagram("nothing"), ValueError, "name must be"),
        (lambda: phase_diagram("step", [0.1, 0.1], [0.1]), ValueError, "x must hold"),
        (lambda: phase_diagram("step", [0.1], [0.0, 1.0]), ValueError, "y must hold"),
        (lambda: phase_diagram("batch", [2.5], [0.1]), ValueError, "whole numbers"),
        (lambda: phase_diagram("step", [0.1], [0.1], steepness=3), TypeError, "steepness is not a setting"),
        (lambda: phase_diagram("training", [1.0], [1.0], target=3), TypeError, "target must be a Target"),
        (lambda: phase_diagram("training", axes=("speed", "speed")), ValueError, "two different names"),
        (lambda: phase_diagram("training", axes=("coupling", "speed")), ValueError, "two different names"),
        (lambda: phase_diagram("training", axes=("speed",)), ValueError, "axes must"),
        (lambda: phase_diagram("training", axes=("speed", "hope")), ValueError, "axes must be"),
        (lambda: phase_diagram("training", axes=("speed", "noise"), noise=0.1), TypeError, "noise is not a setting"),
        (lambda: phase_diagram("training", [1.0], ["implicit"], axes=("speed", "coupling")), ValueError, "y must be"),
        (lambda: phase_diagram("training", [1.0], [1.5], axes=("speed", "packing")), ValueError, "y must hold whole numbers"),
        (lambda: phase_diagram("training", [1.0], [0.0], axes=("speed", "ridge")), ValueError, "y must hold positive"),
        (lambda: phase_diagram("training", [0.0], [1.0]), ValueError, "x must hold positive"),
        (lambda: phase_diagram("step", axes=("speed", "ridge")), TypeError, "axes are those of the model 'training'"),
        (lambda: phase_panels("batch", [3], "training", batch=3), TypeError, "batch is what panels differ in"),
        (lambda: train(packing=0), ValueError, "packing must be"),
        (lambda: train(unrolling=-1), ValueError, "unrolling must be"),
        (lambda: train(noise=-0.1), ValueError, "instance_noise must be"),
        (lambda: mitigations("hope"), ValueError, "names must be"),
        (lambda: side_by_side(problems.get("G15").problem, [[1.0, 0.0]], 0.1), ValueError, "speeds must have"),
        (lambda: side_by_side(problems.get("G15").problem, [[1.0, 1.0]], -0.1), ValueError, "ridge must be"),
        (lambda: side_by_side(problems.get("G15").problem, [[1.0, 1.0]], 0.1, [1.0, 2.0]), ValueError, "noise must be"),
        (lambda: side_by_side(problems.get("G1").problem, [[1.0, 1.0]], 0.1), TypeError, "game must be a GAN"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
