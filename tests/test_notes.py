"""Pages: links and pictures exist, code is executed, pictures are those that the page's script draws."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

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


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("dual_flows", ROOT / "notes" / "dual_flows.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_draws_the_pictures_of_its_page(script):
    shown = {target for _, target in PICTURE.findall((ROOT / "notes" / "dual-flows.md").read_text())}
    assert shown == {f"{name}.png" for name in script.PICTURES}
    assert sum((ROOT / "notes" / name).stat().st_size for name in shown) < 1.5e6


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
