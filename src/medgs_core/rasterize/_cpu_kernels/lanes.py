# mypy: ignore-errors
# llvmlite and numba.core ship no types
"""Vectors of sixteen float32 numbers for numba kernels: one register per value on AVX-512, several elsewhere.

Numba leaves vectorizing to LLVM, which gives up on loops that carry vectors from one image row to the next.
Here such a vector is a value of its own (an LLVM `<16 x float>`), so kernels keep it in a register; LLVM
splits it on machines with narrower registers. Only the kernels beside it use this file.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

LANES = 16
"""Pixels per vector: a 3-sigma box is 6 to 24 pixels wide, and 16 float32 fill the widest register there
is."""

_FLOAT = ir.FloatType()
_INT = ir.IntType(32)
_FLOATS = ir.VectorType(_FLOAT, LANES)
_INTS = ir.VectorType(_INT, LANES)
_BITS = ir.VectorType(ir.IntType(1), LANES)

_FLOAT_ALIGNMENT = 4  # bytes: vectors start at any pixel

_EXP2_POLYNOMIAL = (
    1.0,
    0.6931472029,
    0.2402264791,
    0.05550332471,
    0.009618437357,
    0.00133988744,
    0.0001535336194,
)
"""2**x on [-0.5, 0.5], constant term first: 2e-9 off, far under rounding.

Exact at 0, because the ratios of large splats are close to 1 and chains of them multiply what is off.
"""

_ROUND_TO_INTEGER = 12582912.0
"""1.5 * 2**23: adding it rounds to an integer and leaves that integer in the low bits of the float."""

_MANTISSA_BITS = 23
_EXPONENT_LIMIT = 126.0  # 2**-126 is the least normal float32; below it the result is 0, above 2**126 it stays there


class LanesType(types.Type):
    """Numba type of a vector of `LANES` float32."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


class LaneMaskType(types.Type):
    """Numba type of a vector of `LANES` truth values."""

    def __init__(self) -> None:
        super().__init__(name="LaneMask")


lanes = LanesType()
lane_mask = LaneMaskType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _FLOATS)


@register_model(LaneMaskType)
class _LaneMaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _BITS)


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_FLOATS, [value] * LANES)


def _call(builder: Any, name: str, *arguments: Any) -> Any:
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * len(arguments))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    # fmuladd, not fma: machines without a fused instruction then multiply and add instead of calling libm
    return _call(builder, f"llvm.fmuladd.v{LANES}f32", a, b, c)


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(data, [arguments[1]]), _FLOATS.as_pointer())


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """Return `LANES` consecutive values of a flat float32 array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = builder.load(_address(context, builder, signature, arguments))
        value.align = _FLOAT_ALIGNMENT
        return value

    return lanes(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Write `LANES` consecutive values into a flat float32 array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stored = builder.store(arguments[2], _address(context, builder, signature, arguments))
        stored.align = _FLOAT_ALIGNMENT
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def broadcast(typing: Any, scalar: Any) -> Any:
    """Return a vector whose lanes all hold one float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(_FLOATS, ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.Constant(_INT, 0))
        return builder.shuffle_vector(first, undefined, ir.Constant(_INTS, [0] * LANES))

    return lanes(types.float32), generate


@intrinsic
def ramp(typing: Any) -> Any:
    """Return 0, 1, 2, ... one per lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_FLOATS, [float(lane) for lane in range(LANES)])

    return lanes(), generate


def _binary(instruction: str) -> Any:
    @intrinsic
    def operation(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments)

        return lanes(lanes, lanes), generate

    return operation


add = _binary("fadd")
subtract = _binary("fsub")
multiply = _binary("fmul")
divide = _binary("fdiv")


@intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once where the machine can."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _multiply_add(builder, *arguments)

    return lanes(lanes, lanes, lanes), generate


def _comparison(relation: str) -> Any:
    @intrinsic
    def operation(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.fcmp_ordered(relation, *arguments)

        return lane_mask(lanes, lanes), generate

    return operation


at_least = _comparison(">=")
above = _comparison(">")


@intrinsic
def both(typing: Any, a: Any, b: Any) -> Any:
    """Return where two masks hold at once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.and_(*arguments)

    return lane_mask(lane_mask, lane_mask), generate


@intrinsic
def choose(typing: Any, mask: Any, yes: Any, no: Any) -> Any:
    """Return `yes` where the mask holds and `no` elsewhere, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return lanes(lane_mask, lanes, lanes), generate


@intrinsic
def total(typing: Any, a: Any) -> Any:
    """Return the sum of all lanes, added by halves so that the order never changes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, width = arguments[0], LANES
        undefined = ir.Constant(_FLOATS, ir.Undefined)
        while width > 1:
            width //= 2
            upper = [lane + width if lane < width else 0 for lane in range(LANES)]
            value = builder.fadd(value, builder.shuffle_vector(value, undefined, ir.Constant(_INTS, upper)))
        return builder.extract_element(value, ir.Constant(_INT, 0))

    return types.float32(lanes), generate


@intrinsic
def exp2(typing: Any, a: Any) -> Any:
    """Return 2**a to a relative 2e-7; 0 under 2**-126."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        limit = _constant(_EXPONENT_LIMIT)
        exponent = builder.select(builder.fcmp_ordered("<", arguments[0], limit), arguments[0], limit)
        shifted = builder.fadd(exponent, _constant(_ROUND_TO_INTEGER))
        fraction = builder.fsub(exponent, builder.fsub(shifted, _constant(_ROUND_TO_INTEGER)))
        power = _constant(_EXP2_POLYNOMIAL[-1])
        for coefficient in reversed(_EXP2_POLYNOMIAL[:-1]):
            power = _multiply_add(builder, power, fraction, _constant(coefficient))
        # the integer part goes straight into the exponent field: 2**n * 2**f
        scale = builder.shl(builder.bitcast(shifted, _INTS), ir.Constant(_INTS, [_MANTISSA_BITS] * LANES))
        scaled = builder.bitcast(builder.add(builder.bitcast(power, _INTS), scale), _FLOATS)
        normal = builder.fcmp_ordered(">", arguments[0], _constant(-_EXPONENT_LIMIT))
        return builder.select(normal, scaled, _constant(0.0))

    return lanes(lanes), generate
