"""What schemes do to a rotation: the table of theory section 6, for J = omega x y with kappa = omega tau."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from measureflow.problems.base import Factor

EYE, QUARTER = np.eye(2), np.array([[0.0, -1.0], [1.0, 0.0]])
ROTATING = ("simultaneous", "alternating", "symmetric", "implicit", "extragradient")
"""Couplings whose steps are the same for minimizing movements and explicit steps: no player has an energy of its own."""


def _symmetric(k: float) -> np.ndarray:
    return (1.0 - 0.5 * k * k) * EYE + k * QUARTER + np.array([[0.0, 0.25 * k**3], [0.0, 0.0]])


def _taylor(k: float, order: int) -> np.ndarray:
    """Return the Taylor polynomial of the rotation by the angle k."""
    power, total = EYE, EYE
    for n in range(1, order + 1):
        power = power @ QUARTER * (k / n)
        total = total + power
    return total


_TURNS: dict[str, Callable[[float], np.ndarray]] = {
    "simultaneous": lambda k: EYE + k * QUARTER,
    "alternating": lambda k: EYE + k * QUARTER - np.diag([0.0, k * k]),
    "symmetric": _symmetric,
    "implicit": lambda k: (EYE + k * QUARTER) / (1.0 + k * k),
    "extragradient": lambda k: (1.0 - k * k) * EYE + k * QUARTER,
}
MATRICES: dict[str, Callable[[float], np.ndarray]] = {
    **{f"{prefix}{name}": _TURNS[name] for name in ROTATING for prefix in ("", "explicit ")},
    "adjoint": _symmetric,
    "vim symmetric": _symmetric,
    "vim implicit": lambda k: ((1.0 - 0.25 * k * k) * EYE + k * QUARTER) / (1.0 + 0.25 * k * k),
    "rk2": lambda k: _taylor(k, 2),
    "rk4": lambda k: _taylor(k, 4),
}
"""Name of a one-step scheme -> kappa -> its matrix on (x, y)."""


def _larger(a: complex, b: complex, c: complex) -> complex:
    """Return the root of a m^2 + b m + c of larger modulus, the principal multiplier of a two-step scheme."""
    root = np.sqrt(complex(b * b - 4.0 * a * c))
    return complex(max(((-b + root) / (2.0 * a), (-b - root) / (2.0 * a)), key=abs))


def _leapfrog(k: float) -> complex:
    return complex(1.0 - k**2 / 2.0 + 1j * k * np.sqrt(complex(1.0 - k**2 / 4.0)))


_FACTORS: dict[str, Factor] = {
    "simultaneous": lambda k: 1.0 + 1j * k,
    "alternating": _leapfrog,
    "symmetric": _leapfrog,
    "implicit": lambda k: 1.0 / (1.0 - 1j * k),
    "extragradient": lambda k: 1.0 + 1j * k - k**2,
    "optimistic": lambda k: _larger(1.0, -1.0 - 2j * k, 1j * k),
}
MULTIPLIERS: dict[str, Factor] = {
    **{f"{prefix}{name}": factor for name, factor in _FACTORS.items() for prefix in ("", "explicit ")},
    "adjoint": _leapfrog,
    "vim symmetric": _leapfrog,
    "vim implicit": lambda k: (1.0 + 0.5j * k) / (1.0 - 0.5j * k),
    "vim optimistic": lambda k: _larger(1.0, -1.0 - 1.5j * k, 0.5j * k),
    "bdf2 implicit": lambda k: _larger(1.5 - 1j * k, -2.0, 0.5),
    "bdf2 optimistic": lambda k: _larger(1.5, -2.0 - 2j * k, 0.5 + 1j * k),
    "rk2": lambda k: 1.0 + 1j * k - k**2 / 2.0,
    "rk4": lambda k: 1.0 + 1j * k - k**2 / 2.0 - 1j * k**3 / 6.0 + k**4 / 24.0,
}
"""Name of a scheme -> kappa -> its multiplier; the larger one of two-step schemes."""
