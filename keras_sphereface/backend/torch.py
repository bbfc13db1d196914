"""What `keras.ops` lacks, on PyTorch; see `keras_sphereface.backend.tensorflow`."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from keras import ops


def matmul(
    a: torch.Tensor, b: torch.Tensor, transpose_a: bool = False, transpose_b: bool = False
) -> torch.Tensor:
    """Return the product of two matrices, transposed as told without a copy of them."""
    return (a.T if transpose_a else a) @ (b.T if transpose_b else b)


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
    return torch.mul(a, b, out=used)


def subtract_product_in_place(rows: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return rows - a * b."""
    return rows.addcmul_(a, b, value=-1.0)


def column_norms(kernel: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean norm of each column: (D, C) -> (C,)."""
    return torch.linalg.vector_norm(kernel, dim=0)


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
