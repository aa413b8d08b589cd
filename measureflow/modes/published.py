"""The published numbers of the benchmark of modes, to stand beside what is measured here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Published:
    """A row of a published table; None: not given there.

    Attributes
    ----------
    target, method, source : str
    modes, high_quality, reverse_kl : float or None
        Means; high quality in percent.
    runs : int
    """

    target: str
    method: str
    source: str
    modes: float
    high_quality: float | None
    reverse_kl: float | None
    runs: int


VEEGAN = "VEEGAN 2017, Table 1"
PACGAN = "PacGAN 2018, Table 1"

PUBLISHED = (
    Published("ring", "GAN", VEEGAN, 1.0, 99.3, None, 5),
    Published("ring", "ALI", VEEGAN, 2.8, 0.13, None, 5),
    Published("ring", "Unrolled GAN", VEEGAN, 7.6, 35.6, None, 5),
    Published("ring", "VEEGAN", VEEGAN, 8.0, 52.9, None, 5),
    Published("ring", "GAN", PACGAN, 6.3, 98.2, 0.45, 10),
    Published("ring", "ALI", PACGAN, 6.6, 97.6, 0.36, 10),
    Published("ring", "PacGAN2", PACGAN, 7.9, 95.6, 0.07, 10),
    Published("ring", "PacGAN4", PACGAN, 7.8, 95.9, 0.07, 10),
    Published("grid", "GAN", VEEGAN, 3.3, 0.5, None, 5),
    Published("grid", "ALI", VEEGAN, 15.8, 1.6, None, 5),
    Published("grid", "Unrolled GAN", VEEGAN, 23.6, 16.0, None, 5),
    Published("grid", "VEEGAN", VEEGAN, 24.6, 40.0, None, 5),
    Published("grid", "GAN", PACGAN, 17.3, 94.8, 0.70, 10),
    Published("grid", "ALI", PACGAN, 24.1, 95.7, 0.14, 10),
    Published("grid", "PacGAN2", PACGAN, 23.8, 91.3, 0.13, 10),
    Published("grid", "PacGAN4", PACGAN, 24.8, 93.6, 0.04, 10),
)
"""Networks as generators, trained on minibatches: another architecture than laws of particles."""


def published(target: str) -> tuple[Published, ...]:
    """Return the published rows for a target by its name.

    Examples
    --------
    >>> len(published("ring")), published("spiral")
    (8, ())
    """
    return tuple(row for row in PUBLISHED if row.target == target)
