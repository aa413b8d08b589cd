"""Run directories: the same bits as in memory, going on where it stopped, and other problems kept out."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_solve import RUNS, event, half, same_solution

import measureflow as mf
from measureflow import cli, recipes, store
from measureflow import energies as e
from measureflow import games as g

WELL = e.Quadratic()


def decay(folder=None, t=1.0, tau=0.01, **options):
    return mf.solve(WELL, mf.Vector([1.0, -2.0]), t, tau, store=folder, **options)


def arrays(folder):
    """Return every array of every .npz file of a run."""
    found = {}
    for path in sorted(folder.rglob("*.npz")):
        with np.load(path) as archive:
            found.update({f"{path.relative_to(folder)}/{name}": archive[name] for name in archive.files})
    return found


def same_files(a, b):
    first, second = arrays(a), arrays(b)
    assert first.keys() == second.keys()
    for name, values in first.items():
        assert values.dtype == second[name].dtype and values.tobytes() == second[name].tobytes(), name


# the same flow -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_a_stored_flow_has_the_bits_of_one_in_memory(name, tmp_path, monkeypatch):
    in_memory, solve = RUNS[name](), mf.solve
    monkeypatch.setattr(mf, "solve", lambda *args, **options: solve(*args, **options, store=tmp_path / "run"))
    stored = RUNS[name]()
    same_solution(in_memory, stored)
    assert_array_equal(in_memory.slopes, stored.slopes)
    loaded = mf.load(tmp_path / "run")
    same_solution(in_memory, loaded)
    assert repr(loaded) == repr(stored) == repr(in_memory)
    assert loaded.message == in_memory.message and loaded.info["steps"] == in_memory.info["steps"]
    same_solution(mf.load(stored.save(tmp_path / "copy")), in_memory)


def test_segments_hold_64_rows(tmp_path):
    sol = decay(tmp_path / "run", tau=1.0 / 200.0)
    names = sorted(os.listdir(tmp_path / "run" / "segments"))
    assert names == [f"{k:08d}.npz" for k in range(4)]
    with np.load(tmp_path / "run" / "segments" / "00000003.npz") as last:
        assert last["start"] == 192 and len(last["t"]) == 9
        assert_array_equal(last["player0.values"][-1], sol.states[-1].values)


def test_large_states_make_small_segments(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MOST_BYTES", 100)
    decay(tmp_path / "run", tau=0.1)
    assert len(os.listdir(tmp_path / "run" / "segments")) == 2  # 16 bytes a row: 6 rows each


def test_several_times_in_one_step_fill_several_segments(tmp_path):
    times = np.linspace(0.0, 1.0, 300)
    stored, in_memory = decay(tmp_path / "run", tau=1.0, save_at=times), decay(tau=1.0, save_at=times)
    same_solution(stored, in_memory)
    assert len(os.listdir(tmp_path / "run" / "segments")) == 5


def test_states_of_a_stored_flow_are_a_list_to_look_at(tmp_path):
    sol, plain = decay(tmp_path / "run", tau=0.01), decay(tau=0.01)
    assert len(sol.states) == len(plain.states) == 101
    for index in (0, 70, -1, np.int64(3)):
        assert_array_equal(sol.states[index].values, plain.states[index].values)
    assert [x.values[0] for x in sol.states[90:]] == [x.values[0] for x in plain.states[90:]]
    assert_array_equal(np.array([x.values for x in reversed(sol.states)]), np.array([x.values for x in plain.states])[::-1])
    with pytest.raises(IndexError, match=r"index must be in \[-101, 100\], got 101"):
        sol.states[101]
    with pytest.raises(TypeError, match="index must be an integer"):
        sol.states[1.0]


def test_a_stored_flow_can_be_questioned_and_drawn(tmp_path):
    sol, plain = decay(tmp_path / "run", tau=0.1), decay(tau=0.1)
    assert_array_equal(sol(0.123).values, plain(0.123).values)
    assert_array_equal(sol(0.123, "degiorgi").values, plain(0.123, "degiorgi").values)
    assert_array_equal(sol.residuals().degiorgi, plain.residuals().degiorgi)
    assert sol.plot() is not None and mf.load(tmp_path / "run").plot() is not None


# going on ------------------------------------------------------------------------------------------------------------


class Stop(Exception):
    pass


def until(stop):
    """An event that breaks the flow off behind a time, as a failing program would."""

    def watch(t, state):
        if t > stop:
            raise Stop(f"at {t}")
        return 1.0

    return watch


NEVER = until(np.inf)
WITHOUT_DENSE_OUTPUT = ("F3", "S3 waves", "PME-B", "AGG-B", "AGG-N")


@pytest.mark.parametrize("label", [name for name in mf.problems.names() if name not in WITHOUT_DENSE_OUTPUT])
@pytest.mark.parametrize("tau", ["auto", None])
def test_every_problem_goes_on_from_its_files_alone(label, tau, tmp_path):
    problem = mf.problems.get(label)
    t0, t1 = problem.t_span
    options = {"scheme": mf.JKO("alternating"), "speeds": problem.speeds, "metric": problem.metrics, "save_at": 3}
    options |= {"rtol": 0.2, "atol": 0.05}
    given = {"problem": problem.problem} if label in ("N3", "N4") else {}  # they draw their atoms by functions
    span, step = (t0, t0 + 0.2 * (t1 - t0)), tau or 0.02 * (t1 - t0)

    def solve(folder, stop):
        return mf.solve(problem.problem, problem.initial, span, step, events=stop, store=folder, **options)

    whole = solve(tmp_path / "whole", NEVER)
    with pytest.raises(Stop):
        solve(tmp_path / "broken", until(t0 + 0.6 * (span[1] - t0)))
    assert mf.load(tmp_path / "broken").status == "interrupted"
    resumed = mf.resume(tmp_path / "broken", events=NEVER, **given)
    same_solution(whole, resumed)
    same_files(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize("tau", [0.05, "auto"])
def test_optimistic_players_remember_over_the_gap(tau, tmp_path):
    problem = mf.problems.get("G3", t=2.0)

    def solve(folder, stop):
        scheme = mf.JKO("optimistic")
        return mf.solve(problem.problem, problem.initial, 2.0, tau, scheme=scheme, rtol=0.1, events=stop, store=folder)

    whole = solve(tmp_path / "whole", NEVER)
    with pytest.raises(Stop):
        solve(tmp_path / "broken", until(1.2))
    same_solution(whole, mf.resume(tmp_path / "broken", events=NEVER))
    same_files(tmp_path / "whole", tmp_path / "broken")


def test_the_same_call_goes_on_or_returns_what_is_there(tmp_path):
    calls = []

    def f(x):
        calls.append(1)
        return 0.5 * np.sum(x**2)

    energy = e.Function(f, lambda x: np.asarray(x))

    def run(stop=np.inf):
        return mf.solve(energy, mf.Vector(1.0), 1.0, 0.01, store=tmp_path / "run", events=until(stop))

    with pytest.raises(Stop):
        run(0.5)
    first = run()
    spent = len(calls)
    again = run()
    assert len(calls) <= spent + 1  # the initial state is looked at, to recognise the problem
    same_solution(first, again)
    same_solution(first, mf.solve(energy, mf.Vector(1.0), 1.0, 0.01, events=NEVER))


def test_a_run_that_failed_is_tried_again_and_goes_on_when_the_function_is_repaired(tmp_path):
    broken = {"now": True}

    def f(x):
        return np.nan if broken["now"] and x[0] < 0.7 else 0.5 * np.sum(x**2)

    def run(**options):
        energy = e.Function(f, lambda x: np.asarray(x))
        return mf.solve(energy, mf.Vector(1.0), 1.0, 0.1, store=tmp_path / "run", **options)

    failed = run(throw=False)
    assert failed.status == mf.load(tmp_path / "run").status == "not_finite"
    with pytest.raises(mf.CallbackError):
        run()
    broken["now"] = False
    done = run()
    assert done.status == "done" and done.info["rejected"] > 0
    assert_array_equal([x.values for x in failed.states], [x.values for x in done.states[: len(failed)]])


def test_resuming_a_users_problem_needs_the_problem(tmp_path):
    energy = e.Potential(lambda x: np.sum(x**2, axis=1), lambda x: 2.0 * x)
    start = mf.Particles([[1.0], [2.0]])
    with pytest.raises(Stop):
        mf.solve(energy, start, 1.0, 0.01, store=tmp_path / "run", events=until(0.5))
    with pytest.raises(ValueError, match="problem must be given to resume this run"):
        mf.resume(tmp_path / "run", events=NEVER)
    with pytest.raises(ValueError, match="events must be given to resume this run, which watches 1"):
        mf.resume(tmp_path / "run", energy)
    with pytest.raises(ValueError, match="energies at the initial states"):
        mf.resume(tmp_path / "run", e.Potential(lambda x: np.sum(x**4, axis=1), lambda x: 4.0 * x**3), events=NEVER)
    sol = mf.resume(tmp_path / "run", energy, events=NEVER)
    same_solution(sol, mf.solve(energy, start, 1.0, 0.01, events=NEVER))
    same_solution(sol, mf.resume(tmp_path / "run"))  # a finished run needs nothing


def test_a_checkpoint_of_a_running_flow_can_be_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHORTEST", 0.0)
    monkeypatch.setattr(store, "SHARE", 1e9)
    seen = []

    def look(t, x):
        if 0.3 < t < 0.31:
            seen.append(mf.load(tmp_path / "run"))
        return 1.0

    full = decay(tmp_path / "run", events=look)
    assert seen and all(sol.status == "interrupted" and "last checkpoint is at t = 0.3" in sol.message for sol in seen)
    assert_array_equal(seen[0].t, full.t[: len(seen[0])])
    assert_array_equal(seen[0].states[-1].values, full.states[len(seen[0]) - 1].values)


# other problems ------------------------------------------------------------------------------------------------------

TARGET = mf.Particles(np.random.default_rng(0).normal(size=(12, 2)))
CLOUD = mf.Particles(np.random.default_rng(1).normal(size=(6, 2)))
NEURONS = mf.Particles(np.random.default_rng(2).normal(size=(5, 4)))


def train(folder, **changed):
    game = g.GAN(changed.pop("target", TARGET), critic=g.NeuronCritic(changed.pop("activation", "tanh")), penalty=g.Ridge(0.5))
    options = {"scheme": mf.Explicit("alternating"), "speeds": (1.0, 5.0), "batch": 4, "seed": 3} | changed
    initial = options.pop("initial", (CLOUD, NEURONS))
    return mf.solve(game, initial, options.pop("t", 1.0), options.pop("tau", 0.25), store=folder, **options)


OTHER = {
    "tau": ({"tau": 0.125}, r"tau \(0.25 there, 0.125 here\)"),
    "adaptive": ({"tau": "auto"}, r"tau \(0.25 there, 'auto' here\)"),
    "span": ({"t": (0.0, 2.0)}, r"t_span\[1\] \(1.0 there, 2.0 here\)"),
    "seed": ({"seed": 4}, r"seed \(3 there, 4 here\)"),
    "batch": ({"batch": None}, r"batch \(4 there, None here\)"),
    "speeds": ({"speeds": (1.0, 6.0)}, r"speeds\[1\] \(5.0 there, 6.0 here\)"),
    "coupling": ({"scheme": mf.Explicit()}, r"scheme.coupling \('alternating' there, 'simultaneous' here\)"),
    "scheme": ({"scheme": mf.JKO("alternating")}, r"scheme \(Explicit\(.*\) there, JKO\(.*\) here\)"),
    "rows": ({"save_at": 2}, r"save_at \(1 there, 2 here\)"),
    "target": ({"target": mf.Particles(TARGET.points + 1e-15)}, r"problem.target.points \(entry \d+ is .* there, .* here\)"),
    "more atoms": (
        {"target": mf.Particles(TARGET.points[:9])},
        r"problem.target.points \(shape \(12, 2\) there, \(9, 2\) here\)",
    ),
    "critic": ({"activation": "relu"}, r"problem.critic.activation \('tanh' there, 'relu' here\)"),
    "initial": ({"initial": (mf.Particles(CLOUD.points[::-1]), NEURONS)}, r"initial\[0\].points"),
    "metric": ({"metric": (mf.Wasserstein(epsilon=0.1), None)}, r"metrics\[0\].epsilon \(0.05 there, 0.1 here\)"),
    "events": ({"events": half}, r"events"),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_problem_is_refused_with_what_differs(name, tmp_path):
    changed, message = OTHER[name]
    if name == "events":
        changed = {"events": lambda t, states: 1.0}
    train(tmp_path / "run")
    before = arrays(tmp_path / "run")
    with pytest.raises(ValueError, match=f"^store .* holds the run of another problem; these differ: .*{message}"):
        train(tmp_path / "run", **changed)
    assert before.keys() == arrays(tmp_path / "run").keys()


def test_folders_of_other_things_are_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="store must be a new or empty folder or a run, got .* with other files in it"):
        decay(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    with pytest.raises(ValueError, match="store must be a folder, got the file"):
        decay(tmp_path / "thesis.txt")
    with pytest.raises(ValueError, match=r"path must be a run directory .* without run.json"):
        mf.resume(tmp_path)
    with pytest.raises(ValueError, match="path must be .* run directory"):
        mf.load(tmp_path)
    with pytest.raises(OSError):
        decay(tmp_path / "thesis.txt" / "below")


def test_a_run_killed_before_run_json_begins_anew(tmp_path):
    decay(tmp_path / "run")
    whole = arrays(tmp_path / "run")
    for path in tmp_path.rglob("*.*"):
        if path.name not in ("inputs.npz", "checkpoint.npz"):
            path.unlink()
    (tmp_path / "run" / ".run.json.7.tmp").write_text("half")
    with pytest.raises(ValueError, match=r"without run.json"):
        mf.load(tmp_path / "run")
    decay(tmp_path / "run")
    found = arrays(tmp_path / "run")
    assert found.keys() == whole.keys()
    assert all(found[key].tobytes() == whole[key].tobytes() for key in whole)
    assert not (tmp_path / "run" / ".run.json.7.tmp").exists()


def test_states_and_schemes_that_files_do_not_keep_are_refused_before_work(tmp_path):
    class Remembering(mf.Scheme):
        def init(self, players, states):
            return object()

        def advance(self, energy, metric, x, tau):
            return mf.Explicit().advance(energy, metric, x, tau)

    with pytest.raises(TypeError, match="store cannot keep the memory of the scheme"):
        decay(tmp_path / "run", tau=0.1, scheme=Remembering())


def test_metrics_of_the_users_own_are_missed_where_they_are_needed(tmp_path):
    class Own(mf.Metric):
        def chart(self, base):
            return mf.Euclidean().chart(base)

        def _distance(self, a, b):
            return mf.distance(a, b)

    sol = decay(tmp_path / "run", tau=0.1, metric=Own())
    for loaded in (mf.load(tmp_path / "run"), mf.load(sol.save(tmp_path / "copy"))):
        assert_array_equal(loaded.states[3].values, sol.states[3].values)
        assert_array_equal(loaded(loaded.t[3]).values, sol.states[3].values)
        with pytest.raises(TypeError, match="needs the metric, which files do not keep"):
            loaded(0.15)
    with pytest.raises(TypeError, match="metrics of this run is the user's own"):
        mf.resume(tmp_path / "run")


def test_memory_of_schemes_is_kept(tmp_path):
    """A scheme of the user's with memory: each step repeats part of the one before (momentum)."""

    class Momentum(mf.Scheme):
        def init(self, players, states):
            return tuple(np.zeros(x.coordinates.shape) for x in states), 0, None, states

        def step(self, players, states, memory, tau):
            velocity, count, nothing, first = memory
            assert nothing is None and len(first) == len(states)
            new, _, infos = super().step(players, states, (), tau)
            moved = tuple(0.5 * v + b.coordinates - a.coordinates for v, a, b in zip(velocity, states, new, strict=True))
            ends = tuple(a.replace(a.coordinates + v) for a, v in zip(states, moved, strict=True))
            return ends, (moved, count + 1, None, first), infos

        def advance(self, energy, metric, x, tau):
            return mf.Explicit().advance(energy, metric, x, tau)

    whole = decay(tmp_path / "whole", scheme=Momentum(), events=NEVER)
    with pytest.raises(Stop):
        decay(tmp_path / "broken", scheme=Momentum(), events=until(0.5))
    with pytest.raises(TypeError, match="scheme of this run is the user's own"):
        mf.resume(tmp_path / "broken", events=NEVER)
    same_solution(whole, decay(tmp_path / "broken", scheme=Momentum(), events=NEVER))
    same_files(tmp_path / "whole", tmp_path / "broken")
    assert abs(whole.states[-1].values[0] - decay(scheme="explicit").states[-1].values[0]) > 0.1


# the command line ------------------------------------------------------------------------------------------------------


def test_show_tells_a_run_on_one_screen(tmp_path, capsys):
    train(tmp_path / "run", events=event(lambda t, states: t - 0.6, terminal=True))
    assert cli.main(["show", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) < 24 and max(map(len, shown.splitlines())) < 300
    for text in (
        "run: event\n  Event 0 stopped the flow at t = 0.6.",
        "problem    GAN(critic=NeuronCritic(activation='tanh', dtype='float64'), instance_noise=0, loss='wasserstein'",
        "step       tau 0.25, batch 4 with seed 3",
        "states     Particles(n=6, d=2, equal weights) and Particles(n=5, d=4, equal weights)",
        "scheme     Explicit(coupling='alternating')",
        "steps      3 taken, 0 rejected",
        "t          0 to 0.6 in 4 rows",
        "events     0 at t = 0.6",
        "in 1 segments",
        "residual   0 at most",
    ):
        assert text in shown, shown
    saved = decay(save_at=2).save(tmp_path / "flow.npz")
    assert cli.main(["show", str(saved)]) == 0
    assert "flow.npz: done" in capsys.readouterr().out


def test_resume_goes_on_from_the_command_line(tmp_path):
    script = (
        "import measureflow as mf, os; import measureflow.store as s; s.SHORTEST = 0.0\n"
        "import measureflow.loop as loop; advance = loop.Loop._advance\n"
        "def stop(self):\n"
        "    if self.here.t > 0.5: os._exit(9)\n"
        "    return advance(self)\n"
        "loop.Loop._advance = stop\n"
        f"mf.solve(mf.energies.Quadratic(), mf.Vector([1.0, -2.0]), 1.0, 0.01, store={str(tmp_path / 'run')!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    done = subprocess.run([sys.executable, "-m", "measureflow", "resume", str(tmp_path / "run")], capture_output=True, text=True)
    assert done.returncode == 0 and "done after 100 steps" in done.stdout, done.stderr
    same_solution(mf.load(tmp_path / "run"), decay())


def test_export_writes_what_xarray_reads(tmp_path, capsys):
    xarray = pytest.importorskip("xarray")
    train(tmp_path / "run")
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out.nc")]) == 0
    with xarray.open_dataset(tmp_path / "out.nc") as data:
        sol = mf.load(tmp_path / "run")
        assert_array_equal(data["energies"], sol.energies)
        assert_array_equal(data["player0_points"], [x.points for x, _ in sol.states])
    assert_array_equal(sol.to_xarray()["slopes"], sol.slopes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nothing"], "No such file"),
        (["show", "."], "path must"),
        (["resume", "nothing"], "path must be a run directory"),
        (["export", "nothing", "out.nc"], "No such file"),
    ],
)
def test_bad_commands_end_with_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1


# data ------------------------------------------------------------------------------------------------------------------


def test_run_json_says_what_was_solved(tmp_path):
    train(tmp_path / "run")
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["schema"] == 1 and about["seed"] == 3 and about["versions"]["measureflow"] == mf.__version__
    assert about["problem"]["kind"] == "GAN" and about["problem"]["with"]["critic"]["kind"] == "NeuronCritic"
    assert not recipes.has_python([about[name] for name in ("problem", "initial", "scheme", "metrics")])
    assert_allclose([float.fromhex(v["float"]) for v in about["start"]["energies"]], train(None).energies[0])


def test_files_reach_the_disk_before_their_names(tmp_path, monkeypatch):
    """Each file is synced, then renamed, then its folder is synced."""
    calls, replace = [], os.replace

    def synced(descriptor):
        calls.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync")

    def renamed(old, new):
        calls.append("replace")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.1, store=tmp_path / "run")
    at = [k for k, call in enumerate(calls) if call == "replace"]
    assert len(at) >= 4 and all(calls[k - 1 : k + 2] == ["sync", "replace", "sync folder"] for k in at), calls
