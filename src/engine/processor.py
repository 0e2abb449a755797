"""What makes an encoder faster on a processor: plain attention, narrow values between layers, memory that is kept."""

import ctypes
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

ATTENTION = "plain"  # its name among transformers' implementations


def suit(model: PreTrainedModel) -> None:
    """Have a model use what pays on a processor; how much each gives is in `benchmarks.mlm`, ablation."""
    model.set_attn_implementation(ATTENTION)
    model.base_model.embeddings.register_forward_hook(narrowed)


def plain_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    **how: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of (rows, heads, length, width) as (rows, length, heads, width); `how` has scaling and dropout.

    At lengths of 64 to 128 blocks cost more than they save, and this stays in the values' own precision.
    """
    shape = query.shape
    query, key, value = (x.flatten(0, 1) for x in (query, key, value))
    bias = query.new_zeros(()) if mask is None else mask
    if bias.dtype == torch.bool:
        bias = query.new_zeros(bias.shape).masked_fill_(~bias, torch.finfo(query.dtype).min)
    bias = bias.expand(*shape[:3], key.shape[1]).flatten(0, 1)
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=how["scaling"])
    shares = nn.functional.dropout(scores.softmax(-1), how["dropout"])
    return torch.bmm(shares, value).view(shape).transpose(1, 2), None


def narrowed(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    """The embeddings in the precision of the matrix products, which all that is added to them then keeps."""
    kind = output.device.type
    return output.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else output


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next tensors, where it is glibc.

    It gives large blocks back to the system at once, and every step then faults in its pages anew: a fifth of its time.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        library.mallopt(-4, 0)  # M_MMAP_MAX


AttentionInterface.register(ATTENTION, plain_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
