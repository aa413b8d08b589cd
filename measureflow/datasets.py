"""Real data that comes with a Python package: nothing is downloaded."""

from __future__ import annotations

import numpy as np


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships.

    Returns
    -------
    images : ndarray, shape (1797, 64)
        Grey values in [0, 1], row by row.
    labels : ndarray of int, shape (1797,)
        The digits 0 to 9.

    Raises
    ------
    ImportError
        If scikit-learn is not installed (extra `data`).

    Examples
    --------
    >>> images, labels = digits()
    >>> images.shape, sorted(set(labels.tolist()))
    ((1797, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('the digits need scikit-learn: pip install "measureflow[data]"') from error
    images, labels = load_digits(return_X_y=True)
    return np.asarray(images) / 16.0, np.asarray(labels)
