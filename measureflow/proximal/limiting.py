"""Combinations of masses with negative weights, kept nonnegative: extrapolations of steps on grids."""

from __future__ import annotations

import numpy as np

ROUNDING = 4.0 * float(np.finfo(float).eps)


def nonnegative(base: np.ndarray, safe: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return `base`, of positive sum, without negative entries, and whether that took anything; `safe` is nowhere negative.

    What is negative by rounding only, by 4 eps of the largest entry, is 0 (of the same sum), and does not count.
    Where a cell is negative, the smallest block of 2^k cells a side that holds it and whose sum is not negative is blended with
    the multiple of `safe` that has the same sum there, as far as needed: mass is kept block by block, other blocks stay as they
    are.
    """
    lowest = base.min()
    if lowest >= 0.0:
        return base, False
    if lowest >= -ROUNDING * base.max():
        kept = np.maximum(base, 0.0)
        return kept * (base.sum() / kept.sum()), False
    size = 2
    while base.min() < 0.0:
        base = _in_blocks(base, safe, size)
        size *= 2
    return base, True


def _in_blocks(base: np.ndarray, now: np.ndarray, size: int) -> np.ndarray:
    """Blend `base` with multiples of `now` in those blocks where it is negative somewhere, but not in sum."""
    shape = base.shape
    padded = [np.pad(z, [(0, -n % min(size, _even(n))) for n in shape]) for z in (base, now)]
    blocks = [_blocked(z, [min(size, _even(n)) for n in shape]) for z in padded]
    b, a = blocks
    total, held = b.sum(axis=1, keepdims=True), a.sum(axis=1, keepdims=True)
    factor = np.divide(total, held, out=np.zeros_like(total), where=held > 0.0)
    safe = factor * a  # nonnegative, with the sum of b
    fall = safe - b
    room = np.divide(safe, fall, out=np.ones_like(safe), where=(b < 0.0) & (fall > 0.0))
    share = np.clip(room.min(axis=1, keepdims=True), 0.0, 1.0)
    mended = np.maximum(safe + share * (b - safe), 0.0)  # only rounding is below 0 where the sum is not
    able = (b.min(axis=1, keepdims=True) < 0.0) & (total >= 0.0) & ((held > 0.0) | (total == 0.0))
    mended = np.where(able, mended, b)
    return _unblocked(mended, padded[0].shape, [min(size, _even(n)) for n in shape])[tuple(slice(n) for n in shape)]


def _even(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()


def _blocked(z: np.ndarray, sides: list[int]) -> np.ndarray:
    """Return an array (blocks, cells of a block)."""
    d = z.ndim
    split = z.reshape([part for n, s in zip(z.shape, sides, strict=True) for part in (n // s, s)])
    return split.transpose([*range(0, 2 * d, 2), *range(1, 2 * d, 2)]).reshape(-1, int(np.prod(sides)))


def _unblocked(blocks: np.ndarray, shape: tuple[int, ...], sides: list[int]) -> np.ndarray:
    d = len(shape)
    split = blocks.reshape([*(n // s for n, s in zip(shape, sides, strict=True)), *sides])
    return split.transpose([axis for k in range(d) for axis in (k, d + k)]).reshape(shape)
