"""Pressures and fluxes of the finite-volume scheme of `measureflow.proximal.finite_volumes`, term by term of the energy.

An internal energy is a sum over terms c_k, m_k: pressure c rho^m, variation c m/(m - 1) rho^(m-1), for m = 1 (the entropy)
pressure c rho, variation c log rho.
"""

from __future__ import annotations

from math import exp, expm1, log, sinh
from typing import Any

import numba
import numpy as np

from measureflow._numba import njit

BLOCK = 4096
NEAR = 1e-3
FAR = 8.0
TINY = 1e-100
"""Density of vacuum, and share of the denser cell as which an emptier one counts, in derivatives of fluxes."""


@njit
def _power(x: float, m: float) -> float:
    """Return x^m for x >= 0, m > 0."""
    if m == 1.0:
        return x
    if m == 2.0:
        return x * x
    if m == 3.0:
        return x * x * x
    return x**m


@njit
def _pressure_block(rho: Any, coef: Any, power: Any, cap: float, p: Any, a: Any, first: int, last: int) -> None:
    for i in range(first, last):
        total, slope = 0.0, 0.0
        for k in range(coef.size):
            term = coef[k] * _power(rho[i], power[k])
            total += term
            if rho[i] > 0.0:
                slope += power[k] * term / rho[i]
            elif power[k] <= 1.0:
                slope = slope + coef[k] if power[k] == 1.0 else 1e300
        p[i] = total
        a[i] = 1.0 / slope if slope * cap > 1.0 else cap


@njit(parallel=True)
def _pressure_threads(rho: Any, coef: Any, power: Any, cap: float, p: Any, a: Any) -> None:
    for block in numba.prange((rho.size + BLOCK - 1) // BLOCK):
        _pressure_block(rho, coef, power, cap, p, a, block * BLOCK, min((block + 1) * BLOCK, rho.size))


def pressure(rho: Any, coef: Any, power: Any, cap: float, p: Any, a: Any) -> None:
    """Write the pressure P(rho) and min(1 / P'(rho), cap) of densities >= 0; all of one shape, contiguous."""
    flat = rho.ravel(), coef, power, cap, p.ravel(), a.ravel()
    if rho.size > 8 * BLOCK and numba.get_num_threads() > 1:
        _pressure_threads(*flat)
    else:
        _pressure_block(*flat, 0, rho.size)


@njit
def densities(goal: Any, coef: Any, power: Any, rho: Any) -> None:
    """Solve P(rho) = goal > 0 in every cell (flat arrays) by Newton's method in logarithms, from the rho > 0 given."""
    for i in range(goal.size):
        if goal[i] <= 0.0:
            rho[i] = 0.0
            continue
        s, wanted = log(rho[i]) if rho[i] > 0.0 else 0.0, log(goal[i])
        if coef.size == 1:
            rho[i] = exp((wanted - log(coef[0])) / power[0])
            continue
        for _ in range(60):
            total, slope = 0.0, 0.0
            for k in range(coef.size):
                term = coef[k] * exp(power[k] * s)
                total += term
                slope += power[k] * term
            move = (log(total) - wanted) * total / slope
            s -= move
            if abs(move) < 1e-15:
                break
        rho[i] = exp(s)


@njit
def _variation(x: float, y: float, coef: Any, power: Any) -> float:
    """Return phi(x) - phi(y) for x, y > 0."""
    total, low, high = 0.0, min(x, y), max(x, y)
    for k in range(coef.size):
        m = power[k]
        if m == 1.0:
            total += coef[k] * log(low / high)
        elif m == 2.0:
            total += 2.0 * coef[k] * (low - high)
        else:
            total += coef[k] * m / (m - 1.0) * high ** (m - 1.0) * expm1((m - 1.0) * log(low / high))
    return total if x < y else -total


@njit
def _stiffness(x: float, coef: Any, power: Any) -> float:
    """Return phi'(x) for x > 0."""
    total = 0.0
    for k in range(coef.size):
        total += coef[k] * power[k] * (_power(x, power[k]) / x) / x
    return total


@njit
def mobility(x: float, y: float, coef: Any, power: Any) -> float:
    """Return the mean (P(x) - P(y)) / (phi(x) - phi(y)) of two densities >= 0, continued to x = y by x."""
    if coef.size == 1 and power[0] == 2.0:
        return 0.5 * (x + y)
    if x <= 0.0 or y <= 0.0:
        top, low, upper, lower = max(x, y), False, 0.0, 0.0
        if top <= 0.0:
            return 0.0
        for k in range(coef.size):
            m = power[k]
            low = low or m <= 1.0
            if m > 1.0:
                term = coef[k] * _power(top, m)
                upper += term
                lower += term / top * m / (m - 1.0)
        return 0.0 if low or lower == 0.0 else upper / lower
    s, g, upper, lower = 0.5 * log(x / y), (x * y) ** 0.5, 0.0, 0.0
    if abs(s) < 1e-9:
        return g
    if abs(s) > FAR:
        for k in range(coef.size):
            upper += coef[k] * (_power(x, power[k]) - _power(y, power[k]))
        lower = _variation(x, y, coef, power)
        return upper / lower if lower != 0.0 else 0.5 * (x + y)
    for k in range(coef.size):
        m = power[k]
        term = coef[k] * _power(g, m)
        upper += term * sinh(m * s)
        lower += term / g * (s if m == 1.0 else m / (m - 1.0) * sinh((m - 1.0) * s))
    return upper / lower if lower != 0.0 else 0.5 * (x + y)


@njit
def flow(rho: Any, v: Any, k: Any, a: Any, coef: Any, power: Any, shape: Any, out: Any, leave: Any, enter: Any) -> None:
    """Add the fluxes along one axis to `out`, and write their derivatives in the changes w = drho / a of pressures.

    For the flux from a cell to the next one see `measureflow.proximal.finite_volumes`. All arrays are flat.

    Parameters
    ----------
    rho, v, k : ndarray
        Densities, potential; conductances of the faces behind the cells.
    a : ndarray
        Inverse slopes of the pressure; empty if no derivatives are wanted.
    shape : tuple (outer, n, inner)
        The axis has n cells; the array is outer x n x inner.
    out : ndarray
        The sums of fluxes out of every cell.
    leave, enter : ndarray
        The flux from a cell to the next one changes by leave w - enter w' for changes w, w' in the two cells.
    """
    outer, n, inner = shape
    concave, bend = _concave(power), a.size > 0
    for o in range(outer):
        for i in range(n):
            after = i + 1 if i + 1 < n else 0
            for b in range(inner):
                p, q = (o * n + i) * inner + b, (o * n + after) * inner + b
                flux, dx, dy = 0.0, 0.0, 0.0
                if k[p] > 0.0 and concave:
                    flux, dx, dy = _central(rho[p], rho[q], v[p] - v[q], coef, power)
                elif k[p] > 0.0:
                    flux, dx, dy, _ = _lesser(rho[p], rho[q], v[p] - v[q], coef, power, bend)
                out[p] += k[p] * flux
                out[q] -= k[p] * flux
                if bend:
                    leave[p] = k[p] * (dx * a[p] + concave)
                    enter[p] = k[p] * (concave - dy * a[q])


@njit
def _concave(power: Any) -> bool:
    """Return whether there are powers below 1."""
    for j in range(power.size):
        if power[j] < 1.0:
            return True
    return False


@njit
def _lesser(x: float, y: float, dv: float, coef: Any, power: Any, bend: bool) -> Any:
    """Return the flux, its derivatives in x and y (if `bend`, all of them), and that in dv; for powers from 1 on.

    For a single power it is the midway flux P(x*) - P(y*), phi(x*) = phi(x) + dv / 2, phi(y*) = phi(y) - dv / 2 (0 where that is
    negative), at most 1 + min(1, 2 P' / |dv|) times the fitted one, P' upstream.
    """
    fitted = _fitted(x, y, dv, coef, power, bend)
    if coef.size != 1 or power[0] == 1.0 or max(x, y) < TINY:
        return fitted
    m, factor = power[0], coef[0] * power[0] / (power[0] - 1.0)
    h = 0.5 * dv / factor
    up, down = max(_power(x, m - 1.0) + h, 0.0), max(_power(y, m - 1.0) - h, 0.0)  # phi / factor halfway
    u, v = (up, down) if m == 2.0 else (up ** (1.0 / (m - 1.0)), down ** (1.0 / (m - 1.0)))
    midway = coef[0] * (up * u - down * v)
    flux, dx, dy, response = fitted
    safe, upstream = TINY * max(x, y), x if flux > 0.0 else y
    slope = coef[0] * m * _power(upstream, m - 1.0)
    times = 2.0 if 2.0 * slope >= abs(dv) else 1.0 + 2.0 * slope / abs(dv)
    if abs(midway) >= times * abs(flux):
        turn = 0.0 if times == 2.0 or upstream <= safe else flux * (times - 1.0) * (m - 1.0) / upstream
        return (
            times * flux,
            times * dx + (turn if flux > 0.0 else 0.0),
            times * dy + (turn if flux < 0.0 else 0.0),
            times * response,
        )
    dx = u * coef[0] * m * _power(max(x, safe), m - 1.0) / max(x, safe)
    dy = -v * coef[0] * m * _power(max(y, safe), m - 1.0) / max(y, safe)
    return midway, dx, dy, 0.5 * (u + v)


@njit
def _fitted(x: float, y: float, dv: float, coef: Any, power: Any, bend: bool) -> Any:
    """Return c (B(-z) x - B(z) y), its derivatives in x and y (all of them if `bend`), and that in dv; for powers from 1 on.

    c = min(P'(x), P'(y)) and z = (phi(x) - phi(y) + dv) / c - log(x / y).
    """
    low, high = min(x, y), max(x, y)
    vacuum, safe = high < TINY, max(low, TINY * high)
    rise = 0.0 if vacuum else log(high / safe)
    c, push, gap, turn = 0.0, 0.0, 0.0, 0.0
    for j in range(coef.size):
        m = power[j]
        if m == 1.0:
            c += coef[j]
        elif not vacuum:
            least, most = coef[j] * m * _power(safe, m - 1.0), coef[j] * m * _power(high, m - 1.0)
            c, gap, turn = c + least, gap + (most - least), turn + (m - 1.0) * least
            push += (most - least) / (m - 1.0) - least * rise
    forward, back, slope, both = _bernoulli(dv + push if x > y else dv - push, c)
    flux, ahead = forward * x - back * y, (1.0 + slope) * x - slope * y
    if not bend or vacuum:
        return flux, forward, -back, ahead
    steep = ahead * gap / high
    turn = (both * (high - low) - rise * ahead) * (turn / safe) if low == safe else 0.0
    if x > y:
        return flux, forward + steep, turn - back, ahead
    return flux, forward - turn, -back - steep, ahead


@njit
def _bernoulli(s: float, c: float) -> tuple[float, float, float, float]:
    """Return c B(-z), c B(z), B'(z) and B(z) B(-z) for z = s / c and B(z) = z / (exp(z) - 1); the limits for c = 0."""
    if abs(s) >= 700.0 * c:
        return max(s, 0.0), max(-s, 0.0), -1.0 if s < 0.0 else 0.0 if s > 0.0 else -0.5, 0.0
    z = s / c
    if abs(z) < NEAR:
        b = 1.0 - 0.5 * z + z * z / 12.0
        return c * b + s, c * b, -0.5 + z / 6.0, b * (b + z)
    b = abs(z) / expm1(abs(z))
    more, less = c * b + abs(s), c * b
    if s > 0.0:
        return more, less, b * (1.0 - b - z) / z, b * (b + z)
    return less, more, (b - z) * (1.0 - b) / z, b * (b - z)


@njit
def _central(x: float, y: float, dv: float, coef: Any, power: Any) -> Any:
    """Return P(x) - P(y) + M dv with the mean M, at most twice the density upstream, and its derivatives less P'(x), -P'(y)."""
    m, dp = mobility(x, y, coef, power), 0.0
    for k in range(coef.size):
        dp += coef[k] * (_power(x, power[k]) - _power(y, power[k]))
    flux = dp + m * dv
    up = x if flux > 0.0 else y
    if x <= 0.0 or y <= 0.0:
        if m <= 2.0 * up:
            return flux, (0.5 * dv if x > 0.0 else 0.0), (0.5 * dv if y > 0.0 else 0.0)
        slope = dp / m + dv  # nothing leaves an empty cell, but what is put there would
        if flux > 0.0:
            return 0.0, 2.0 * slope, y * _stiffness(y, coef, power)
        return 0.0, -x * _stiffness(x, coef, power), 2.0 * slope
    px, py = x * _stiffness(x, coef, power), y * _stiffness(y, coef, power)
    if m > 2.0 * up:
        slope = dp / m + dv
        if flux > 0.0:
            return 2.0 * x * slope, 2.0 * slope + px, py - 2.0 * x * py / y
        return 2.0 * y * slope, 2.0 * y * px / x - px, 2.0 * slope - py
    if abs(x - y) < NEAR * (x + y) or (coef.size == 1 and power[0] == 2.0):
        return flux, 0.5 * dv, 0.5 * dv
    jump = _variation(x, y, coef, power)
    if jump == 0.0:
        return flux, 0.5 * dv, 0.5 * dv
    return flux, px / x * (x - m) / jump * dv, py / y * (m - y) / jump * dv


@njit
def add_fluxes(w: Any, leave: Any, enter: Any, shape: Any, out: Any) -> None:
    """Add the sums of the fluxes leave_p w_p - enter_p w_q out of every cell p to its next one q along one axis."""
    outer, n, inner = shape
    for o in range(outer):
        for i in range(n):
            after = i + 1 if i + 1 < n else 0
            for b in range(inner):
                p, q = (o * n + i) * inner + b, (o * n + after) * inner + b
                flux = leave[p] * w[p] - enter[p] * w[q]
                out[p] += flux
                out[q] -= flux


@njit
def add(x: Any, share: float, y: Any) -> None:
    """Add share times y to x, both of one shape."""
    to, of = x.reshape(-1), y.reshape(-1)
    for i in range(to.size):
        to[i] += share * of[i]


@njit
def invert(order: Any, a: Any, share: float, leave: Any, enter: Any, shapes: Any, inverse: Any) -> None:
    """Write, for the cells in the order of a sweep, the inverse of the diagonal of share a + fluxes, 0 of nothing."""
    for t in range(order.size):
        p = order[t]
        diagonal = share * a[p]
        for d in range(leave.shape[0]):
            n, inner = shapes[d, 1], shapes[d, 2]
            diagonal += leave[d, p] + enter[d, p - inner if (p // inner) % n > 0 else p + (n - 1) * inner]
        inverse[t] = 1.0 / diagonal if diagonal > 0.0 else 0.0


@njit
def sweep(order: Any, inverse: Any, leave: Any, enter: Any, shapes: Any, f: Any, w: Any) -> None:
    """Relax share a w + fluxes(w) = f cell by cell in the order given, with what `invert` found."""
    for t in range(order.size):
        p = np.int64(order[t])
        total = f[p]
        for d in range(leave.shape[0]):
            n, inner = shapes[d, 1], shapes[d, 2]
            i = (p // inner) % n
            q, s = p + inner if i + 1 < n else p - (n - 1) * inner, p - inner if i > 0 else p + (n - 1) * inner
            total += enter[d, p] * w[q] + leave[d, s] * w[s]
        if inverse[t] > 0.0:
            w[p] = inverse[t] * total


@njit
def dissipation(rho: Any, v: Any, k: Any, still: bool, coef: Any, power: Any, shape: Any) -> float:
    """Return the sum over the faces along one axis of conductance times flux times the fall of the variation.

    Where all is `still`, the fluxes are the differences of pressures.
    """
    outer, n, inner = shape
    total, concave, low = 0.0, _concave(power), 1e-300
    for o in range(outer):
        for i in range(n):
            after = i + 1 if i + 1 < n else 0
            for b in range(inner):
                p, q = (o * n + i) * inner + b, (o * n + after) * inner + b
                x, y, flux = rho[p], rho[q], 0.0
                if k[p] == 0.0 or max(x, y) <= 0.0:
                    continue
                fall = v[p] - v[q] + _variation(max(x, low), max(y, low), coef, power)
                if still or concave:
                    flux = min(mobility(x, y, coef, power), 2.0 * (x if fall > 0.0 else y)) * fall
                else:
                    flux = _lesser(x, y, v[p] - v[q], coef, power, False)[0]
                total += max(k[p] * flux * fall, 0.0)
    return total


@njit
def responses(rho: Any, v: Any, k: Any, coef: Any, power: Any, shape: Any, out: Any) -> None:
    """Write k times the derivative of every face's flux along an axis in V(x) - V(y); arguments as in `flow`."""
    outer, n, inner = shape
    concave = _concave(power)
    for o in range(outer):
        for i in range(n):
            after = i + 1 if i + 1 < n else 0
            for b in range(inner):
                p, q = (o * n + i) * inner + b, (o * n + after) * inner + b
                x, y, dv = rho[p], rho[q], v[p] - v[q]
                if k[p] == 0.0:
                    out[p] = 0.0
                elif concave:
                    mean = mobility(x, y, coef, power)
                    out[p] = k[p] * min(mean, 2.0 * (x if _central(x, y, dv, coef, power)[0] > 0.0 else y))
                elif coef.size == 0 and dv == 0.0:
                    out[p] = k[p] * max(x, y)
                else:
                    out[p] = k[p] * _lesser(x, y, dv, coef, power, False)[3]
