"""Pressures and fluxes of the finite-volume scheme of `measureflow.proximal.finite_volumes`, term by term of the energy.

An internal energy is a sum over terms c_k, m_k: pressure c rho^m, variation c m/(m - 1) rho^(m-1), for m = 1 (the entropy)
pressure c rho, variation c log rho.
"""

from __future__ import annotations

from math import exp, expm1, log, sinh
from typing import Any

import numba

from measureflow._numba import njit

BLOCK = 4096
NEAR = 1e-3
FAR = 8.0


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
def _bernoulli(z: float) -> float:
    """Return z / (exp(z) - 1)."""
    if abs(z) < 1e-12:
        return 1.0 - 0.5 * z
    return 0.0 if z > 700.0 else z / expm1(z)


@njit
def upwinding(rho: Any, v: Any, k: Any, coef: Any, power: Any, shape: Any, out: Any) -> None:
    """Write the share of the upstream density in the mobility of every face along an axis: 1 - min(1, 2 D / |dV|).

    D is the slope of the pressure between the two cells: 0 wherever cells are small enough for the diffusion.
    """
    outer, n, inner = shape
    lowest = 2.0
    for j in range(coef.size):
        lowest = min(lowest, power[j])
    for o in range(outer):
        for i in range(n):
            after = i + 1 if i + 1 < n else 0
            for b in range(inner):
                p, q = (o * n + i) * inner + b, (o * n + after) * inner + b
                x, y, dv, slope = rho[p], rho[q], abs(v[p] - v[q]), 0.0
                out[p] = 0.0
                if k[p] == 0.0 or dv == 0.0 or lowest <= 1.0:
                    continue
                for j in range(coef.size):
                    if abs(x - y) > 1e-6 * (x + y):
                        slope += coef[j] * (_power(x, power[j]) - _power(y, power[j])) / (x - y)
                    elif x > 0.0:
                        slope += coef[j] * power[j] * _power(x, power[j]) / x
                out[p] = max(0.0, 1.0 - 2.0 * slope / dv)


@njit
def drift(rho: Any, v: Any, k: Any, upwind: Any, coef: Any, power: Any, shape: Any, out: Any, ahead: Any, behind: Any) -> None:
    """Add what a potential changes in the fluxes along one axis to `out`, and write their derivatives.

    The flux from a cell x to the next cell y is M (phi(x) + V(x) - phi(y) - V(y)); for M see
    `measureflow.proximal.finite_volumes`. All arrays are flat.

    Parameters
    ----------
    rho, v, k, upwind : ndarray
        Densities, potential; conductances and shares of `upwinding` of the faces behind the cells.
    shape : tuple (outer, n, inner)
        The axis has n cells; the array is outer x n x inner.
    out : ndarray
        The sums of fluxes out of every cell, less those of the pressure alone.
    ahead, behind : ndarray
        Derivatives of that part of the flux in the density of the cell and of the next one.
    """
    outer, n, inner = shape
    for o in range(outer):
        for i in range(n):
            after = i + 1 if i + 1 < n else 0
            for b in range(inner):
                p, q = (o * n + i) * inner + b, (o * n + after) * inner + b
                ahead[p], behind[p] = 0.0, 0.0
                x, y, dv = rho[p], rho[q], v[p] - v[q]
                if k[p] == 0.0 or dv == 0.0:
                    continue
                if coef.size == 0:
                    flux, dx, dy = (x * dv, dv, 0.0) if dv > 0.0 else (y * dv, 0.0, dv)
                elif coef.size == 1 and power[0] == 1.0:
                    dx = coef[0] * (_bernoulli(-dv / coef[0]) - 1.0)
                    dy = coef[0] * (1.0 - _bernoulli(dv / coef[0]))
                    flux = dx * x + dy * y
                else:
                    flux, dx, dy = _central(x, y, dv, coef, power)
                    if upwind[p] > 0.0:
                        other, ox, oy = _upstream(x, y, dv, coef, power)
                        g = upwind[p]
                        flux, dx, dy = flux + g * (other - flux), dx + g * (ox - dx), dy + g * (oy - dy)
                out[p] += k[p] * flux
                out[q] -= k[p] * flux
                ahead[p], behind[p] = k[p] * dx, k[p] * dy


@njit
def _central(x: float, y: float, dv: float, coef: Any, power: Any) -> Any:
    """Return the flux with the mean, at most twice the density upstream, less P(x) - P(y), and the derivatives of this."""
    m, dp = mobility(x, y, coef, power), 0.0
    for k in range(coef.size):
        dp += coef[k] * (_power(x, power[k]) - _power(y, power[k]))
    flux = dp + m * dv
    up = x if flux > 0.0 else y
    if x <= 0.0 or y <= 0.0:
        if m <= 2.0 * up:
            return m * dv, (0.5 * dv if x > 0.0 else 0.0), (0.5 * dv if y > 0.0 else 0.0)
        slope = dp / m + dv  # nothing leaves an empty cell, but what is put there would
        if flux > 0.0:
            return -dp, 2.0 * slope, y * _stiffness(y, coef, power)
        return -dp, -x * _stiffness(x, coef, power), 2.0 * slope
    px, py = x * _stiffness(x, coef, power), y * _stiffness(y, coef, power)
    if m > 2.0 * up:
        slope = dp / m + dv
        if flux > 0.0:
            return 2.0 * x * slope - dp, 2.0 * slope + px, py - 2.0 * x * py / y
        return 2.0 * y * slope - dp, 2.0 * y * px / x - px, 2.0 * slope - py
    if abs(x - y) < NEAR * (x + y) or (coef.size == 1 and power[0] == 2.0):
        return m * dv, 0.5 * dv, 0.5 * dv
    jump = _variation(x, y, coef, power)
    if jump == 0.0:
        return m * dv, 0.5 * dv, 0.5 * dv
    return m * dv, px / x * (x - m) / jump * dv, py / y * (m - y) / jump * dv


@njit
def _upstream(x: float, y: float, dv: float, coef: Any, power: Any) -> Any:
    """Return the flux with the density upstream, less P(x) - P(y), and the derivatives; for powers above 1."""
    dp, fall = 0.0, dv
    for k in range(coef.size):
        m = power[k]
        dp += coef[k] * (_power(x, m) - _power(y, m))
        fall += coef[k] * m / (m - 1.0) * ((x ** (m - 1.0) if x > 0.0 else 0.0) - (y ** (m - 1.0) if y > 0.0 else 0.0))
    low = 1e-10 * max(x, y)
    if low == 0.0:
        return 0.0, max(dv, 0.0), min(dv, 0.0)
    sx, sy = _stiffness(max(x, low), coef, power), _stiffness(max(y, low), coef, power)
    if fall > 0.0:
        return x * fall - dp, fall, (y - x) * sy
    return y * fall - dp, (y - x) * sx, fall


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
def gather(order: Any, a: Any, leave: Any, enter: Any, shapes: Any, near: Any, weights: Any, inverse: Any) -> None:
    """Write, for the cells in the order of a sweep, their neighbours and weights (cells, 2 axes) and inverse diagonals."""
    for t in range(order.size):
        p = order[t]
        diagonal = a[p]
        for d in range(leave.shape[0]):
            n, inner = shapes[d, 1], shapes[d, 2]
            i = (p // inner) % n
            q = p + inner if i + 1 < n else p - (n - 1) * inner
            s = p - inner if i > 0 else p + (n - 1) * inner
            diagonal += leave[d, p] + enter[d, s]
            near[t, 2 * d], near[t, 2 * d + 1] = q, s
            weights[t, 2 * d], weights[t, 2 * d + 1] = enter[d, p], leave[d, s]
        inverse[t] = 1.0 / diagonal if diagonal > 0.0 else 0.0


@njit
def sweep(order: Any, near: Any, weights: Any, inverse: Any, f: Any, w: Any) -> None:
    """Relax a w + fluxes(w) = f cell by cell in the order given, with what `gather` found."""
    for t in range(order.size):
        total = f[order[t]]
        for k in range(near.shape[1]):
            total += weights[t, k] * w[near[t, k]]
        if inverse[t] > 0.0:
            w[order[t]] = inverse[t] * total


@njit
def dissipation(rho: Any, v: Any, k: Any, coef: Any, power: Any, shape: Any) -> float:
    """Return the sum over the faces along one axis of conductance times flux times the fall of the variation."""
    outer, n, inner = shape
    total = 0.0
    for o in range(outer):
        for i in range(n):
            after = i + 1 if i + 1 < n else 0
            for b in range(inner):
                p, q = (o * n + i) * inner + b, (o * n + after) * inner + b
                x, y = rho[p], rho[q]
                if k[p] == 0.0 or max(x, y) <= 0.0:
                    continue
                low = 1e-300
                fall = v[p] - v[q] + _variation(max(x, low), max(y, low), coef, power)
                m = min(mobility(x, y, coef, power), 2.0 * (x if fall > 0.0 else y))
                if coef.size == 0:
                    m = x if fall > 0.0 else y
                total += k[p] * m * fall * fall
    return total


@njit
def responses(rho: Any, v: Any, k: Any, upwind: Any, coef: Any, power: Any, shape: Any, out: Any) -> None:
    """Write k times the derivative of every face's flux along an axis in V(x) - V(y): its mobility; arguments as in `drift`."""
    outer, n, inner = shape
    for o in range(outer):
        for i in range(n):
            after = i + 1 if i + 1 < n else 0
            for b in range(inner):
                p, q = (o * n + i) * inner + b, (o * n + after) * inner + b
                x, y, dv = rho[p], rho[q], v[p] - v[q]
                if k[p] == 0.0:
                    out[p] = 0.0
                elif coef.size == 0:
                    out[p] = k[p] * (max(x, y) if dv == 0.0 else x if dv > 0.0 else y)
                elif coef.size == 1 and power[0] == 1.0:
                    z = dv / coef[0]
                    out[p] = -k[p] * (_bernoulli_slope(-z) * x + _bernoulli_slope(z) * y)
                else:
                    out[p] = k[p] * _response(x, y, dv, upwind[p], coef, power)


@njit
def _bernoulli_slope(z: float) -> float:
    """Return the derivative of z / (exp(z) - 1)."""
    if abs(z) < 1e-3:
        return -0.5 + z / 6.0
    if z > 700.0:
        return 0.0
    e = expm1(z)
    return (e - z * (e + 1.0)) / (e * e)


@njit
def _response(x: float, y: float, dv: float, share: float, coef: Any, power: Any) -> float:
    """Return the mobility of a face: the mean, at most twice the density upstream, and a share of the density upstream."""
    mean, dp, fall = mobility(x, y, coef, power), 0.0, dv
    for k in range(coef.size):
        dp += coef[k] * (_power(x, power[k]) - _power(y, power[k]))
    up = x if dp + mean * dv > 0.0 else y
    if share == 0.0:
        return min(mean, 2.0 * up)
    for k in range(coef.size):
        m = power[k]
        fall += coef[k] * m / (m - 1.0) * ((x ** (m - 1.0) if x > 0.0 else 0.0) - (y ** (m - 1.0) if y > 0.0 else 0.0))
    return (1.0 - share) * min(mean, 2.0 * up) + share * (x if fall > 0.0 else y)
