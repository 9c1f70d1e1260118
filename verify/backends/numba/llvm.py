"""LLVM intrinsics that Numba does not expose: the bits of floats, whole vectors at once, and the width of vectors.

Everything is portable LLVM: on processors without an instruction for compressed stores or expanded loads, LLVM writes
the loop. Each function states what it does as one line of Python, and is tested against that line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernelproof.verify.backends._arrays.core import Array

BYTES = 64  # of a block
SLACK = 64  # numbers that a packed array needs beyond those it holds
_WHOLE: dict[int, Any] = {32: types.int32, 64: types.int64}
_FRACTION, _HALF_ROOT = {32: 23, 64: 52}, {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}  # bits of √½


# ruff: noqa: ARG001 - Numba matches the arguments of an intrinsic by name and passes all of their types.


def _bits(context: Any, builder: Any, value: Any, kind: Any) -> Any:
    return builder.bitcast(value, context.get_value_type(_WHOLE[kind.bitwidth]))


def _wide(_context: Any) -> Any:
    def emit(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        # llvmlite accepts only the attributes it lists, and this is not one of them; LLVM accepts it.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), emit


def _ranked(_context: Any, x: Any) -> Any:
    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        bits = _bits(context, builder, arguments[0], x)
        sign = builder.ashr(bits, ir.Constant(bits.type, x.bitwidth - 1))
        return builder.xor(bits, builder.lshr(sign, ir.Constant(bits.type, 1)))

    return _WHOLE[x.bitwidth](x), emit


def _unranked(_context: Any, rank: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sign = builder.ashr(arguments[0], ir.Constant(arguments[0].type, rank.bitwidth - 1))
        bits = builder.xor(arguments[0], builder.lshr(sign, ir.Constant(arguments[0].type, 1)))
        return builder.bitcast(bits, context.get_value_type(signature.return_type))

    floating: dict[int, Any] = {32: types.float32, 64: types.float64}
    return floating[rank.bitwidth](rank), emit


def _scaled(_context: Any, x: Any, shifted: Any) -> Any:
    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        bits, power = (_bits(context, builder, value, x) for value in arguments)
        moved = builder.shl(power, ir.Constant(power.type, _FRACTION[x.bitwidth]))
        return builder.bitcast(builder.add(bits, moved), arguments[0].type)

    return x(x, shifted), emit


def _binade(context: Any, builder: Any, value: Any, kind: Any) -> Any:
    """The bits of a number, and the k with ``√½·2^k ≤ number < √2·2^k``."""
    bits = _bits(context, builder, value, kind)
    moved = builder.sub(bits, ir.Constant(bits.type, _HALF_ROOT[kind.bitwidth]))
    return bits, builder.ashr(moved, ir.Constant(bits.type, _FRACTION[kind.bitwidth]))


def _exponent(_context: Any, x: Any) -> Any:
    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        _, k = _binade(context, builder, arguments[0], x)
        return builder.sitofp(k, arguments[0].type)

    return x(x), emit


def _mantissa(_context: Any, x: Any) -> Any:
    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        bits, k = _binade(context, builder, arguments[0], x)
        moved = builder.shl(k, ir.Constant(k.type, _FRACTION[x.bitwidth]))
        return builder.bitcast(builder.sub(bits, moved), arguments[0].type)

    return x(x), emit


def _fused(_context: Any, a: Any, b: Any, c: Any) -> Any:
    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), emit


def _data(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [start])


def _load(builder: Any, pointer: Any, vector: Any) -> Any:
    value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    value.align = 1
    return value


def _mask(context: Any, builder: Any, row: Any, arguments: Any) -> tuple[Any, Any, Any]:
    """The vector type of a block of the row, which of its keys are above the limit, and how many."""
    element = context.get_value_type(row.dtype)
    lanes = BYTES * 8 // row.dtype.bitwidth
    vector = ir.VectorType(element, lanes)
    keys = _load(builder, _data(context, builder, row, arguments[0], arguments[1]), vector)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[2], ir.Constant(ir.IntType(32), 0))
    limits = builder.shuffle_vector(
        single, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    )
    mask = builder.fcmp_ordered(">", keys, limits)
    bits = builder.bitcast(mask, ir.IntType(lanes))
    return vector, mask, builder.zext(builder.ctpop(bits), ir.IntType(64))


def _function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    module = builder.module
    if name in module.globals:
        return module.globals[name]
    return ir.Function(module, ir.FunctionType(result, arguments), name)


def _compress(_context: Any, row: Any, start: Any, limit: Any, values: Any, out: Any, count: Any) -> Any:
    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        vector, mask, found = _mask(context, builder, row, arguments)
        # As integers of the same bits: where there is no instruction for it, LLVM cannot compress floats.
        whole = ir.VectorType(ir.IntType(row.dtype.bitwidth), vector.count)
        given = _load(builder, _data(context, builder, values, arguments[3], arguments[1]), whole)
        name = f"llvm.experimental.vector.compress.v{whole.count}i{row.dtype.bitwidth}"
        function = _function(builder, name, whole, [whole, mask.type, whole])
        packed = builder.call(function, [given, mask, ir.Constant(whole, None)])
        target = _data(context, builder, out, arguments[4], arguments[5])
        builder.store(packed, builder.bitcast(target, whole.as_pointer())).align = 1
        return builder.add(arguments[5], found)

    return types.int64(row, types.int64, row.dtype, values, out, types.int64), emit


def _expand(_context: Any, row: Any, start: Any, limit: Any, packed: Any, count: Any, out: Any) -> Any:
    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        vector, mask, found = _mask(context, builder, row, arguments)
        source = _data(context, builder, packed, arguments[3], arguments[4])
        name = f"llvm.masked.expandload.v{vector.count}f{row.dtype.bitwidth}"
        function = _function(builder, name, vector, [source.type, mask.type, vector])
        spread = builder.call(function, [source, mask, ir.Constant(vector, None)])
        target = _data(context, builder, out, arguments[5], arguments[1])
        builder.store(spread, builder.bitcast(target, vector.as_pointer())).align = 1
        return builder.add(arguments[4], found)

    return types.int64(row, types.int64, row.dtype, packed, types.int64, out), emit


def _fetch(_context: Any, array: Any, start: Any) -> Any:
    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = _data(context, builder, array, arguments[0], arguments[1])
        whole = ir.IntType(32)
        function = _function(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer.type, whole, whole, whole])
        builder.call(function, [pointer, *(ir.Constant(whole, number) for number in (0, 2, 1))])
        return context.get_dummy_value()

    return types.none(array, types.int64), emit


# Ask LLVM for its widest vectors in the enclosing function; otherwise it uses only half of AVX-512.
wide = cast("Callable[[], None]", intrinsic(_wide))
# An integer that orders floats as their values do, NaN above +inf or below −inf.
ranked = cast("Callable[[Any], Any]", intrinsic(_ranked))
# The float of a rank.
unranked = cast("Callable[[Any], Any]", intrinsic(_unranked))
# ``x·2^k`` where `shifted` is ``k + 1.5·2^p`` with p digits after the first, so that its last bits are k.
scaled = cast("Callable[[Any, Any], Any]", intrinsic(_scaled))
# k with ``√½ ≤ x/2^k < √2``, as a float of the type of x > 0.
exponent = cast("Callable[[Any], Any]", intrinsic(_exponent))
# ``x/2^k`` for that k.
mantissa = cast("Callable[[Any], Any]", intrinsic(_mantissa))
# ``a·b + c`` rounded once.
fused = cast("Callable[[float, float, float], float]", intrinsic(_fused))
# Append ``values[i]`` of the keys i of a block with ``row[i] > limit`` to ``out[count:]``; return the new count.
compress = cast("Callable[[Array, Any, Any, Array, Array, Any], int]", intrinsic(_compress))
# Its inverse: ``out[i]`` for the block, from ``packed[count:]`` where ``row[i] > limit``, else 0; return the new count.
expand = cast("Callable[[Array, Any, Any, Array, Any, Array], int]", intrinsic(_expand))

# Prefetch the block at `start`, which a later loop will read.
fetch = cast("Callable[[Array, Any], None]", intrinsic(_fetch))
