"""What `keras.ops` lacks, on PyTorch; see `keras_sphereface.backend.tensorflow`."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch
from keras import ops


def matmul(
    a: torch.Tensor, b: torch.Tensor, transpose_a: bool = False, transpose_b: bool = False
) -> torch.Tensor:
    """Return the product of two matrices, transposed as told without a copy of them."""
    return (a.T if transpose_a else a) @ (b.T if transpose_b else b)


def maximum(a: Any, b: Any) -> torch.Tensor:
    """`keras.ops.maximum` in the dtype of the arguments."""
    return torch.maximum(*_of_one_dtype(a, b))


def minimum(a: Any, b: Any) -> torch.Tensor:
    """`keras.ops.minimum` in the dtype of the arguments."""
    return torch.minimum(*_of_one_dtype(a, b))


def divide_no_nan(a: Any, b: Any) -> torch.Tensor:
    """`keras.ops.divide_no_nan` in the dtype of the arguments."""
    a, b = _of_one_dtype(a, b)
    none = b == 0
    # The first choice keeps infinity out of the gradient.
    return torch.where(none, 0.0, a / torch.where(none, torch.ones_like(b), b))


def clip(x: torch.Tensor, x_min: float, x_max: float) -> torch.Tensor:
    """`keras.ops.clip` with limits of float64."""
    return torch.clamp(ops.convert_to_tensor(x), x_min, x_max)


def mean(x: torch.Tensor, axis: Any = None) -> torch.Tensor:
    """`keras.ops.mean`, computed in the dtype of the argument."""
    return torch.mean(ops.convert_to_tensor(x), dim=axis)


def segment_sum(data: torch.Tensor, segment_ids: torch.Tensor, num_segments: int) -> torch.Tensor:
    """`keras.ops.segment_sum` in the dtype of the data, by ids in [0, num_segments)."""
    zeros = data.new_zeros((num_segments, *data.shape[1:]))
    return zeros.index_add(0, segment_ids, data)


def softplus(x: torch.Tensor) -> torch.Tensor:
    """`keras.ops.softplus`, and not x itself where it still differs from x in float64."""
    return torch.nn.functional.softplus(x, threshold=40)


def _of_one_dtype(a: Any, b: Any) -> list[torch.Tensor]:
    """Two tensors in the dtype that PyTorch gives to a result; a number has none of its own."""
    a, b = (x if isinstance(x, int | float) else ops.convert_to_tensor(x) for x in (a, b))
    dtype = keras.backend.standardize_dtype(torch.result_type(a, b))
    return [ops.convert_to_tensor(x, dtype) for x in (a, b)]


def value_of(weight: Any) -> torch.Tensor:
    """Return the present value of a weight of Keras."""
    return ops.convert_to_tensor(weight)


def alias(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same values as another tensor object."""
    return tensor.view_as(tensor)


def pick(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return one entry of each row: (B, C) and (B,) -> (B,)."""
    return rows.gather(1, columns[:, None].long())[:, 0]


def put(
    rows: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, overwrite: bool = False
) -> torch.Tensor:
    """Return `rows` (B, C) with `values` (B,) at one column (B,) of each row."""
    columns, values = columns[:, None].long(), values[:, None].to(rows.dtype)
    return rows.scatter_(1, columns, values) if overwrite else rows.scatter(1, columns, values)


def scale_in_place(rows: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Return rows * factors."""
    return rows.mul_(factors)


def exp_in_place(rows: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Return exp(rows - shift)."""
    return rows.sub_(shift).exp_()


def product_into(used: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a * b."""
    # A gradient of a gradient, which is refused later, cannot go through `out`.
    return a * b if torch.is_grad_enabled() else torch.mul(a, b, out=used)


def subtract_product_in_place(rows: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return rows - a * b."""
    return rows.addcmul_(a, b, value=-1.0)


def column_norms(kernel: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean norm of each column: (D, C) -> (C,)."""
    # Three times as fast as `torch.linalg.vector_norm`, which reads column after column.
    return kernel.square().sum(dim=0).sqrt()


def search_rows(sorted_rows: torch.Tensor, values: torch.Tensor, side: str) -> torch.Tensor:
    """`searchsorted` in each row: (B, N) and (B, K) -> (B, K), int32."""
    found = torch.searchsorted(sorted_rows.contiguous(), values.contiguous(), side=side)
    return found.to(torch.int32)


def uniform(size: int, seed: Sequence[Any]) -> torch.Tensor:
    """Return (size,) float32 numbers in [0, 1), which follow from a seed of two whole numbers."""
    first, second = (int(s) for s in seed)
    return torch.rand(size, generator=torch.Generator().manual_seed((first << 32) + second))


def vector_jacobian(
    function: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor], upstream: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return the gradients of sum(upstream * function(*inputs)) by the inputs."""
    with torch.enable_grad():
        inputs = [tensor.detach().requires_grad_() for tensor in inputs]
        value = function(*inputs)
        return torch.autograd.grad(value, inputs, torch.broadcast_to(upstream, value.shape))


class _RefusedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, error: Exception) -> torch.Tensor:
        ctx.error = error
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple:
        raise ctx.error


def refuse_gradient(tensor: torch.Tensor, error: Exception) -> torch.Tensor:
    """Return the tensor; a gradient that goes through it raises `error`."""
    return _RefusedGradient.apply(tensor, error)


def require(
    condition: torch.Tensor, message: str, values: Sequence[Any], then: torch.Tensor
) -> torch.Tensor:
    """Return `then`; raise a ValueError unless all conditions hold.

    On a GPU, where asking would stop the stream of work, nothing is asked.
    """
    if condition.device.type == "cpu" and not bool(condition.all()):
        numbers = (v.item() if isinstance(v, torch.Tensor) else v for v in values)
        raise ValueError(" ".join([message, *map(str, numbers)]))
    return then


def never(tensor: torch.Tensor, message: str, received: torch.Tensor) -> torch.Tensor:
    """Raise a ValueError, but for a placeholder, which has no values: return the tensor."""
    if received.device.type != "meta":
        raise ValueError(f"{message} Received: {received!r}")
    return tensor


def in_order(tensors: Sequence[torch.Tensor]) -> contextlib.AbstractContextManager:
    """Nothing: operations run in the order in which they are written."""
    return contextlib.nullcontext()


def compiled(
    function: Callable[[torch.Tensor], torch.Tensor], dtype: str
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function: `torch.compile` needs a C++ compiler, and B numbers gain nothing."""
    return function


# In place of those of `keras.ops`, which compute float64 in float32 on this backend.
KEEPING_FLOAT64 = {
    "clip": clip,
    "divide_no_nan": divide_no_nan,
    "matmul": matmul,
    "maximum": maximum,
    "mean": mean,
    "minimum": minimum,
    "segment_sum": segment_sum,
    "softplus": softplus,
}
