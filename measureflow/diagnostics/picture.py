"""The picture of an energy balance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from measureflow.look import canvas, finish, player_color
from measureflow.states.draw import FONT, GREY

if TYPE_CHECKING:
    from measureflow.diagnostics.balance import Balance

LINES = (("own", "own moves", "-"), ("opponent", "opponents' moves", "--"), ("dissipation", "- dissipation", ":"))


def balance_figure(balance: Balance) -> Any:
    """Draw each player's energy and what its changes are made of, a panel each; for zero-sum games also the identity of J."""
    players = 1 if balance.energies.ndim == 1 else balance.energies.shape[1]
    panels = players + (balance.payoff_residual is not None)
    picture = canvas((4.8 * panels, 4.0))
    places = np.atleast_1d(picture.subplots(1, panels))
    for player in range(players):
        _player(places[player], balance, player, players == 1)
    if balance.payoff_residual is not None:
        _payoff(places[-1], balance)
    return picture


def _column(table: np.ndarray, player: int) -> np.ndarray:
    return table.reshape(len(table), -1)[:, player]


def _player(axes: Any, balance: Balance, player: int, alone: bool) -> None:
    color = player_color(player)
    energy = _column(balance.energies, player)
    axes.plot(balance.t, energy - energy[:1], color=color, linewidth=2.4, label="energy - first energy")
    for name, label, style in LINES[:1] + LINES[2:] if alone else LINES:
        values = _column(balance.cumulative(name), player) * (-1.0 if name == "dissipation" else 1.0)
        axes.plot(balance.t, values, style, color="black" if name == "dissipation" else color, linewidth=1.5, label=label)
    _finished(axes, balance, "energy balance" if alone else f"energy balance of player {player}")


def _payoff(axes: Any, balance: Balance) -> None:
    payoff = _column(balance.energies, 0)
    work = balance.cumulative("work")
    axes.plot(balance.t, payoff - payoff[:1], color=GREY, linewidth=2.4, label="J - first J")
    axes.plot(balance.t, work[:, 1] - work[:, 0], "--", color="black", linewidth=1.5, label="work of player 1 - work of player 0")
    _finished(axes, balance, "energy identity of the payoff")


def _finished(axes: Any, balance: Balance, title: str) -> None:
    axes.set_xlabel("t")
    finish(axes, title)
    axes.legend(frameon=False, fontsize=FONT, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=2)
