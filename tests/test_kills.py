"""Runs on disk that are killed, locked, interrupted, out of space or broken by the user go on to the bits of a run left alone."""

from __future__ import annotations

import os
import shutil
import signal
import time

import numpy as np
import pytest
from killing import CASES, PLACE, Driver, beside, contents, differing, kind

import measureflow as mf

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
KILLS, MANY = 2, 36
FLOWS = [name for name in CASES if name != "act"]
HALVED = ["wall", "wall, auto", "no way on", "no way on, strides, auto", "a solver that fails", "neurons in mini-batches, auto"]
WATCHED = ["dirac, stopped by an event", "own game", "one law in mini-batches, auto"]


@pytest.fixture(scope="module")
def driver():
    process = Driver()
    yield process
    process.close()


@pytest.fixture(scope="module")
def left_alone(driver, tmp_path_factory):
    """The run directory of the flow on which the tests below act."""
    folder = tmp_path_factory.mktemp("left alone") / "run"
    assert driver("do", name="act", folder=folder, pace="rare")["solution"]["status"] == "done"
    return folder


# killed ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FLOWS)
def test_killed_flows_reach_the_same_bits(name, driver, tmp_path):
    """Each is killed at random times and at random calls that change files, up to three times on its way."""
    told = driver("killed_often", name=name, folder=tmp_path, kills=KILLS)
    assert told["kills"] >= KILLS
    assert told["status"] == CASES[name].ending
    assert told["rows"] > 64 * (told["segments"] - 1) and told["segments"] >= 1
    assert (told["rejected"] > 0) >= (name in HALVED)
    assert (told["events"] > 0) >= (name in WATCHED)


def test_there_are_enough_kills():
    assert len(FLOWS) * KILLS >= 120 and len(FLOWS) * MANY >= 1000


WINDOWS = [
    "before creating inputs",
    "within writing run",
    "before creating run",
    "behind replace run",
    "behind replace segment",
    "within writing checkpoint",
    "before replace checkpoint",
    "before creating done",
    "before replace done",
    "behind replace done",
]


def test_a_kill_in_every_window_between_files_leaves_the_same_bits(driver, tmp_path):
    told = driver("killed_everywhere", name="vector", folder=tmp_path, pace="rare")
    assert told["kills"] == len(told["where"]) >= 40
    assert {f"{window}, rare" for window in WINDOWS} <= set(told["where"])


@pytest.mark.parametrize(("name", "pace"), [("vector", "each"), ("no way on", "rare"), ("neurons in mini-batches, auto", "rare")])
def test_a_kill_between_files_leaves_the_same_bits(name, pace, driver, tmp_path):
    told = driver("killed_everywhere", name=name, folder=tmp_path, pace=pace, step=6)
    assert told["kills"] == len(told["where"]) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("pace", ["rare", "each"])
@pytest.mark.parametrize("name", ["no way on", "dirac, stopped by an event", "neurons in mini-batches, auto", "vector, times"])
def test_a_kill_in_every_window_of_other_flows_leaves_the_same_bits(name, pace, driver, tmp_path):
    told = driver("killed_everywhere", name=name, folder=tmp_path, pace=pace)
    assert told["kills"] == len(told["where"]) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_flows_killed_many_times_reach_the_same_bits(name, driver, tmp_path):
    assert driver("killed_often", name=name, folder=tmp_path, kills=MANY, seed=1)["kills"] >= MANY


# locked ----------------------------------------------------------------------------------------------------------------------


def hold(driver, folder):
    """Start a flow that waits in its 139th step, in another process; return its number."""
    pid = driver("start", name="act", folder=folder, act="wait", pace="rare")
    late = time.monotonic() + 60.0
    while not beside(folder, "waits").exists():
        assert time.monotonic() < late
        time.sleep(0.005)
    return pid


def test_one_process_writes_to_a_folder(driver, left_alone, tmp_path):
    folder, made = tmp_path / "run", CASES["act"].make()
    pid = hold(driver, folder)
    before = contents(folder)
    with pytest.raises(mf.RunLockedError, match=f"in use by process {pid}"):
        mf.solve(**made, store=folder)
    with pytest.raises(mf.RunLockedError, match=f"in use by process {pid}"):
        mf.resume(folder, made["problem"])
    assert contents(folder) == before
    assert mf.load(folder).status == "interrupted"
    beside(folder, "go").touch()
    assert driver("wait", pid=pid, folder=folder)["solution"]["status"] == "done"
    assert differing(left_alone, folder) == []
    assert mf.resume(folder, made["problem"]).status == "done"


def test_a_killed_process_lets_go(driver, left_alone, tmp_path):
    folder = tmp_path / "run"
    pid = hold(driver, folder)
    os.kill(pid, signal.SIGKILL)
    assert driver("wait", pid=pid, folder=folder) is None
    assert mf.resume(folder, CASES["act"].make()["problem"]).status == "done"
    assert differing(left_alone, folder) == []


def test_a_flow_within_a_flow_cannot_write_to_its_folder(tmp_path):
    def meddle(t, x):
        if t > 2.5:
            mf.solve(**CASES["vector"].make(), store=tmp_path / "run")
        return 1.0

    with pytest.raises(mf.RunLockedError, match=f"in use by process {os.getpid()}") as caught:
        mf.solve(**CASES["vector"].make(), store=tmp_path / "run", events=meddle)
    assert len(caught.value.solution) >= 1


# ended half-way ----------------------------------------------------------------------------------------------------------------


def rows_before(folder):
    """The number of rows before the place where something happens."""
    return int(np.argmax([x.values[0] < PLACE for x in mf.load(folder).states]))


def first_rows(told, folder):
    """Assert that a flow that was ended is the beginning of the one left alone, and return how many rows it has."""
    whole, count = mf.load(folder), len(told["t"])
    assert told["t"] == whole.t[:count].tolist()
    assert told["energies"] == whole.energies[:count].tolist()
    assert told["last"] == whole.states[count - 1].values.tolist()
    return count


def goes_on(driver, left_alone, folder, name="act"):
    """Assert that what is on disk is the beginning of the flow left alone, and that it goes on to the same bits."""
    if (folder / "run.json").exists():
        kept, whole = mf.load(folder), mf.load(left_alone)
        assert kept.t.tolist() == whole.t[: len(kept)].tolist()
        assert kept.energies.tolist() == whole.energies[: len(kept)].tolist()
    told = driver("do", name=name, folder=folder, again="resume")
    assert told["raised"] == [] and told["solution"]["status"] == "done"
    assert differing(left_alone, folder) == []


@pytest.mark.parametrize("pace", ["rare", "each"])
@pytest.mark.parametrize("throw", [True, False])
def test_ctrl_c_ends_a_flow_after_its_step(throw, pace, driver, left_alone, tmp_path):
    folder = tmp_path / "run"
    told = driver("do", name="act", folder=folder, act="press", pace=pace, throw=throw)
    assert told["raised"][:2] == (["FlowInterrupt", "KeyboardInterrupt"] if throw else [])
    assert told["solution"]["status"] == "interrupted"
    assert first_rows(told["solution"], left_alone) == rows_before(left_alone) + 1
    assert len(mf.load(folder)) == rows_before(left_alone) + 1 and mf.load(folder).status == "interrupted"
    assert not throw or "Ctrl-C ended the flow at t = 0.695" in told["message"]
    goes_on(driver, left_alone, folder)


def test_ctrl_c_twice_ends_a_flow_at_once(driver, left_alone, tmp_path):
    folder = tmp_path / "run"
    told = driver("do", name="act", folder=folder, act="press twice", pace="rare")
    assert told["raised"][0] == "KeyboardInterrupt"
    assert first_rows(told["solution"], left_alone) == rows_before(left_alone)
    goes_on(driver, left_alone, folder)


def test_ctrl_c_from_another_process(driver, left_alone, tmp_path):
    folder = tmp_path / "run"
    pid = hold(driver, folder)
    os.kill(pid, signal.SIGINT)
    beside(folder, "go").touch()
    told = driver("wait", pid=pid, folder=folder)
    assert told["raised"][0] == "FlowInterrupt"
    assert first_rows(told["solution"], left_alone) == rows_before(left_alone) + 1
    goes_on(driver, left_alone, folder)


def one_of_each(driver, name, folder):
    """Return where files change while a flow is written (what happens, number of the moment), and the flow left alone."""
    moments = driver("moments", name=name, folder=folder)
    return [
        (what, numbers[-(k // 3 % 2)]) for k, (what, numbers) in enumerate(moments.items()) if k % 3 == 0
    ], folder / "reference"


def test_ctrl_c_while_files_are_written_spoils_nothing(driver, tmp_path):
    """One that comes before the first step is a plain KeyboardInterrupt, one behind the last step comes with the whole flow."""
    moments, left_alone = one_of_each(driver, "act", tmp_path / "counted")
    lost = []
    for what, at in moments:
        folder = tmp_path / str(at)
        told = driver("do", name="act", folder=folder, at=at, deed="press", pace="rare")
        lost += [] if "KeyboardInterrupt" in told["raised"] else [what]
        if told["solution"] is not None:
            first_rows(told["solution"], left_alone)
        goes_on(driver, left_alone, folder)
    assert lost == []


@pytest.mark.parametrize("pace", ["rare", "each"])
def test_a_full_disk_is_told_and_harms_nothing(pace, driver, left_alone, tmp_path):
    folder = tmp_path / "run"
    told = driver("do", name="act", folder=folder, act="fill", pace=pace)
    assert "OSError" in told["raised"] and "large" in told["message"]
    assert told["solution"]["status"] == "interrupted"
    assert first_rows(told["solution"], left_alone) >= rows_before(left_alone)
    assert len(mf.load(folder)) >= 128
    goes_on(driver, left_alone, folder)


@pytest.mark.parametrize("name", ["act", "vector, strides"])
def test_one_refusal_of_the_disk_at_any_call_harms_nothing(name, driver, tmp_path):
    moments, left_alone = one_of_each(driver, name, tmp_path / "counted")
    for what, at in moments:
        folder = tmp_path / str(at)
        told = driver("do", name=name, folder=folder, at=at, deed="refuse", pace="rare")
        assert "OSError" in told["raised"] or what.endswith(("open", "mkdir segments", "mkdir folder")), what
        if told["solution"] is not None and name == "act":
            first_rows(told["solution"], left_alone)
        goes_on(driver, left_alone, folder, name)


@pytest.mark.parametrize("pace", ["rare", "each"])
def test_a_folder_that_vanishes_is_told(pace, driver, left_alone, tmp_path):
    folder = tmp_path / "run"
    told = driver("do", name="act", folder=folder, act="remove", pace=pace)
    assert "FileNotFoundError" in told["raised"]
    assert told["solution"]["status"] == "interrupted"
    assert not folder.exists()
    assert driver("do", name="act", folder=folder)["raised"] == []
    assert differing(left_alone, folder) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        mf.solve(**CASES["vector"].make(), store=tmp_path / "file" / "run")
    with pytest.raises(ValueError, match="store must be a folder, got the file"):
        mf.solve(**CASES["vector"].make(), store=tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").stat().st_size == 0


@pytest.mark.parametrize("pace", ["usual", "rare", "each"])
def test_a_function_that_raises_can_be_repaired(pace, driver, left_alone, tmp_path):
    folder = tmp_path / "run"
    told = driver("do", name="act", folder=folder, act="fail", pace=pace, throw=False)
    assert told["raised"][0] == "KeyError" and "the user's own" in told["message"]
    assert "attribute `solution`" in told["notes"][0]
    assert told["solution"]["status"] == "interrupted"
    assert first_rows(told["solution"], left_alone) == rows_before(left_alone)
    assert len(mf.load(folder)) == rows_before(left_alone)
    goes_on(driver, left_alone, folder)


def test_a_folder_that_is_copied_goes_on_where_the_copy_was_made(driver, left_alone, tmp_path):
    folder, copy = tmp_path / "run", tmp_path / "copy"
    assert driver("do", name="act", folder=folder, act="fail")["raised"][0] == "KeyError"
    shutil.copytree(folder, copy)
    goes_on(driver, left_alone, copy)
    goes_on(driver, left_alone, folder)


def test_nothing_half_written_stays(left_alone):
    names = {kind(path) for path in left_alone.rglob("*")}
    assert names == {"run", "inputs", "checkpoint", "done", "lock", "segments", "segment"}
    assert not [path for path in left_alone.rglob("*") if path.name.startswith(".")]
