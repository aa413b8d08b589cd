"""The theorems are a net: code that is broken on purpose, in one place at a time, is caught by the theorem that it breaks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import measureflow

PACKAGE = Path(measureflow.__file__).parent
SECONDS = 200
"""Time after which a broken package counts as one that hangs."""

LONG = (
    "a weight of BDF2",
    "a step in place of its half",
    "identities of implicit players against old states",
    "a sign",
    "a geodesic point",
    "an interaction counted twice",
)
"""Those whose theorems take the longest."""

MUTANTS = {
    "speeds dropped": ("schemes/base.py", "size = share * players.speeds[player] * tau", "size = share * tau", "G21"),
    "a stale opponent": (
        "schemes/couplings.py",
        "current[player], infos[player] = move(player, states[player], tuple(current))",
        "current[player], infos[player] = move(player, states[player], states)",
        "D7",
    ),
    "extragradient steps from the prediction": (
        "schemes/couplings.py",
        "new, _, second = _moved(move, states, predicted)",
        "new, _, second = _moved(move, predicted, predicted)",
        "6",
    ),
    "identities of implicit players against old states": (
        "schemes/couplings.py",
        "return (*new[:player], old[player], *new[player + 1 :])",
        "return old",
        "4.3",
    ),
    "a step in place of its half": (
        "schemes/vim.py",
        "half = self.minimize(energy, metric, x, 0.5 * tau)",
        "half = self.minimize(energy, metric, x, tau)",
        "T6",
    ),
    "a weight of BDF2": (
        "schemes/bdf2.py",
        "z = chart.origin + reach * (chart.log(x) - chart.origin)",
        "z = chart.origin + 0.99 * reach * (chart.log(x) - chart.origin)",
        "4.5",
    ),
    "a node of RK4": ("schemes/runge_kutta.py", "nodes, weights = (0.5, 0.5, 1.0)", "nodes, weights = (0.5, 0.49, 1.0)", "6"),
    "the temperature lost": ("proximal/gaussian.py", "heat = tau * parts.temperature", "heat = tau", "T1"),
    "tau / 2 in a quadratic's step": (
        "proximal/closed.py",
        "moved = right / (1.0 + tau * a[0, 0])",
        "moved = right / (1.0 + 0.5 * tau * a[0, 0])",
        "T1",
    ),
    "the factor n lost": (
        "metrics/wasserstein.py",
        "return Flat(base, base.weights[:, None])",
        "return Flat(base, np.ones_like(base.weights)[:, None])",
        "gradients",
    ),
    "a sign": (
        "proximal/closed.py",
        "right = points - tau * parts.linear",
        "right = points + tau * parts.linear",
        "13.1",
    ),
    "an interaction counted twice": (
        "energies/interaction.py",
        "return 0.5 * float(weights @ potential), potential",
        "return float(weights @ potential), potential",
        "conventions",
    ),
    "noise that forgets its square root": (
        "games/noisy.py",
        "* deviation / np.sqrt(size)",
        "* deviation / size",
        "N2",
    ),
    "a ridge doubled": ("games/penalties.py", "return critic.ridge(self.beta)", "return critic.ridge(2.0 * self.beta)", "M1"),
    "a geodesic point": ("proximal/gaussian.py", "share = tau / (1.0 + tau)", "share = tau / (1.0 + 2.0 * tau)", "13.1"),
}


def verified(place: Path, name: str) -> tuple[int, str]:
    """Return exit status and table of `measureflow verify` with the package in a folder."""
    told = {**os.environ, "PYTHONPATH": str(place), "NUMBA_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "measureflow", "verify", name, "--jobs", "1"]
    done = subprocess.run(command, cwd=place, env=told, capture_output=True, text=True, check=False, timeout=SECONDS)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mutants")
    shutil.copytree(PACKAGE, place / "measureflow")
    return place


def test_the_copy_as_it_is_holds(copy):
    status, told = verified(copy, "conventions")
    assert status == 0 and "1 theorems: 1 holds" in told, told


@pytest.mark.parametrize("mutant", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in MUTANTS])
def test_a_theorem_catches(mutant, copy):
    """Exit status 1, and a counter-example where the claim is violated."""
    name, old, new, theorem = MUTANTS[mutant]
    file = copy / "measureflow" / name
    source = file.read_text()
    assert source.count(old) == 1, "the place to break is no longer there"
    try:
        file.write_text(source.replace(old, new))
        status, told = verified(copy, theorem)
    finally:
        file.write_text(source)
    assert status == 1 and ("VIOLATED" in told or "undecided" in told), told
