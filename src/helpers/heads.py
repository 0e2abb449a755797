"""Hidden states and what a head makes of them, worked out only where they are needed."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from common import devices

LAST = "_last_layer"  # where a model keeps its `LastLayer`


def encode(
    model: PreTrainedModel,
    ids: torch.Tensor,
    positions: torch.Tensor | None,
    places: torch.Tensor | None = None,
    **attention: Any,
) -> torch.Tensor:
    """Hidden states (rows, length, width) of the encoder without its prediction head; those of `places` (n, width).

    `positions` None: a row is one text. `places` are positions in the flattened rows, each at most once; the last layer
    is then worked out there only. `attention` is what `devices.apart` gives, or an attention_mask.
    """
    with nullcontext() if places is None else _only_at(model, places):
        hidden = model.base_model(input_ids=ids, position_ids=positions, **attention)[0]
    return hidden if places is None or hidden.ndim == 2 else hidden.flatten(0, 1).index_select(0, places)


@contextmanager
def _only_at(model: PreTrainedModel, places: torch.Tensor) -> Iterator[None]:
    """Have the last layer see `places` only."""
    if not hasattr(model, LAST):
        setattr(model, LAST, LastLayer(devices.layers(model)[-1]))
    last = getattr(model, LAST)
    last.places = places
    try:
        yield
    finally:
        last.places = None


class LastLayer:
    """Has what follows attention in a layer worked out at some places only, for the last one, where no other is read.

    Attention needs every position of the layer before, its output projection and the feed-forward part do not. In BERT
    a module gets what attention gave and what is added to it: both are picked, and what follows is of the places only.
    ModernBERT's layer itself adds: what stands between a first module, whose input is picked, and a last one is put
    back among zeros.
    """

    PARTS = (("attn.Wo", "attn.Wo"), ("mlp_norm", "mlp"))

    def __init__(self, layer: nn.Module) -> None:
        self.places: torch.Tensor | None = None
        if not hasattr(layer, "mlp"):
            layer.get_submodule("attention.output").register_forward_pre_hook(self.pick)
            return
        for first, last in self.PARTS:
            layer.get_submodule(first).register_forward_pre_hook(self.pick)
            layer.get_submodule(last).register_forward_hook(self.put)

    def pick(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        """The values (n, width) at the places of each input (rows, length, width)."""
        if self.places is None:
            return None
        self.shape = inputs[0].shape
        return tuple(values.flatten(0, 1).index_select(0, self.places) for values in inputs)

    def put(self, module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor | None:
        """Values (n, width) at their places in (rows, length, width)."""
        if self.places is None:
            return None
        among = output.new_zeros(self.shape[:-1].numel(), output.shape[-1])
        return among.index_copy(0, self.places, output).view(*self.shape[:-1], -1)


def before_decoder(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """What the decoder of the prediction head makes logits of, for the hidden states (n, width) of chosen positions.

    The head of a masked-language model is what follows its encoder; its modules stand in the order of use, which
    `models.start` and `models.load` check against the model's own forward pass.
    """
    decoder = model.get_output_embeddings()
    decoder.forward = lambda features: features
    try:
        return after_encoder(model, hidden)
    finally:
        del decoder.forward


def after_encoder(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """What the modules that follow a model's encoder make of hidden states (n, width), for chains of modules."""
    for module in model.children():
        hidden = hidden if module is model.base_model else module(hidden)
    return hidden
