"""An arm: its parent trained on with masked-language modelling on the arm's mixture of texts."""

import shutil
import sys
from collections.abc import Callable, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import pad
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from common import devices
from common.project import code_digest, digest, write_atomically, write_json, write_table
from engine import checkpoints, processes, tokens, training
from helpers import heads, model_cards, models, packing
from helpers.packing import Mixture

HELDOUT_RATE = 0.15
HELDOUT_SEED = 15
ELSEWHERE = ("_name_or_path", "architectures", "dtype", "transformers_version")  # of a model: how it was kept


def begin(folder: Path, parent: str, base: dict[str, Any], seed: int) -> tuple[Any, Any]:
    """Model and tokenizer that an arm starts from: its parent's, or the base after the profile."""
    if parent:
        return models.load(folder / "models" / parent)
    names = [name.rsplit("-", 1) for name in packing.corpora(folder)]
    # One text of each corpus in turn, so that none of them fills the vocabulary first.
    in_turn = zip_longest(
        *(packing.corpus(folder, *name) for name in names if name[0] in base.get("vocabulary_from", ()))
    )
    return models.start(base, (t for some in in_turn for t in some if t is not None), seed)


def batch(ids: np.ndarray, keys: Sequence[Sequence[int]], masking: tokens.Masking, cls: int) -> dict[str, torch.Tensor]:
    """Masked inputs of packed rows: ids, text, positions (rows, length); flat places and pieces to predict (n,)."""
    inputs, labels = masking(ids, keys)
    text, position = tokens.segments(ids, cls)
    places = np.flatnonzero(labels != tokens.UNSCORED)
    arrays = {"ids": inputs, "text": text, "positions": position, "places": places, "targets": labels.ravel()[places]}
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def masked_loss(model: PreTrainedModel, masked: dict[str, torch.Tensor], compiled: bool = False) -> torch.Tensor:
    """Summed cross-entropy in nats at the masked positions; no vocabulary logits are made anywhere else.

    A text of a row attends to itself only.
    """
    attention = devices.apart(model, masked["text"], masked["positions"])
    names = ("ids", "positions", "places", "targets")
    ids, positions, places, targets = (devices.moved(masked[name], model.device) for name in names)
    hidden = heads.before_decoder(model, heads.encode(model, ids, positions, places, **attention))
    decoder, kind = model.get_output_embeddings(), devices.product_dtype(hidden)
    learns = torch.is_grad_enabled()  # within a Function it never is
    return SummedCrossEntropy.apply(hidden.to(kind), decoder.weight, decoder.bias, targets, compiled, learns)


class SummedCrossEntropy(torch.autograd.Function):
    """Cross-entropy of a linear layer's outputs (n, pieces), summed over n in float32, with its gradients.

    A vocabulary's logits are the largest tensor of a step. Loss and gradient share one buffer, which is gone before the
    backward pass begins, where the logarithm of softmax, the choice of the target and their backward passes take four.
    """

    ALIGNED = 64  # pieces, filled up with such as no softmax sees: a GPU's matrix units are slow at odd widths

    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        compiled: bool,
        learns: bool,
    ) -> torch.Tensor:
        """The loss, of `hidden` (n, width), in its precision; `compiled`: partly by way of torch.compile.

        `learns`: whether gradients are asked for.
        """
        context.kinds, pieces = (hidden.dtype, weight.dtype, None if bias is None else bias.dtype), len(weight)
        more = -pieces % SummedCrossEntropy.ALIGNED if hidden.is_cuda else 0
        wide = pad(weight.to(hidden.dtype), (0, 0, 0, more))
        fill = pad((hidden.new_zeros(pieces) if bias is None else bias).to(hidden.dtype), (0, more), value=-np.inf)
        with torch.autocast(hidden.device.type, enabled=False):  # it would widen all logits to add them up
            logits = torch.addmm(fill, hidden, wide.t())
            loss, slope = (compiled_loss() if compiled else loss_and_slope)(logits, targets, learns)
            if slope is not None:
                parts = slope @ wide, (slope.t() @ hidden)[:pieces], slope.sum(0)[:pieces]
                context.save_for_backward(*parts)
        return loss

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The kept gradients, as large as the loss's own asks for."""
        # As a vector it widens a part within the product, where a number would be narrowed to the part's precision.
        kept, times = zip(context.saved_tensors, context.kinds, strict=True), gradient.view(1)
        return *(None if kind is None else (part * times).to(kind) for part, kind in kept), None, None, None


def loss_and_slope(
    logits: torch.Tensor, targets: torch.Tensor, learns: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Summed cross-entropy of logits (n, pieces) and, for one that `learns`, its gradient: softmax less the target."""
    logs = torch.log_softmax(logits, 1, torch.promote_types(logits.dtype, torch.float32))
    at = torch.arange(len(targets), device=targets.device), targets
    wanted = logs[at]
    if not learns:
        return -wanted.sum(), None
    slope = logs.exp_().to(logits.dtype)
    slope[at] = wanted.expm1().to(logits.dtype)  # scatter_ would copy the whole of it twice, on a processor
    return -wanted.sum(), slope


@cache
def compiled_loss() -> Callable[..., tuple[torch.Tensor, torch.Tensor | None]]:
    """`loss_and_slope` with one pass over the logits for the loss and one for the slope."""
    return torch.compile(loss_and_slope, dynamic=False)


@torch.no_grad()
def heldout_loss(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: np.ndarray) -> float:
    """Mean masked-token loss (nats) of `rows` at 15 %, one fixed mask for every arm of a tokenizer; nan of no rows.

    Processes share the batches. Nothing is compiled: other shapes than those of training would use up the number of
    shapes that torch.compile takes, and training would go on without it.
    """
    masking, device = tokens.Masking(tokenizer, HELDOUT_RATE), training.accelerator()
    found = torch.zeros(2, dtype=torch.float64)
    with device.autocast(), torch.compiler.set_stance("force_eager"):
        for begin in range(64 * device.process_index, len(rows), 64 * device.num_processes):
            some = rows[begin : begin + 64].astype(np.int64)
            keys = [[HELDOUT_SEED, begin + row] for row in range(len(some))]
            masked = batch(some, keys, masking, tokenizer.cls_token_id)
            found += torch.stack([masked_loss(model, masked).double().cpu(), torch.tensor(len(masked["targets"]))])
    total, count = device.reduce(found.to(device.device), "sum").tolist()
    return total / count if count else float("nan")


def adapt(
    folder: Path,
    arm: str,
    model: PreTrainedModel,
    mixture: Mixture,
    heldout: dict[str, np.ndarray],
    card: str,
    **values: Any,
) -> pd.DataFrame:
    """Train `model` on `mixture`, save it below models/, and return its curve: step, tokens, loss, held-out losses.

    `values` are batch_rows, learning_rate, warmup_share, masking_rate, whole_words, evaluations, seed, and
    `training.SPEED`.
    An arm that is finished with the same text, settings and starting model is not trained again.
    """
    saved = folder / "models" / arm
    start: list[Any] = [digest(p) for p in (t.detach().numpy().tobytes() for t in model.state_dict().values())]
    # What no weight tells, such as the number of heads.
    start.append({k: v for k, v in model.config.to_diff_dict().items() if k not in ELSEWHERE})
    fixed = {k: v for k, v in values.items() if k not in training.SPEED}
    read = zip(mixture.stores, mixture.starts, mixture.order.sizes.tolist(), strict=True)
    data = [(store.path.name, *where) for store, *where in read] + [digest(rows.tobytes()) for rows in heldout.values()]
    key = digest([fixed, start, data, mixture.names, len(mixture.order), mixture.length, code_digest(CODE)])
    if (saved / "key").is_file() and (saved / "key").read_text() == key:
        history = pd.read_csv(saved / "history.csv")
    else:
        history, weights = processes.together(
            _trained, values.pop("processes", 1), folder, arm, model, mixture, heldout, key, **values
        )
        model.load_state_dict(weights)
        models.save(model.cpu(), mixture.tokenizer, saved, card)
        write_table(saved / "history.csv", history)
        write_atomically(saved / "key", key)
    write_table(saved / "mixture.csv", mixture.table(values["batch_rows"]))
    write_json(saved / packing.READ, {**mixture.before, **mixture.until})
    write_table(saved / "training.csv", history)
    shutil.rmtree(folder / "checkpoints" / arm, ignore_errors=True)
    return history


# Of arms that a lab trains side by side, in a minute.
SMALL = {"batch_rows": 8, "warmup_share": 0.05, "masking_rate": 0.15, "whole_words": False, "evaluations": 6}
SMALL |= {"checkpoint_seconds": 60, "save_memory": False, "compiled": False}


def side_by_side(
    folder: Path,
    base: Path,
    mixtures: dict[str, dict],
    heldout: dict[str, np.ndarray],
    *,
    texts: Path,
    tokens: int,
    length: int,
    **values: Any,
) -> None:
    """Train the model in `base` once on each mixture of the corpora in `texts`, as arms of `folder` by their names.

    All read `tokens` word pieces in rows of `length`; `values` are learning_rate and seed.
    """
    for arm, text in mixtures.items():
        model, tokenizer = models.load(base)
        mixture = Mixture(texts, text, tokenizer, tokens // length, length, values["seed"], packing.read_until(base))
        card = model_cards.card(texts, arm, base.name, text, tokens)
        adapt(folder, arm, model, mixture, heldout, card, **SMALL, **values)


CODE = (checkpoints, devices, heads, models, packing, processes, tokens, training, sys.modules[__name__])


def _trained(
    folder: Path,
    arm: str,
    model: PreTrainedModel,
    mixture: Mixture,
    heldout: dict[str, np.ndarray],
    key: str,
    **values: Any,
) -> tuple[pd.DataFrame, dict[str, torch.Tensor]]:
    """Run the loop over the arm's rows; a base that is used as it is only gets its held-out losses."""
    # Batches of whole words differ in how much they mask, and each number would be compiled by itself.
    values["compiled"] = values["compiled"] and not values["whole_words"]
    device, work = training.accelerator(), _work(model, mixture, **values)
    training.place(model, device, save_memory=values["save_memory"], compiled=values["compiled"])

    def look() -> dict[str, float]:
        return {name: heldout_loss(model, mixture.tokenizer, part) for name, part in heldout.items()}

    before = {"step": 0, "loss": float("nan"), **look()}
    plan = training.Plan(
        learning_rate=values["learning_rate"],
        warmup_share=values["warmup_share"],
        seed=values["seed"],
        look_every=max(1, -(-work.steps // values["evaluations"])),
        patience=0,
        checkpoint=folder / "checkpoints" / arm,
        key=key,
        checkpoint_seconds=values["checkpoint_seconds"],
        tokens_a_step=values["batch_rows"] * mixture.length,
    )
    history = pd.DataFrame([before, *training.train(model, work, plan, look)])
    history.insert(1, "tokens", history["step"] * values["batch_rows"] * mixture.length)
    return history, {name: weight.cpu() for name, weight in model.state_dict().items()}


def _work(model: PreTrainedModel, mixture: Mixture, **values: Any) -> training.Work:
    """Places of the training order as items, each weighed by its masked pieces."""
    size, device = values["batch_rows"], training.accelerator()
    masking = tokens.Masking(mixture.tokenizer, values["masking_rate"], values["whole_words"])

    def loss(places: Sequence[int]) -> tuple[torch.Tensor, int]:
        keys = [[values["seed"], place] for place in places]
        masked = batch(mixture.read(places), keys, masking, mixture.tokenizer.cls_token_id)
        with device.autocast():
            return masked_loss(model, masked, values["compiled"]), len(masked["targets"])

    return training.Work(
        steps=len(mixture.order) // size,
        items=lambda step: range(step * size, (step + 1) * size),
        loss=loss,
    )
