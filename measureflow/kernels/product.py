"""Products of small matrices in compiled code, with the same bits for every shape of the rest.

Each entry of the product is one chain of fused multiply-adds in the order of the inner index. So its bits do not depend
on how the rows are cut into blocks, on the tiles below or on threads, and there is no library whose threads would have
to be held. A tile of the product, a few rows by two vectors of columns, stays in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from measureflow._numba import njit

VECTOR = 32  # bytes of a vector register
MAIN = 6  # rows of a tile: 12 sums, two vectors of b and one of a fill the 16 registers of AVX2
LESS = 4  # rows of a tile that still keeps two units of multiply-adds busy: 8 sums, a latency of 4
STRIP = 64  # bytes of a row of a tile: two vectors

# Constants of these types are not literals to numba, which would compile a function apart for each.
YES, NO, ZERO, ONE = np.bool_(True), np.bool_(False), np.int64(0), np.int64(1)


@intrinsic
def keep_apart(typingctx: Any) -> Any:
    """Mark the calling function as one that is not copied into its callers: less to compile."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


def _tile(rows: int) -> Any:
    """Return the function that fills a tile of `rows` rows; see `product` for the arguments."""

    @intrinsic
    def fill(
        typing: Any,
        a: Any,
        a0: Any,
        down: Any,
        along: Any,
        b: Any,
        b0: Any,
        under: Any,
        c: Any,
        c0: Any,
        width: Any,
        k: Any,
        add: Any,
    ) -> Any:
        """c[c0 + i width + j] (+)= sum over l < k of a[a0 + i down + l along] b[b0 + l under + j]."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = context.get_data_type(a.dtype)
            size = 4 if a.dtype == types.float32 else 8
            vector, lanes = ir.VectorType(kind, VECTOR // size), VECTOR // size
            integer = ir.IntType(64)
            left, right, out = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 4, 7))

            def at(base: Any, offset: Any) -> Any:
                return builder.gep(base, [offset])

            def lane_pointer(base: Any, offset: Any, half: int) -> Any:
                return builder.bitcast(at(base, builder.add(offset, ir.Constant(integer, half * lanes))), vector.as_pointer())

            starts = [builder.add(args[8], builder.mul(ir.Constant(integer, i), args[9])) for i in range(rows)]
            lefts = [builder.add(args[1], builder.mul(ir.Constant(integer, i), args[2])) for i in range(rows)]
            sums = [[cgutils.alloca_once(builder, vector) for _ in range(2)] for _ in range(rows)]
            zero = ir.Constant(vector, [0.0] * lanes)
            fused = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f{8 * size}"
            )
            with builder.if_else(args[11]) as (then, otherwise):
                with then:
                    for i in range(rows):
                        for half in range(2):
                            builder.store(builder.load(lane_pointer(out, starts[i], half), align=size), sums[i][half])
                with otherwise:
                    for i in range(rows):
                        for half in range(2):
                            builder.store(zero, sums[i][half])
            lane = ir.IntType(32)
            spread = ir.Constant(ir.VectorType(lane, lanes), [0] * lanes)
            with cgutils.for_range(builder, args[10], intp=integer) as loop:
                strip_row = builder.add(args[5], builder.mul(loop.index, args[6]))
                pair = [builder.load(lane_pointer(right, strip_row, half), align=size) for half in range(2)]
                step = builder.mul(loop.index, args[3])
                for i in range(rows):
                    scalar = builder.load(at(left, builder.add(lefts[i], step)))
                    single = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(lane, 0))
                    many = builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), spread)
                    for half in range(2):
                        builder.store(builder.call(fused, [many, pair[half], builder.load(sums[i][half])]), sums[i][half])
            for i in range(rows):
                for half in range(2):
                    builder.store(builder.load(sums[i][half]), lane_pointer(out, starts[i], half), align=size)
            return context.get_dummy_value()

        return types.void(a, *(types.int64,) * 3, b, *(types.int64,) * 2, c, *(types.int64,) * 3, types.boolean), codegen

    return fill


_main, _less, _one = _tile(MAIN), _tile(LESS), _tile(1)


@njit
def product(
    a: Any, a0: int, down: int, along: int, b: Any, b0: int, under: int, c: Any, c0: int, width: int, m: int, k: int, add: bool
) -> None:
    """One tile's width of columns of the product of flat arrays.

    c[c0 + i width + j] (+)= sum over l < k of a[a0 + i down + l along] b[b0 + l under + j] for i < m and j < columns_of(c).
    """
    keep_apart()
    i = 0
    while i + MAIN <= m and m - i != 2 * LESS:
        _main(a, a0 + i * down, down, along, b, b0, under, c, c0 + i * width, width, k, add)
        i += MAIN
    while i + LESS <= m:
        _less(a, a0 + i * down, down, along, b, b0, under, c, c0 + i * width, width, k, add)
        i += LESS
    while i < m:
        _one(a, a0 + i * down, down, along, b, b0, under, c, c0 + i * width, width, k, add)
        i += 1


@njit
def columns_of(strip: Any) -> int:
    """Columns of a strip: 16 in float32, 8 in float64."""
    return STRIP // strip.itemsize
