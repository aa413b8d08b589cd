"""The public surface: names, docstrings with examples, floors, light imports, the command line."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import measureflow as mf
from measureflow import cli, datasets, demo

ROOT = Path(__file__).parents[1]
ROOMS = {"energies": mf.energies, "games": mf.games, "measureflow": mf}


def public_objects():
    for room, module in ROOMS.items():
        names = module.__all__ if hasattr(module, "__all__") else [n for n in vars(module) if not n.startswith("_")]
        for name in names:
            thing = getattr(module, name)
            if not inspect.ismodule(thing) and getattr(thing, "__module__", "").startswith("measureflow"):
                yield pytest.param(thing, id=f"{room}.{name}")


@pytest.mark.parametrize("thing", list(public_objects()))
def test_every_public_name_has_a_docstring(thing) -> None:
    assert thing.__doc__ and len(thing.__doc__.splitlines()[0]) > 10


ABSTRACT = {mf.State, mf.Law, mf.Metric, mf.Scheme, mf.energies.Energy} | {
    getattr(mf.games, name) for name in ("AbstractGame", "Critic", "Generator")
}


@pytest.mark.parametrize("thing", list(public_objects()))
def test_every_public_class_and_function_has_an_example(thing) -> None:
    if thing in ABSTRACT or (inspect.isclass(thing) and issubclass(thing, Exception)) or thing is mf.TaylorCheck:
        pytest.skip("not made by users")
    assert ">>>" in thing.__doc__


def test_all_lists_the_public_names() -> None:
    assert sorted(mf.__all__) == mf.__all__ or set(mf.__all__) <= set(dir(mf))
    assert all(hasattr(mf, name) for name in mf.__all__)


def test_import_loads_neither_numba_nor_scipy_nor_pot() -> None:
    heavy = ("numba", "scipy.optimize", "ot", "matplotlib", "sklearn")
    code = f"import sys, measureflow; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_floors_and_circles() -> None:
    from importlinter.cli import lint_imports

    assert lint_imports(config_filename=str(ROOT / "setup.cfg"), no_cache=True) == 0


def test_no_loader_runs_code() -> None:
    forbidden = re.compile(r"import (pickle|dill|joblib|shelve|marshal)|\b(eval|exec)\(|allow_pickle=True")
    for file in (ROOT / "measureflow").rglob("*.py"):
        assert not forbidden.search(file.read_text()), file


def test_version_and_help(capsys) -> None:
    for flag in ("--version", "--help"):
        with pytest.raises(SystemExit) as stop:
            cli.main([flag])
        assert stop.value.code == 0
    assert "measureflow" in capsys.readouterr().out


def test_unknown_command_exits_with_2(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["dance"])
    assert stop.value.code == 2
    assert "dance" in capsys.readouterr().err


def test_demo_into_a_file_is_bad_input(tmp_path, capsys) -> None:
    file = tmp_path / "taken"
    file.write_text("")
    assert cli.main(["demo", "--out", str(file)]) == 2
    assert capsys.readouterr().err.startswith("measureflow: ")


def test_digits_are_the_1797_of_scikit_learn() -> None:
    images, labels = datasets.digits()
    assert images.shape == (1797, 64) and images.min() == 0.0 and images.max() == 1.0
    assert set(labels) == set(range(10))


SMALL = demo.Settings(particles=40, neurons=20, horizon=0.5, steps=5)


def test_small_demo_writes_everything(tmp_path, capsys) -> None:
    outcome = demo.run(tmp_path, SMALL, progress=False)
    pictures, texts = {"digits.png", "curves.png", "table.png"}, {"table.txt", "result.json", "index.html"}
    assert {f.name for f in tmp_path.iterdir()} == pictures | texts
    result = json.loads((tmp_path / "result.json").read_text())
    assert [m["steps"] for m in result["measured"]] == [5, 10, 20]
    page = (tmp_path / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and 'src="http' not in page
    assert "of 10" in capsys.readouterr().out
    assert outcome.order == pytest.approx(1.0, abs=0.2)


def test_demo_fails_when_a_claim_fails(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(demo, "Settings", lambda: SMALL)
    assert cli.main(["demo", "--out", str(tmp_path)]) == 1
