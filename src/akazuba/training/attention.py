"""Multi-head attention, as torch trains it and as onnxruntime runs it best.

In an exported graph it becomes one `com.microsoft.MultiHeadAttention`, which needs less memory and time than
the same thing in single operations.
"""

# mypy: disallow-subclassing-any=False
# (torch is not followed by mypy, so that its Function is Any to it)
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_CLOSED = -1e4
"""Added to the score of a key that may not be looked at. Finite: where every key is closed (a note that is
not
there) the result is the plain mean and not NaN, and whoever reads it multiplies it by zero."""


def masked_attention(
    q: Tensor, k: Tensor, v: Tensor, open_: Tensor | None, heads: int, liking: Tensor | None = None
) -> Tensor:
    """(B, Q, D), (B, K, D), (B, K, D) -> (B, Q, D).

    open_: (B, K), 1 where a key may be looked at, 0 where it is padding or absent; None opens all. Queries,
    keys or masks may come once for a batch of the others.
    liking: (heads, Q, K), added to the scores; only together with open_.
    """
    bias = None
    if open_ is not None:
        batch = 0.0 * (q[:, :1, :1] + k[:, :1, :1] + open_[:, :1, None])  # zeros, (B, 1, 1)
        q, k, v = q + batch, k + batch, v + batch
        bias = ((1.0 - open_) * _CLOSED)[:, None, None, :] + 0.0 * q[:, None, :, :1]
        if liking is not None:
            bias = bias + liking
    if torch.onnx.is_in_onnx_export():
        return _Fused.apply(q, k, v, bias, heads)
    return _plain(q, k, v, bias, heads)


def _plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, heads: int) -> Tensor:
    parts = (x.unflatten(-1, (heads, x.shape[-1] // heads)).transpose(1, 2) for x in (q, k, v))
    mask = None if bias is None else bias.to(q.dtype)
    mixed = nn.functional.scaled_dot_product_attention(*parts, attn_mask=mask)
    return mixed.transpose(1, 2).flatten(2)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, heads: int) -> Tensor:
        return _plain(q, k, v, bias, heads)

    @staticmethod
    def symbolic(g: Any, q: Any, k: Any, v: Any, bias: Any, heads: int) -> Any:
        inputs = [q, k, v]
        if bias is not None:  # the operator's own bias and key mask, in between, are left out
            none = g.op("prim::Constant")
            none.setType(torch._C.OptionalType.ofTensor())
            inputs += [none, none, bias]
        return g.op("com.microsoft::MultiHeadAttention", *inputs, num_heads_i=heads).setType(q.type())
