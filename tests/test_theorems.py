"""Checks, verdicts and claims: what holds, what is violated, what is undecided; counter-examples computed again; the page."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import measureflow as mf
from measureflow import cli, problems
from measureflow.configuration import run
from measureflow.theorems import statistics as stat
from measureflow.theorems.base import LEVELS
from measureflow.theorems.counterexample import read, toml
from measureflow.theorems.probes import probes

T = mf.theorems
TAUS = (0.1, 0.05, 0.025, 0.0125)
FINITE = st.floats(-1e6, 1e6)
PAGES = Path(__file__).parents[1] / "notes" / "theorems"


# checks ---------------------------------------------------------------------------------------------------------------


@given(FINITE, FINITE, st.floats(0.0, 10.0), st.floats(0.0, 10.0))
def test_a_check_holds_only_if_its_margin_exceeds_its_error(measured, predicted, tolerance, error):
    for make, margin in (
        (T.at_most, tolerance + (predicted - measured)),
        (T.at_least, tolerance + (measured - predicted)),
        (T.equal, tolerance - abs(measured - predicted)),
    ):
        check = make("x", measured, predicted, tolerance=tolerance, error=error)
        assert check.margin == margin
        assert (check.ruling == "holds") == (margin > error)
        assert (check.ruling == "violated") == (margin < -error)


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=6))
def test_the_worst_entry_makes_the_check(pairs):
    measured, bound = np.array(pairs).T
    check = T.at_most("x", measured, bound, where=lambda k: str(k))
    assert check.margin == np.min(bound - measured)
    assert bound[int(check.where)] - measured[int(check.where)] == check.margin


@pytest.mark.parametrize("measured", [np.nan, np.inf, [1.0, np.nan]])
def test_what_is_not_finite_is_violated(measured):
    assert T.at_most("x", measured, 2.0).ruling == "violated"
    assert T.equal("x", measured, 2.0, tolerance=1.0, error=0.1).ruling == "violated"
    assert T.at_most("x", 1.0, 2.0, error=np.nan).ruling == "violated"


def test_a_check_compares_something():
    with pytest.raises(ValueError, match="the check 'x' must compare something"):
        T.at_most("x", [], 1.0)


# statistics -----------------------------------------------------------------------------------------------------------


def test_slope_of_a_power_and_its_interval():
    x = np.geomspace(0.01, 1.0, 12)
    rng = np.random.default_rng(0)
    caught = [abs((s := stat.slope(x, x**0.5 * np.exp(0.1 * rng.normal(size=12)))).value - 0.5) <= s.error for _ in range(400)]
    assert 0.97 < np.mean(caught) <= 1.0


def test_mean_has_an_interval_of_99_percent():
    rng = np.random.default_rng(1)
    caught = [abs((m := stat.mean(3.0 + rng.normal(size=8))).value - 3.0) <= m.error for _ in range(600)]
    assert 0.975 < np.mean(caught) < 1.0


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0, 4.0])
def test_order_and_limit_of_expansions(p):
    taus = 0.2 / 2.0 ** np.arange(4)
    found = stat.order(taus, 3.0 * taus**p * (1.0 + 0.7 * taus))
    assert abs(found.value - p) < 0.01 and abs(found.value - p) < found.error
    value, error = stat.limit(2.0 + 3.0 * taus[:3] ** p * (1.0 + 0.7 * taus[:3]), p)
    assert abs(value - 2.0) < error


# claims ---------------------------------------------------------------------------------------------------------------


def squares(states):
    return float(states[0] @ states[0] + states[1] @ states[1])


def mean(law):
    return float(law.mean[0] if isinstance(law, mf.Gaussian) else law.mean()[0])


def quantile_flow():
    e = mf.energies
    return e.Entropy() + 2.0 * e.Quadratic(), mf.Gaussian(1.0, 2.0).to_quantiles(40), 0.6


def particle_game():
    game = mf.games.LinearQuadratic([[0.5]], [[2.0]], [[0.5]])
    return game, (mf.Vector([1.0]), mf.Vector([-0.5])), (0.0, 1.0)


def histogram_flow():
    grid = mf.Grid([(-4.0, 4.0)], (64,))
    start = mf.Histogram.from_density(lambda x: np.exp(-np.sum((x - 1.0) ** 2, axis=-1)), grid)
    return mf.energies.Entropy() + mf.energies.Quadratic(), start, 0.25


TRUE = [
    lambda: T.order_of_convergence("S2", TAUS),
    lambda: T.order_of_convergence("S1", TAUS, scheme="vim"),
    lambda: T.order_of_convergence(quantile_flow, TAUS, scheme="bdf2"),
    lambda: T.order_of_convergence("G2", TAUS, scheme="implicit"),
    lambda: T.contraction("S1", 1.0),
    lambda: T.contraction(quantile_flow, 2.0, tau=0.1),
    lambda: T.contraction(particle_game, 0.5, tau=0.1),
    lambda: T.contraction("E4", -1.0, tau=0.1),
    lambda: T.evi("S2", 0.2),
    lambda: T.evi(quantile_flow, 2.0, tau=0.1),
    lambda: T.evi(particle_game, (0.5, 0.5), scheme=mf.JKO("alternating")),
    lambda: T.evi(histogram_flow, 0.0, tau=0.05, test_states=[histogram_flow()[1]]),
    lambda: T.conserved("G3", squares, scheme="rk4"),
    lambda: T.conserved("S6", mean),
    lambda: T.conserved("G1", squares, scheme="alternating"),
    lambda: T.bound("S1", lambda t: 3.0 * np.exp(-2.0 * t)),
    lambda: T.bound("S1", 0.05, quantity="error"),
    lambda: T.bound(particle_game, lambda t: 1.3 * np.exp(-0.49 * t), quantity=lambda z: float(np.sqrt(squares(z)))),
]
FALSE = [
    lambda: T.order_of_convergence("S2", TAUS, predicted=2),
    lambda: T.order_of_convergence("S1", TAUS, scheme="vim", predicted=1),
    lambda: T.order_of_convergence(quantile_flow, TAUS, predicted=1.2),
    lambda: T.contraction("S1", 1.1),
    lambda: T.contraction(quantile_flow, 2.5, tau=0.1),
    lambda: T.contraction(particle_game, 0.6, tau=0.1),
    lambda: T.contraction("E4", 0.5, tau=0.1),
    lambda: T.evi("S2", 0.6),
    lambda: T.evi(quantile_flow, 2.2, tau=0.1),
    lambda: T.evi(particle_game, (0.5, 0.7)),
    lambda: T.conserved("G5", squares, scheme="rk4"),
    lambda: T.conserved("S1", mean),
    lambda: T.conserved("G2", squares, scheme="rk4"),
    lambda: T.bound("S1", lambda t: 2.2 * np.exp(-2.5 * t)),
    lambda: T.bound("S1", 1e-3, quantity="error"),
    lambda: T.bound(particle_game, lambda t: 1.2 * np.exp(-0.6 * t), quantity=lambda z: float(np.sqrt(squares(z)))),
]


@pytest.mark.parametrize("claim", TRUE)
def test_true_claims_hold(claim):
    verdict = claim()
    assert verdict.holds and verdict.margin > verdict.error and verdict.counterexample is None, verdict
    with pytest.raises(ValueError, match="must be violated to have a counter-example"):
        verdict.save("x.toml")


@pytest.mark.parametrize("claim", FALSE)
def test_false_claims_are_violated_and_their_counterexamples_computed_again(claim, tmp_path):
    verdict = claim()
    assert verdict.status == "violated" and verdict.margin < -verdict.error, verdict
    file = verdict.save(tmp_path / "x.toml")
    seen = read(file)["seen"]
    functions = tmp_path / "functions.py"
    functions.write_text(
        "import sys\nsys.path.insert(0, %r)\nfrom test_theorems import *\n" % str(Path(__file__).parent)  # noqa: UP031
    )
    content = file.read_text()
    if "python:<lambda>" in content:
        with pytest.raises(mf.UnsupportedError, match="functions without a name"):
            run(file)
        return
    done, text = run(file, functions)
    assert not done and "the claim is violated" in text and f"{seen['measured']:.6g}" in text


def test_counterexamples_are_small():
    """A false rate shows at once, in one step of the fewest atoms."""
    example = T.contraction(quantile_flow, 2.5).counterexample
    assert "shape = [2]" in toml(example.content) and "t = 0 to 0.01875" in str(example)


def test_a_file_of_a_problem_with_functions_asks_for_them(tmp_path):
    def own():
        return mf.energies.Potential(lambda x: 0.5 * x[:, 0] ** 2, lambda x: x), mf.Particles([[1.0], [2.0]]), 1.0

    file = T.contraction(own, 1.5).save(tmp_path / "x.toml")
    with pytest.raises(mf.UnsupportedError, match="the problem needs a function own: give a file that defines it"):
        run(file)


def test_margins_smaller_than_errors_decide_nothing():
    verdict = T.contraction("S2", 0.46, tau=1.0, tolerance=0.0)
    assert verdict.status in ("undecided", "violated")
    assert T.contraction("E1", 1.0, tolerance=0.0).status == "undecided"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: T.order_of_convergence("S1", [0.1, 0.05, 0.02]), "taus must be at least four positive numbers that fall"),
        (lambda: T.order_of_convergence(quantile_flow, [0.1, 0.05, 0.04, 0.01]), "taus must have one ratio"),
        (lambda: T.order_of_convergence("S1", TAUS, scheme="euler"), "scheme must be one of"),
        (lambda: T.order_of_convergence("S1", TAUS, predicted=0.0), "predicted must be"),
        (lambda: T.order_of_convergence("S1", TAUS, tolerance=-1.0), "tolerance must be"),
        (lambda: T.order_of_convergence(3, TAUS), "make_problem must be a label"),
        (lambda: T.order_of_convergence("S99", TAUS), "label must be one of"),
        (lambda: T.contraction((1, 2), 1.0), "make_problem must have 3 entries"),
        (lambda: T.contraction((1, 2, 3), 1.0), "the problem must be an Energy or a game"),
        (lambda: T.contraction("S1", "fast"), "rate must be"),
        (lambda: T.contraction("S1", 1.0, tau=5.0), "tau must be"),
        (lambda: T.contraction("S1", 1.0, others=[]), "others must be a list of states"),
        (lambda: T.contraction("S1", 1.0, others=[problems.get("S1").initial]), "a second start must differ"),
        (lambda: T.contraction("S1", 1.0, seed=-1), "seed must be"),
        (lambda: T.evi("S1", 1.0, scheme="vim"), "scheme must be a minimizing movement"),
        (lambda: T.evi("G2", (1.0,)), "lambda_ must have 2 entries"),
        (lambda: T.conserved("S1", 3.0), "quantity must be"),
        (lambda: T.conserved("S1", "luck"), "quantity must be one of"),
        (lambda: T.conserved("S1", lambda law: "much"), "quantity"),
        (lambda: T.conserved("S1", squares, tolerance=0.0), "tolerance must be"),
        (lambda: T.bound("S1", None), "formula must be"),
        (lambda: T.bound("S1", 1.0, quantity="luck"), "quantity must be one of"),
        (lambda: T.bound(quantile_flow, 1.0, quantity="error"), "no exact flow is known"),
        (lambda: T.bound("S1", 1.0, limit=1), "limit must be True or False"),
        (lambda: T.verify("luck"), "name must be one of"),
        (lambda: T.verify("T1", "slow"), "level must be one of"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize(
    "state",
    [
        mf.Vector([1.0, 2.0]),
        mf.Gaussian([0.0, 1.0], [[2.0, 0.3], [0.3, 1.0]]),
        mf.Quantiles([0.0, 1.0, 3.0]),
        mf.Particles([[0.0, 1.0], [2.0, 3.0]], [0.3, 0.7]),
        mf.Histogram([[0.5, 0.25], [0.25, 0.0]], mf.Grid([(0, 1), (0, 1)], (2, 2))),
        mf.Field([1.0, 2.0], mf.Grid([(0, 1)], (2,))),
    ],
    ids=lambda state: type(state).__name__,
)
def test_probes_are_states_of_the_same_kind(state):
    rows = probes((state,), 3, seed=0)
    assert all(type(x) is type(state) and x.coordinates.shape == state.coordinates.shape for (x,) in rows)
    assert len({x.coordinates.tobytes() for (x,) in rows} | {state.coordinates.tobytes()}) == 4
    assert all(np.array_equal(a[0].coordinates, b[0].coordinates) for a, b in zip(rows, probes((state,), 3, 0), strict=True))


# theorems -------------------------------------------------------------------------------------------------------------


def halving(tau):
    yield T.equal("factor", 1.0 / (1.0 + tau), 0.5, tolerance=1e-12)


def theorem(test=halving, control=halving, wrong=0.5):
    return T.Theorem(
        "halving",
        "",
        "a step halves",
        "A step halves.",
        "x_+ = x / 2",
        (),
        "",
        (),
        test,
        [{"tau": 1.0}],
        [{"tau": 1.0}],
        T.Control("tau is not 1", control, [{"tau": wrong}]),
    )


def broken(tau):
    yield T.equal("something", 1.0, 1.0, tolerance=1.0)
    raise mf.ConvergenceError("it did not converge")


def test_a_theorem_holds_if_its_control_fails():
    assert T.examine(theorem()).holds
    assert T.examine(theorem(wrong=1.0)).status == "undecided"
    assert "does not fail" in repr(T.examine(theorem(wrong=1.0)))


def test_a_broken_experiment_is_undecided_and_says_why():
    for verdict in (T.examine(theorem(test=broken)), T.examine(theorem(control=broken))):
        assert verdict.status == "undecided" and "ConvergenceError in the trial tau" in verdict.broken


def test_the_first_violated_trial_is_the_counterexample():
    claim = replace(theorem(), quick=[{"tau": 1.0}, {"tau": 2.0}, {"tau": 3.0}])
    verdict = T.examine(claim)
    assert verdict.status == "violated" and verdict.counterexample.content["trial"] == {"tau": 2.0}


@pytest.mark.parametrize("name", T.names())
def test_first_trials_hold_and_controls_fail(name):
    entry = T.get(name)
    verdict = T.examine(replace(entry, quick=entry.quick[:1]))
    assert verdict.holds and verdict.control and verdict.control_fails, verdict


@pytest.mark.slow
@pytest.mark.parametrize("name", T.names())
def test_theorems_hold_and_their_controls_fail(name):
    """What `measureflow verify` runs."""
    verdict = T.verify(name)
    assert verdict.holds and verdict.control_fails and verdict.curves, verdict


@pytest.mark.parametrize("name", T.names())
def test_theorems_say_what_they_say(name):
    entry = T.get(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert (
        entry.label and entry.title and entry.statement.endswith(".") and entry.hypotheses and entry.source.startswith("theory")
    )
    assert all(label in problems.names() for label in entry.problems)
    assert all(entry.trials(level) for level in LEVELS) and entry.control.violates
    page = (PAGES / f"{name}.md").read_text()
    assert page.startswith(f"# {entry.label} ") and f"{name}.png" in page and f"measureflow verify {name}" in page
    assert (PAGES / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", T.names())
def test_formulas_render(name):
    pictures = pytest.importorskip("measureflow.theorems.pictures")
    pytest.importorskip("matplotlib")
    drawn = pictures.formula_svg(T.get(name).formula)
    assert drawn.startswith("<svg") and drawn.endswith("</svg>") and "metadata" not in drawn


def test_pages_are_those_of_the_theorems():
    assert {page.stem for page in PAGES.glob("*.md")} - {"README"} == set(T.names())


# command and page -----------------------------------------------------------------------------------------------------


def test_verify_prints_a_table_and_writes_what_is_asked(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    page, figures = tmp_path / "page.html", tmp_path / "figures"
    status = cli.main(["verify", "F1", "conventions", "--jobs", "1", "--html", str(page), "--figures", str(figures)])
    out = capsys.readouterr().out
    assert status == 0 and "2 theorems: 2 holds" in out and out.index("fisher-rao-steps") < out.index("conventions")
    assert {file.name for file in figures.iterdir()} == {"fisher-rao-steps.png", "conventions.png"}
    text = page.read_text()
    body = text.split("<body>")[1]
    assert "http" not in body and "<script" not in text and text.count("data:image/svg+xml") == 2
    assert text.count("data:image/png") == 2 and T.get("F1").statement.split()[0] in body


def test_verify_in_processes_gives_the_same_numbers():
    from measureflow.theorems import laboratory

    one = laboratory.collected(laboratory.verify_all(["F1", "conventions"], jobs=1))
    two = laboratory.collected(laboratory.verify_all(["conventions", "F1"], jobs=2))
    assert [v.name for v in one] == [v.name for v in two] == ["fisher-rao-steps", "conventions"]
    assert [v.checks for v in one] == [v.checks for v in two]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "luck"], "name must be one of"),
        (["verify", "T1", "--jobs", "0"], "jobs must be"),
        (["run", "nothing.toml"], "nothing.toml"),
        (["run", "nothing.json"], "path must"),
    ],
)
def test_bad_commands_say_what_is_wrong(arguments, message, capsys):
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_the_list_of_theorems(capsys):
    assert cli.main(["verify", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(T.names()) + 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[problem]\nlabel = 'S1'\n[solve]\n", "solve must have an entry tau"),
        ("[problem]\nlabel = 'S1'\n[solve]\ntau = 0.1\nspeed = 2\n", "an entry of solve must be one of"),
        ("[problem]\nlabel = 'S99'\n[solve]\ntau = 0.1\n", "label must be one of"),
        ("[solve]\ntau = 0.1\n", "problem must be a table"),
        ("kind = 'dance'\n", "kind must be one of"),
        ("kind = [1]\n", "kind must be one of"),
        ("tau = = 1\n", "must be a TOML file"),
        ("kind = 'theorem'\n", "theorem must be a table"),
        ("kind = 'theorem'\n[theorem]\nname = 'T1'\n[trial]\nluck = 1\n", "an entry of trial must be one of"),
        ("kind = 'claim'\n", "claim must be a table"),
        ("kind = 'claim'\n[claim]\nname = 'luck'\n", "the name of the claim must be one of"),
        ("kind = 'claim'\n[claim]\nname = 'contraction'\n[case]\nrecipe = '{'\n", "the file must describe a case"),
        ("kind = 'claim'\n[claim]\nname = 'contraction'\nrate = 1.0\n[case]\nrecipe = '{}'\n", "the file must describe a case"),
    ],
)
def test_bad_files_are_named(text, message, tmp_path):
    file = tmp_path / "x.toml"
    file.write_text(text)
    with pytest.raises((TypeError, ValueError), match=message):
        run(file)


def test_a_flow_from_a_file(tmp_path):
    file = tmp_path / "x.toml"
    file.write_text(toml({"problem": {"label": "G1"}, "solve": {"tau": 0.1, "scheme": "alternating", "t": 1.0}}))
    done = subprocess.run([sys.executable, "-m", "measureflow", "run", str(file)], capture_output=True, text=True, check=True)
    assert "G1" in done.stdout and "from the exact flow at t = 1" in done.stdout


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.one_of(st.floats(allow_nan=False), st.integers(-9, 9), st.text(), st.booleans()),
        max_size=4,
    )
)
def test_toml_reads_back(content):
    import tomllib

    assert tomllib.loads(toml({"a": {"b c": content}})).get("a", {}).get("b c", {}) == content
