"""Phase portraits: the field is the flow's, orbits are the solutions', bounds are seen."""

from __future__ import annotations

import numpy as np
import pytest

import measureflow as mf
from measureflow.portraits import GRID, velocity_field

matplotlib = pytest.importorskip("matplotlib")

SQUARE = ((-1.0, 1.0), (-1.0, 1.0))
START = mf.Vector(1.0), mf.Vector(1.0)


def places(box):
    x, y = (np.linspace(*side, GRID) for side in box)
    return np.meshgrid(x, y)


def test_the_field_is_the_flow():
    field, bounds = velocity_field(mf.games.LinearQuadratic(0.3, 2.0, 0.5), ((-1.0, 1.0), (0.0, 3.0)), (1.0, 4.0))
    x, y = places(((-1.0, 1.0), (0.0, 3.0)))
    assert field[..., 0] == pytest.approx(-0.3 * x - 2.0 * y)
    assert field[..., 1] == pytest.approx(4.0 * (2.0 * x - 0.5 * y))
    assert bounds == [[], []]


def test_the_field_ends_at_a_clip():
    field, bounds = velocity_field(mf.games.DiracGAN("wgan", clip=0.5), SQUARE)
    _, y = places(SQUARE)
    assert np.array_equal(np.isfinite(field[..., 0]), np.abs(y) <= 0.5 + 1e-12)
    assert bounds == [[], [-0.5, 0.5]]


def test_orbits_are_drawn_whole_with_start_and_end():
    game = mf.games.DiracGAN("gan")
    sol = mf.solve(game, START, 2.0, 0.5, scheme="explicit")
    figure = mf.phase_portrait(game, {"simultaneous": sol}, box=((-2.0, 2.0), (-1.0, 3.0)))
    (axes,) = figure.axes
    path, end, start = (line.get_xydata() for line in axes.lines)
    assert path == pytest.approx(np.array([[x[0], y[0]] for x, y in sol.states]))
    assert np.array_equal(start[0], [1.0, 1.0]) and np.array_equal(end[0], path[-1])
    assert axes.get_ylim() == (-1.0, 3.0)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["simultaneous"]


def test_streamlines_run_along_the_field():
    axes = mf.phase_portrait(mf.games.Bilinear(1.0), box=1.0).axes[0]
    (lines,) = axes.collections
    ends = np.concatenate([np.hstack([piece[:-1], piece[1:]]) for piece in lines.get_segments()])
    middle, way = 0.5 * (ends[:, :2] + ends[:, 2:]), ends[:, 2:] - ends[:, :2]
    middle, way = middle[np.any(way != 0.0, axis=1)], way[np.any(way != 0.0, axis=1)]
    outside = np.linalg.norm(middle, axis=1) > 0.3
    cross = np.abs(np.sum(middle * way, axis=1)) / (np.linalg.norm(middle, axis=1) * np.linalg.norm(way, axis=1))
    assert np.median(cross[outside]) < 0.05  # circles: the way is at right angles to the place


def test_several_portraits_share_a_figure():
    from measureflow.look import canvas

    figure = canvas((6.0, 3.0))
    for axes in figure.subplots(1, 2):
        assert mf.phase_portrait(mf.games.Bilinear(0.0), axes=axes) is figure
        assert not axes.collections  # no field, no lines
    figure.draw_without_rendering()


def test_portraits_of_clipped_players_show_the_bounds():
    axes = mf.phase_portrait(mf.games.DiracGAN("wgan", clip=0.5), box=1.0).axes[0]
    assert [line.get_ydata()[0] for line in axes.lines] == [-0.5, 0.5]
