"""Exponential, tanh, sigmoid and softplus that LLVM can vectorise, for use inside other kernels.

The published builds of numba have no vector library, so `math.exp` and `math.tanh` are calls that stop a loop from
being vectorised. Here each is a range reduction, a polynomial and a shift of bits: straight-line code, inlined into the
caller. Every operation whose order matters is a fused multiply-add or carries flags of its own, so that the fast-math
flags of the caller cannot reassociate it; a value does not depend on its place in a vector loop. There are no branches:
numba's inliner warns about those when a function is inlined twice.

NaN gives NaN everywhere. Where exp would fall below the least normal number (3e-308, 2e-38) it is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from measureflow._numba import njit

# Minimax polynomials on |r| <= ln(2)/2, highest power first. Those of exp are doubled: 2 exp(r) 2^(k - 1) reaches the
# largest number without overflow on the way. EXP2 is 2^(-r) on |r| <= 1/2.
EXP_64 = (
    5.000011851210569e-08,
    5.526049675948488e-07,
    5.511517276076485e-06,
    4.960298619785836e-05,
    0.0003968253901314266,
    0.00277777778872601,
    0.01666666666698893,
    0.08333333333306032,
    0.33333333333332826,
    1.0000000000000022,
    2.0,
    2.0,
)
EXPM1_64 = (
    2.5161373806821606e-08,
    2.762823086576421e-07,
    2.75571168701687e-06,
    2.480149975190274e-05,
    0.00019841269986949978,
    0.0013888888936179986,
    0.00833333333329321,
    0.041666666666562414,
    0.16666666666666696,
    0.5000000000000007,
    1.0,
    0.0,
)
EXP2_64 = (
    7.111785964116794e-09,
    -1.021051991274778e-07,
    1.3215235405183164e-06,
    -1.5252647676217968e-05,
    0.00015403530801368401,
    -0.0013333558246605493,
    0.009618129107380267,
    -0.0555041086643458,
    0.24022650695910472,
    -0.6931471805599516,
    1.0,
)
LOG1P_64 = (  # (atanh(s) / s - 1) / s^2 in powers of s^2 <= 1/9
    0.08874421936779528,
    0.04949155591071375,
    0.06793622569633134,
    0.07682096107980307,
    0.09091410361609718,
    0.11111096327572109,
    0.14285714531588073,
    0.19999999997998855,
    0.3333333333333894,
)
LOG2E = 1.4426950408889634
LN2_HIGH = 0.693147180369123816490  # the last bits are 0, so that k * LN2_HIGH is exact
LN2_LOW = 1.90821492927058770002e-10
# Adding 1.5 * 2^52 rounds to an integer, kept in the low bits; with 1023 more these are the exponent field of 2^k.
ROUND = 6755399441055744.0 + 1023.0
ROUND_HALF = 6755399441055744.0 + 1022.0  # for 2^(k - 1)

f32 = np.float32
EXP_32 = tuple(
    map(f32, (2.762919705520e-3, 1.67374337553962e-2, 8.33367760924124e-2, 0.33333041263496594, 0.99999986895609, 2, 2))
)
EXPM1_32 = tuple(
    map(f32, (1.9962173674e-4, 1.39432093194e-3, 8.333219997784e-3, 4.166632698357e-2, 0.1666666690249958, 0.5, 1, 0))
)
EXP2_32 = tuple(map(f32, (1.5594754e-4, -1.34066745e-3, 9.617692622e-3, -5.55031046691e-2, 0.2402265278, -0.693147215, 1)))
LOG1P_32 = tuple(map(f32, (0.14012229984132535, 0.13999570428400138, 0.20010849535277442, 0.33333206566315665)))
LOG2E_32 = f32(LOG2E)
LN2_HIGH_32 = f32(0.693359375)
LN2_LOW_32 = f32(-2.12194440e-4)
ROUND_32, ROUND_HALF_32 = f32(12582912.0 + 127.0), f32(12582912.0 + 126.0)  # 1.5 * 2^23, as above
ZERO_32, ONE_32, TWO_32 = f32(0.0), f32(1.0), f32(2.0)
EXP_LOW_32, EXP_HIGH_32, TANH_HIGH_32, EXP2_REACH_32 = f32(-87.2), f32(88.8), f32(10.0), f32(127.0)


@intrinsic
def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """Return x * y + z with one rounding (all three of one floating type)."""
    if not (isinstance(x, types.Float) and x == y == z):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return x(x, x, x), codegen


@intrinsic
def polynomial(typingctx: Any, x: Any, coefficients: Any) -> Any:
    """Evaluate a polynomial in x by Horner's rule; coefficients: a tuple of the type of x, highest power first."""
    if not (isinstance(coefficients, types.UniTuple) and coefficients.dtype == x):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        point, packed = args
        total = builder.extract_value(packed, 0)
        for k in range(1, coefficients.count):
            total = builder.fma(total, point, builder.extract_value(packed, k))
        return total

    return x(x, coefficients), codegen


@intrinsic
def add_exact(typingctx: Any, x: Any, y: Any) -> Any:
    """Return x + y, never reassociated with what comes before or after."""
    if not (isinstance(x, types.Float) and x == y):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args, flags=("nsz",))

    return x(x, x), codegen


@intrinsic
def divide_exact(typingctx: Any, x: Any, y: Any) -> Any:
    """Return x / y, never through an approximate reciprocal."""
    if not (isinstance(x, types.Float) and x == y):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fdiv(*args, flags=("nsz",))

    return x(x, x), codegen


@intrinsic
def low_bits_to_exponent(typingctx: Any, x: Any) -> Any:
    """Return the number whose exponent field is the low bits of x (its sign and mantissa are zero)."""
    if x not in (types.float64, types.float32):
        return None
    width, mantissa = (64, 52) if x == types.float64 else (32, 23)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integer = ir.IntType(width)
        shifted = builder.shl(builder.bitcast(args[0], integer), ir.Constant(integer, mantissa))
        return builder.bitcast(shifted, args[0].type)

    return x(x), codegen


@intrinsic
def select_less(typingctx: Any, x: Any, y: Any, yes: Any, no: Any) -> Any:
    """Return yes if x < y, else no (also where x or y is NaN), without a branch."""
    if not (isinstance(x, types.Float) and x == y == yes == no):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args[:2]), *args[2:])

    return x(x, x, x, x), codegen


@intrinsic
def copysign(typingctx: Any, x: Any, y: Any) -> Any:
    """Return |x| with the sign of y."""
    if not (isinstance(x, types.Float) and x == y):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        function = builder.module.declare_intrinsic("llvm.copysign", [kind], ir.FunctionType(kind, [kind, kind]))
        return builder.call(function, args)

    return x(x, x), codegen


@njit(inline=True)
def exp64(x: float) -> float:
    """exp(x) in float64: relative error below 2e-16, 0 below -708.04, inf above 709.78."""
    z = select_less(x, -708.3, -708.3, x)
    z = select_less(710.0, z, 710.0, z)
    t = fma(z, LOG2E, ROUND_HALF)
    k = add_exact(t, -ROUND_HALF)
    r = fma(-k, LN2_LOW, fma(-k, LN2_HIGH, z))
    return polynomial(r, EXP_64) * low_bits_to_exponent(t)


@njit(inline=True)
def exp32(x: float) -> float:
    """exp(x) in float32: relative error below 1e-7, 0 below -86.98, inf above 88.72."""
    z = select_less(x, EXP_LOW_32, EXP_LOW_32, x)
    z = select_less(EXP_HIGH_32, z, EXP_HIGH_32, z)
    t = fma(z, LOG2E_32, ROUND_HALF_32)
    k = add_exact(t, -ROUND_HALF_32)
    r = fma(-k, LN2_LOW_32, fma(-k, LN2_HIGH_32, z))
    return polynomial(r, EXP_32) * low_bits_to_exponent(t)


@njit(inline=True)
def exp2_negative64(x: float) -> float:
    """2^(-x) in float64 for x >= 0: relative error below 4e-16, 0 above 1022.5."""
    z = select_less(1023.0, x, 1023.0, x)
    t = add_exact(ROUND, -z)
    return polynomial(add_exact(z, add_exact(t, -ROUND)), EXP2_64) * low_bits_to_exponent(t)


@njit(inline=True)
def exp2_negative32(x: float) -> float:
    """2^(-x) in float32 for x >= 0: relative error below 2e-7, 0 above 126.5."""
    z = select_less(EXP2_REACH_32, x, EXP2_REACH_32, x)
    t = add_exact(ROUND_32, -z)
    return polynomial(add_exact(z, add_exact(t, -ROUND_32)), EXP2_32) * low_bits_to_exponent(t)


@njit(inline=True)
def expm1_negative64(z: float) -> float:
    """exp(z) - 1 in float64 for -700 <= z <= 0, accurate near 0."""
    t = fma(z, LOG2E, ROUND)
    k = add_exact(t, -ROUND)
    r = fma(-k, LN2_LOW, fma(-k, LN2_HIGH, z))
    power = low_bits_to_exponent(t)
    return fma(power, polynomial(r, EXPM1_64), add_exact(power, -1.0))


@njit(inline=True)
def expm1_negative32(z: float) -> float:
    """exp(z) - 1 in float32 for -80 <= z <= 0, accurate near 0."""
    t = fma(z, LOG2E_32, ROUND_32)
    k = add_exact(t, -ROUND_32)
    r = fma(-k, LN2_LOW_32, fma(-k, LN2_HIGH_32, z))
    power = low_bits_to_exponent(t)
    return fma(power, polynomial(r, EXPM1_32), add_exact(power, -ONE_32))


@njit(inline=True)
def tanh64(x: float) -> float:
    """tanh(x) in float64: relative error below 6e-16, odd to the last bit.

    With e = expm1(-2 |x|) it is -e / (2 + e), which is accurate for small x as well.
    """
    a = abs(x)
    e = expm1_negative64(-2.0 * select_less(20.0, a, 20.0, a))
    return copysign(divide_exact(e, add_exact(e, 2.0)), x)


@njit(inline=True)
def tanh32(x: float) -> float:
    """tanh(x) in float32: relative error below 3e-7, odd to the last bit."""
    a = abs(x)
    e = expm1_negative32(-TWO_32 * select_less(TANH_HIGH_32, a, TANH_HIGH_32, a))
    return copysign(divide_exact(e, add_exact(e, TWO_32)), x)


@njit(inline=True)
def sigmoid64(x: float) -> float:
    """1 / (1 + exp(-x)) in float64: relative error below 1e-15 above -708; both tails are accurate."""
    e = exp64(-abs(x))
    return divide_exact(select_less(x, 0.0, e, 1.0), add_exact(e, 1.0))


@njit(inline=True)
def sigmoid32(x: float) -> float:
    """1 / (1 + exp(-x)) in float32: relative error below 5e-7 above -86; both tails are accurate."""
    e = exp32(-abs(x))
    return divide_exact(select_less(x, ZERO_32, e, ONE_32), add_exact(e, ONE_32))


@njit(inline=True)
def softplus64(x: float) -> float:
    """log(1 + exp(x)) in float64: relative error below 1e-15 above -708.

    It is max(x, 0) + log1p(e), e = exp(-|x|), and log1p(e) = 2 atanh(s) with s = e / (2 + e) <= 1/3.
    """
    e = exp64(-abs(x))
    s = divide_exact(e, add_exact(e, 2.0))
    v = s * s
    log1p = 2.0 * fma(s * v, polynomial(v, LOG1P_64), s)
    return add_exact(select_less(x, 0.0, 0.0, x), log1p)


@njit(inline=True)
def softplus32(x: float) -> float:
    """log(1 + exp(x)) in float32: relative error below 5e-7 above -86."""
    e = exp32(-abs(x))
    s = divide_exact(e, add_exact(e, TWO_32))
    v = s * s
    log1p = TWO_32 * fma(s * v, polynomial(v, LOG1P_32), s)
    return add_exact(select_less(x, ZERO_32, ZERO_32, x), log1p)
