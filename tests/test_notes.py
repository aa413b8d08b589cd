"""Pages: links and pictures exist, code is executed, pictures are those that the page's script draws."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import measureflow as mf
from measureflow import problems

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "notes").glob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
PNG = b"\x89PNG\r\n\x1a\n"


def prose(page: Path) -> str:
    """Return a page without its code."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    return "\n".join(re.sub(r"`[^`\n]*`", "", line) for line in text.split("\n") if not line.startswith("    "))


def by_name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_links_are_relative_and_exist(page):
    for target in LINK.findall(prose(page)):
        if not re.match(r"https?://|#", target):
            assert not target.startswith("/"), target
            assert (page.parent / target.split("#")[0]).is_file(), target


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_pictures_are_described_and_whole(page):
    for words, target in PICTURE.findall(prose(page)):
        assert len(words) > 20, target
        content = (page.parent / target).read_bytes()
        assert content.startswith(PNG) and content.rstrip().endswith(b"IEND\xaeB`\x82")


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_python_on_pages_is_executed(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        assert block.startswith(">>> "), "a block that doctest does not see"
        assert block.endswith("\n\n"), "doctest would take the fence for output"


def test_pages_are_among_the_tests(pytestconfig):
    assert {"README.md", "notes"} <= set(pytestconfig.getini("testpaths"))


def loaded(name):
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location(name, ROOT / "notes" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return loaded("dual_flows")


@pytest.fixture(scope="module")
def choosing():
    return loaded("choosing")


@pytest.mark.parametrize(
    ("name", "page"), [("dual_flows", "dual-flows.md"), ("choosing", "choosing.md"), ("mode_collapse", "mode-collapse.md")]
)
def test_the_script_draws_the_pictures_of_its_page(name, page):
    shown = {target for _, target in PICTURE.findall((ROOT / "notes" / page).read_text())}
    assert shown == {f"{picture}.png" for picture in loaded(name).PICTURES}
    assert sum((ROOT / "notes" / picture).stat().st_size for picture in shown) < 1.5e6


def test_rates_of_the_picture_have_labels_and_powers(script):
    axes = script.canvas((4.0, 4.0)).subplots()
    script._rates(axes)
    assert len(axes.lines) == len(script.LABELS)
    assert set(script.LABELS) <= set(problems.get("G1").factors)


def test_a_panel_of_the_dirac_picture(script):
    figure = script.canvas((4.0, 4.0))
    axes = figure.subplots()
    title = "GAN, R1 2 (over-critical)"
    script._dirac_panel(axes, title, *script.dirac_panels()[title])
    assert axes.get_title() == title and axes.get_xlabel() == "generator $\\theta$"
    paths = {line.get_label(): line.get_xydata() for line in axes.lines if not line.get_label().startswith("_")}
    assert set(paths) == {"simultaneous", "alternating", "flow", "equilibrium"}
    assert all(abs(paths[name][-1]).max() < 0.1 for name in paths)
    figure.draw_without_rendering()


def test_the_panels_show_every_variant_and_regulariser(script):
    games = [game for game, _, _ in script.dirac_panels().values()]
    assert all(isinstance(game, mf.games.DiracGAN) for game in games)
    assert {game.variant for game in games} == {"gan", "nsgan", "wgan"}
    for name in ("clip", "gradient_penalty", "r1", "instance_noise", "consensus"):
        assert any(getattr(game, name) is not None for game in games)


def test_a_porous_medium_flows_around_pillars(choosing):
    """A coarse version of the picture: mass is kept, pillars stay empty, the front has passed the first of them."""
    sol, mask = choosing.porous(n=16, tau=0.01, times=(0.01, 0.2))
    for law in sol.states:
        assert abs(law.masses.sum() - 1.0) < 1e-12 and law.masses.min() >= 0.0 and np.all(law.masses[mask] == 0.0)
    assert sol.states[0].masses[16:].sum() < 1e-2 < sol.states[-1].masses[16:].sum()
    figure = choosing.porous_media(n=16, tau=0.01, times=(0.01, 0.02, 0.03, 0.05))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:4] == ["t = 0.01", "t = 0.02", "t = 0.03", "t = 0.05"]
    figure.draw_without_rendering()


def test_an_even_law_breaks_into_clusters(choosing):
    """A coarse version of the picture: energies fall, the density grows well above 1, mass is kept."""
    sol = choosing.clusters(n=32, tau=0.2, times=(0.2, 4.0))
    assert sol.energies[1] < sol.energies[0] and sol.states[1].density.max() > 3.0 > sol.states[0].density.max()
    assert all(abs(law.masses.sum() - 1.0) < 1e-12 and law.masses.min() >= 0.0 for law in sol.states)
    choosing.aggregation(n=16, tau=0.2, times=(0.2, 0.4, 0.6, 0.8)).draw_without_rendering()


def test_a_crowd_passes_the_door(choosing):
    """A coarse version of the picture: the cap and the walls hold, and at last half of the crowd is behind the door."""
    sol, mask = choosing.crowd(n=16, tau=0.05, times=(0.05, 0.5, 1.0, 2.0))
    for law in sol.states:
        assert law.density.max() <= 2.5 * (1.0 + 1e-9) and np.all(law.masses[mask] == 0.0)
        assert abs(law.masses.sum() - 1.0) < 1e-12 and law.masses.min() >= 0.0
    behind = [float(law.masses[20:].sum()) for law in sol.states]
    assert np.all(np.diff(behind) > 0.0) and behind[-1] > 0.5


def test_cases_of_the_table_on_the_line(choosing):
    cases = choosing.line_cases()
    found = choosing.measure(
        {name: cases[name] for name in ("Gaussian, VIM", "400 atoms, blobs, RK2")}, problems.get("S1").exact(1.0)
    )
    page = (ROOT / "notes" / "choosing.md").read_text()
    assert all(line[:-8] in page for line in found), found
    assert all(name in page for name in choosing.plane_cases())


def test_one_run_collapses_and_the_other_covers():
    """What differs is the ridge of the critic."""
    script = loaded("mode_collapse")
    target, found = script.runs()
    clumped, spread = (target.cover(found.states(-1, member)[0].points) for member in (0, 1))
    assert clumped.fair_modes <= 2 and spread.fair_modes == 8


def test_the_theorems_have_an_index():
    index = (ROOT / "notes" / "theorems" / "README.md").read_text()
    assert all(f"[{name}]({name}.md)" in index for name in mf.theorems.names())
