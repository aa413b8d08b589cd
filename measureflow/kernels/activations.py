"""Activations of networks and their derivatives, in place, for use inside other kernels.

Derivatives are taken from the activation t = act(z) itself, so that z need not be kept:
act' = 1 - t^2 for tanh, 1 where t > 0 for relu (0 at 0), 1 - exp(-t) for softplus. The second derivative is
act'' = act' times -2 t for tanh, 0 for relu, exp(-t) for softplus. NaN stays NaN.

A tanh is one long chain of operations, each of which waits for the one before. So four vectors of them are taken together,
operation by operation; a loop that the compiler makes vectors of goes through the chains one after another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

from measureflow._numba import njit
from measureflow.kernels.elementary import (
    EXPM1_32,
    EXPM1_64,
    LN2_HIGH,
    LN2_HIGH_32,
    LN2_LOW,
    LN2_LOW_32,
    LOG2E,
    LOG2E_32,
    ROUND,
    ROUND_32,
    TANH_HIGH_32,
    exp32,
    exp64,
    expm1_negative32,
    expm1_negative64,
    select_less,
    softplus32,
    softplus64,
    tanh32,
    tanh64,
)
from measureflow.kernels.product import VECTOR, columns_of, keep_apart

TANH, RELU, SOFTPLUS = 0, 1, 2
ACTIVATIONS = ("tanh", "relu", "softplus")


def tanh(z: Any) -> Any:
    """Hyperbolic tangent of the dtype of z."""
    raise NotImplementedError("compiled code only")


def softplus(z: Any) -> Any:
    """Return log(1 + exp(z)) of the dtype of z."""
    raise NotImplementedError("compiled code only")


def exp_negative(t: Any) -> Any:
    """Return exp(-t) of the dtype of t."""
    raise NotImplementedError("compiled code only")


def rise(t: Any) -> Any:
    """Return 1 - exp(-t) for t >= 0 of the dtype of t, accurate near 0."""
    raise NotImplementedError("compiled code only")


@overload(tanh)
def _tanh(z: Any) -> Callable[..., Any]:
    def single(z: Any) -> Any:
        return tanh32(z)

    def double(z: Any) -> Any:
        return tanh64(z)

    return single if z == types.float32 else double


@overload(softplus)
def _softplus(z: Any) -> Callable[..., Any]:
    def single(z: Any) -> Any:
        return softplus32(z)

    def double(z: Any) -> Any:
        return softplus64(z)

    return single if z == types.float32 else double


@overload(exp_negative)
def _exp_negative(t: Any) -> Callable[..., Any]:
    def single(t: Any) -> Any:
        return exp32(-t)

    def double(t: Any) -> Any:
        return exp64(-t)

    return single if t == types.float32 else double


@overload(rise)
def _rise(t: Any) -> Callable[..., Any]:
    high = types.float32.cast_python_value(80.0) if t == types.float32 else 700.0

    def single(t: Any) -> Any:
        return -expm1_negative32(-select_less(high, t, high, t))

    def double(t: Any) -> Any:
        return -expm1_negative64(-select_less(high, t, high, t))

    return single if t == types.float32 else double


class _Vectors:
    """Operations on lists of vectors, each operation for all vectors before the next; an argument may also be a number."""

    def __init__(self, builder: Any, single: bool) -> None:
        self.builder, self.bits = builder, 32 if single else 64
        self.lanes = 8 * VECTOR // self.bits
        self.kind = ir.VectorType(ir.FloatType() if single else ir.DoubleType(), self.lanes)
        self.integers = ir.VectorType(ir.IntType(self.bits), self.lanes)
        self.suffix = f".v{self.lanes}f{self.bits}"

    def constant(self, number: float) -> Any:
        """Return a vector of equal numbers."""
        return ir.Constant(self.kind, [float(number)] * self.lanes)

    def each(self, operation: Callable[..., Any], *args: Any) -> list[Any]:
        """Apply an operation of single vectors to each."""
        count = max(len(x) for x in args if isinstance(x, list))
        columns = (x if isinstance(x, list) else [self.constant(x)] * count for x in args)
        return [operation(*column) for column in zip(*columns, strict=True)]

    def call(self, name: str, *args: Any) -> list[Any]:
        """Call a function of LLVM."""
        name += f".v{self.lanes}f{self.bits}"
        kind = ir.FunctionType(self.kind, [self.kind] * len(args))
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.each(lambda *column: self.builder.call(function, column), *args)

    def fma(self, x: Any, y: Any, z: Any) -> list[Any]:
        """Return x y + z with one rounding."""
        return self.call("llvm.fma", x, y, z)

    def power(self, t: Any) -> list[Any]:
        """Return the numbers whose exponent fields are the low bits of t."""
        shift = ir.Constant(self.integers, [23 if self.bits == 32 else 52] * self.lanes)
        return [self.builder.bitcast(self.builder.shl(self.builder.bitcast(x, self.integers), shift), self.kind) for x in t]

    def tanh(self, x: Any) -> list[Any]:
        """Return the hyperbolic tangents by the steps of `elementary.tanh32` and `tanh64`: the same bits."""
        single, b = self.bits == 32, self.builder
        high, log2e, shift = (TANH_HIGH_32, LOG2E_32, ROUND_32) if single else (20.0, LOG2E, ROUND)
        ln2, rest, terms = (LN2_HIGH_32, LN2_LOW_32, EXPM1_32) if single else (LN2_HIGH, LN2_LOW, EXPM1_64)
        a = self.each(lambda c, y: b.select(b.fcmp_ordered("<", c, y), c, y), high, self.call("llvm.fabs", x))
        z = self.each(b.fmul, -2.0, a)
        t = self.fma(z, log2e, shift)
        down = self.each(b.fsub, shift, t)
        r = self.fma(down, rest, self.fma(down, ln2, z))
        power, total = self.power(t), self.fma(r, terms[0], terms[1])
        for term in terms[2:]:
            total = self.fma(total, r, term)
        e = self.fma(power, total, self.each(b.fadd, power, -1.0))
        return self.call("llvm.copysign", self.each(b.fdiv, e, self.each(b.fadd, e, 2.0)), x)


@intrinsic
def _tanh_strip(typing: Any, z: Any, z0: Any, pitch: Any, bias: Any, b0: Any) -> Any:
    """Put tanh(z + bias) in place of two vectors of each of two rows, at z0 and z0 + pitch."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        over = _Vectors(builder, z.dtype == types.float32)
        data, shifts = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 3))

        def pointers(base: Any, start: Any) -> Any:
            starts = start, builder.add(start, ir.Constant(ir.IntType(64), over.lanes))
            return [builder.bitcast(builder.gep(base, [at]), over.kind.as_pointer()) for at in starts]

        places = pointers(data, args[1]) + pointers(data, builder.add(args[1], args[2]))
        shift = [builder.load(p, align=over.bits // 8) for p in pointers(shifts, args[4])]
        sums = over.each(builder.fadd, [builder.load(p, align=over.bits // 8) for p in places], shift * 2)
        for value, place in zip(over.tanh(sums), places, strict=True):
            builder.store(value, place, align=over.bits // 8)
        return context.get_dummy_value()

    return types.void(z, types.int64, types.int64, bias, types.int64), codegen


@njit
def _activate_tanh(z: Any, bias: Any, rows: int, n: int) -> None:
    """Put tanh(z + bias) in place of z; see `activate`."""
    keep_apart()
    pitch, lanes, whole = z.shape[1], columns_of(z), 0
    if pitch % lanes == 0:
        whole, flat = rows - rows % 2, z.reshape(z.size)
        for r in range(0, whole, 2):
            for j in range(0, n, lanes):
                _tanh_strip(flat, r * pitch + j, pitch, bias, j)
    for r in range(whole, rows):
        for j in range(n):
            z[r, j] = tanh(z[r, j] + bias[j])


@njit
def activate(z: Any, bias: Any, rows: int, n: int, code: int) -> None:
    """Put act(z + bias) in place of z, a matrix of which `rows` rows and `n` columns are used, and its padding."""
    keep_apart()
    zero = z.dtype.type(0)
    if code == TANH:
        _activate_tanh(z, bias, rows, n)
    elif code == RELU:
        for r in range(rows):
            for j in range(n):
                s = z[r, j] + bias[j]
                z[r, j] = zero if s <= zero else s
    else:
        for r in range(rows):
            for j in range(n):
                z[r, j] = softplus(z[r, j] + bias[j])


@njit
def times_slope(factors: Any, t: Any, code: int) -> None:
    """Multiply `factors` by act', entry by entry; both flat, padding and all."""
    keep_apart()
    zero, one = t.dtype.type(0), t.dtype.type(1)
    if code == TANH:
        for j in range(t.size):
            factors[j] *= one - t[j] * t[j]
    elif code == RELU:
        for j in range(t.size):
            factors[j] *= one if t[j] > zero else t[j]
    else:
        for j in range(t.size):
            factors[j] *= rise(t[j])


@njit
def bend(tangents: Any, back: Any, delta: Any, t: Any, code: int) -> None:
    """From tangents dz of z and delta = alpha act': back = alpha act'' dz, and tangents = act' dz; all flat."""
    keep_apart()
    zero, one, two = t.dtype.type(0), t.dtype.type(1), t.dtype.type(2)
    if code == TANH:
        for j in range(t.size):
            s, z = t[j], tangents[j]
            back[j] = -two * (delta[j] * s * z)
            tangents[j] = (one - s * s) * z
    elif code == RELU:
        for j in range(t.size):
            s = one if t[j] > zero else t[j]
            back[j] = zero
            tangents[j] *= s
    else:
        for j in range(t.size):
            s, z = t[j], tangents[j]
            back[j] = delta[j] * exp_negative(s) * z
            tangents[j] = rise(s) * z


@njit
def add_times_slope(back: Any, more: Any, t: Any, code: int) -> None:
    """Add `more` times act' to `back`, entry by entry; all flat."""
    times_slope(more, t, code)
    for j in range(t.size):
        back[j] += more[j]
