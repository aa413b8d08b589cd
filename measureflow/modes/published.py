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
    runs : int or str
        Empty where it is not given.

    Notes
    -----
    Rows for "stacked-digits" are of stacked MNIST: also three handwritten digits a sample and 1000 modes, but another data set,
    of 28 x 28 pixels, read by another classifier; its modes are all that the classifier finds in 26,000 samples, of whatever
    quality: compare `Coverage.visited`. Rows for "high-dimensional" count quality by another radius (`high_dimensional`).
    """

    target: str
    method: str
    source: str
    modes: float
    high_quality: float | None
    reverse_kl: float | None
    runs: int | str


VEEGAN = "VEEGAN 2017, Table 1"
PACGAN = "PacGAN 2018, Table 1"
VEEGAN_MNIST = "VEEGAN 2017, Table 2 (stacked MNIST)"
PACGAN_MNIST = "PacGAN 2018, Table 2 (stacked MNIST)"
PACGAN_SMALL = "PacGAN 2018, Table 3 (stacked MNIST)"

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
    Published("high-dimensional", "GAN", VEEGAN, 1.6, 2.0, None, 5),
    Published("high-dimensional", "ALI", VEEGAN, 3.0, 5.4, None, 5),
    Published("high-dimensional", "Unrolled GAN", VEEGAN, 0.0, 0.0, None, 5),
    Published("high-dimensional", "VEEGAN", VEEGAN, 5.5, 28.29, None, 5),
    Published("stacked-digits", "DCGAN", VEEGAN_MNIST, 99.0, None, 3.4, ""),
    Published("stacked-digits", "ALI", VEEGAN_MNIST, 16.0, None, 5.4, ""),
    Published("stacked-digits", "Unrolled GAN", VEEGAN_MNIST, 48.7, None, 4.32, ""),
    Published("stacked-digits", "VEEGAN", VEEGAN_MNIST, 150.0, None, 2.95, ""),
    Published("stacked-digits", "DCGAN", PACGAN_MNIST, 78.9, None, 4.50, 10),
    Published("stacked-digits", "PacDCGAN2", PACGAN_MNIST, 1000.0, None, 0.06, 10),
    Published("stacked-digits", "PacDCGAN3", PACGAN_MNIST, 1000.0, None, 0.06, 10),
    Published("stacked-digits", "PacDCGAN4", PACGAN_MNIST, 1000.0, None, 0.07, 10),
    Published("stacked-digits", "DCGAN, D 1/4 of G", PACGAN_SMALL, 78.5, None, 5.21, 50),
    Published("stacked-digits", "PacDCGAN2, D 1/4 of G", PACGAN_SMALL, 484.5, None, 2.61, 50),
    Published("stacked-digits", "PacDCGAN4, D 1/4 of G", PACGAN_SMALL, 667.4, None, 1.81, 50),
    Published("stacked-digits", "DCGAN, D 1/2 of G", PACGAN_SMALL, 487.7, None, 2.24, 50),
    Published("stacked-digits", "PacDCGAN2, D 1/2 of G", PACGAN_SMALL, 840.7, None, 1.00, 50),
    Published("stacked-digits", "PacDCGAN4, D 1/2 of G", PACGAN_SMALL, 820.2, None, 1.15, 50),
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
