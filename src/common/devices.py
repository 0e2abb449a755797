"""What makes an encoder faster on the device at hand; how much each part gives is in `benchmarks.mlm`, ablation."""

import ctypes
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.modernbert.modeling_modernbert import ModernBertAttention

PLAIN, BY_TEXT = "plain", "by_text"  # their names among transformers' implementations


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on a device; to a GPU through page-locked memory, so that the processor does not wait for the copy."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def fetched(value: torch.Tensor) -> Callable[[], float]:
    """A function that gives a number of the device later, without waiting for what a GPU was asked to do since.

    A GPU does everything in turn: asked only then, it would answer after that work. So the copy is asked for now.
    """
    if value.device.type != "cuda":
        return value.item
    number, there = value.to("cpu", non_blocking=True), torch.cuda.Event()
    there.record()

    def given() -> float:
        there.synchronize()
        return number.item()

    return given


def seed(device: torch.device, number: int) -> None:
    """Seed what draws dropout on a device; torch.manual_seed looks for every kind of device, a hundredth of a step."""
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


def suit(model: PreTrainedModel) -> None:
    """Have a model use what pays on the device that it is on."""
    encoder, gpu = model.base_model, model.device.type == "cuda"
    model.set_attn_implementation(BY_TEXT if gpu else PLAIN)
    for module in encoder.modules():
        if isinstance(module, ModernBertAttention):
            module.forward = MethodType(rotary_attention, module)
    # A GPU's autocast widens every norm's output, a processor's only what the embeddings hand on.
    norms = [module for module in encoder.modules() if isinstance(module, nn.LayerNorm)] if gpu else []
    for module in (encoder.embeddings, *norms):
        module.register_forward_hook(narrowed)


def compile_layers(model: PreTrainedModel) -> None:
    """Have torch.compile fuse each layer, once for layers that are alike, and the embeddings."""
    from torch._inductor import config  # here, as most trainings do not compile

    torch._dynamo.config.skip_nnmodule_hook_guards = False  # the last layer has some (`heads.LastLayer`), others none
    # A processor's dropout draws what it draws without compiling; a GPU's is drawn where it is used, not into memory.
    config.fallback_random = model.device.type == "cpu"
    for module in (model.base_model.embeddings, *layers(model)):
        module.compile(dynamic=False)


def layers(model: PreTrainedModel) -> list[nn.Module]:
    """The layers of the encoder, in their order."""
    return [module for module in model.base_model.modules() if isinstance(module, GradientCheckpointingLayer)]


def apart(model: PreTrainedModel, text: torch.Tensor, positions: torch.Tensor) -> dict[str, Any]:
    """What to tell an encoder so that the texts of a row, after `tokens.segments`, see themselves only.

    On a GPU in half precision where each begins and how long they are, so that no work is spent on others; else a mask.
    """
    device, width = model.device, model.config.hidden_size // model.config.num_attention_heads
    able = model.config._attn_implementation == BY_TEXT and torch.is_autocast_enabled("cuda")
    if not able or width % 8:
        return {"attention_mask": mask_of(model, moved(text, device))}
    found = (positions.flatten() == 0).nonzero().flatten()
    # Both numbers as powers of two: what is compiled for them then serves for most batches.
    ends = found.new_full(((1 << len(found).bit_length()) - len(found),), positions.numel())
    begins = moved(torch.cat([found, ends]).int(), device)
    return {"attention_mask": None, "cu_seq_lens_q": begins, "max_length_q": 1 << int(positions.max()).bit_length()}


def mask_of(model: PreTrainedModel, text: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
    """Which places of a row see each other, (rows, 1, length, length); by layer type where some see near ones only."""
    mask = text[:, None, :, None] == text[:, None, None, :]
    if "sliding_attention" not in (getattr(model.config, "layer_types", None) or ()):
        return mask
    place = torch.arange(text.shape[1], device=text.device)
    near = (place[:, None] - place).abs() <= model.config.sliding_window
    return {"full_attention": mask, "sliding_attention": mask & near}


def attention_by_text(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    **how: Any,
) -> tuple[torch.Tensor, None]:
    """Flash attention within the texts that `how` tells of, if it does, or else PyTorch's own choice.

    Inputs are (rows, heads, length, width), the result (rows, length, heads, width).
    """
    if (begins := how.get("cu_seq_lens_q")) is None:
        return sdpa_attention_forward(module, query, key, value, mask, **how)
    window = how.get("sliding_window")  # which counts the place itself
    side = {} if window is None else {"window_size_left": window - 1, "window_size_right": window - 1}
    flat = [x.transpose(1, 2).flatten(0, 1) for x in (query, key, value)]
    texts = (begins, begins, how["max_length_q"], how["max_length_q"])  # of queries, of keys
    causal = debug = False
    found = torch.ops.aten._flash_attention_forward(
        *flat, *texts, how["dropout"], causal, debug, scale=how["scaling"], **side
    )
    return found[0].view(query.shape[0], query.shape[2], *found[0].shape[1:]), None


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


def rotary_attention(
    attention: ModernBertAttention,
    hidden_states: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    attention_mask: torch.Tensor | None = None,
    **how: Any,
) -> tuple[torch.Tensor, None]:
    """What ModernBERT's attention makes of (rows, length, width), with its rotary positions by `Rotated`."""
    heads = attention.Wqkv(hidden_states).unflatten(-1, (3, -1, attention.head_dim))
    inputs = (x.transpose(1, 2) for x in Rotated.apply(heads, *position_embeddings))
    how |= {"dropout": attention.attention_dropout if attention.training else 0.0, "scaling": attention.head_dim**-0.5}
    attend = AttentionInterface()[attention.config._attn_implementation]
    found, _ = attend(attention, *inputs, attention_mask, sliding_window=attention.sliding_window, **how)
    return attention.out_drop(attention.Wo(found.flatten(2))), None


class Rotated(torch.autograd.Function):
    """Queries, keys and values of (rows, length, 3, heads, width), the first two rotated by their position.

    Rotary positions, after Su et al. (arXiv 2104.09864), in float32, with cosines and sines (rows, length, width). The
    gradient is rotated back; transformers' chain of operations takes twice the time, most of it for copies of halves.
    """

    @staticmethod
    def forward(context: Any, heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Three of (rows, length, heads, width)."""
        cos, sin = (angle[:, :, None, None].float() for angle in (cos, sin))
        context.save_for_backward(cos, sin)
        return *turned(heads[:, :, :2], cos, sin).unbind(2), heads[:, :, 2]

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """The gradient of all three."""
        (cos, sin), found = context.saved_tensors, torch.stack(gradients, 2)
        found[:, :, :2] = turned(found[:, :, :2], cos, -sin)
        return found, None, None


def turned(values: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Each pair (first, second half) of (..., width) turned by its angle."""
    wide, half = values.float(), values.shape[-1] // 2
    found = wide * cos
    found[..., :half].addcmul_(wide[..., half:], sin[..., half:], value=-1)
    found[..., half:].addcmul_(wide[..., :half], sin[..., :half])
    return found.to(values.dtype)


def product_dtype(tensor: torch.Tensor) -> torch.dtype:
    """That of matrix products with a tensor."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


def narrowed(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    """The output in the precision of the matrix products, which all that is added to it then keeps."""
    return output.to(product_dtype(output))


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next tensors, where it is glibc.

    It gives large blocks back to the system at once, and every step then faults in its pages anew: a fifth of its time.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        library.mallopt(-4, 0)  # M_MMAP_MAX


for name, function in ((PLAIN, plain_attention), (BY_TEXT, attention_by_text)):
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, sdpa_mask)
