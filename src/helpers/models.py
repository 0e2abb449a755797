"""Models: started from a configuration, the hub or a folder; checked; saved with tokenizer and card."""

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from common.project import ROOT, Mistake
from helpers import heads

# Loading bars and reports on new classifier weights would fill every page of the notebooks.
logging.set_verbosity_error()
logging.disable_progress_bar()

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}

# More text than this no longer changes a vocabulary much, and it has to be held in memory.
TOKENIZER_CHARACTERS = 20_000_000

CALLS = ("output_", "return_")  # keys of a configuration that are about one call, not the model


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Cased word pieces with BERT's special tokens and word boundaries; the same texts give the same pieces."""
    held = _first(texts, TOKENIZER_CHARACTERS)
    counts = Counter(character for text in held for character in text if not character.isspace())
    alphabet = sorted(character for character, count in counts.items() if count > 1)
    inner = [f"##{character}" for character in alphabet]
    # The trainer numbers inner pieces in the random order of a hash map, and ties between merges follow the numbers:
    # listed among the special tokens they get the same numbers in every run.
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        special_tokens=[*SPECIAL.values(), *inner],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    learner = _word_pieces(None)
    learner.train_from_iterator(held, trainer)
    tokenizer = _word_pieces(learner.get_vocab())
    ends = [(piece, tokenizer.token_to_id(piece)) for piece in (SPECIAL["cls_token"], SPECIAL["sep_token"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def _first(texts: Iterable[str], characters: int) -> list[str]:
    """The first texts up to so many characters."""
    held: list[str] = []
    for text in texts:
        if characters <= 0:
            break
        held.append(text)
        characters -= len(text)
    return held


def _word_pieces(vocabulary: dict[str, int] | None) -> Tokenizer:
    """A tokenizer with BERT's word boundaries and these pieces."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def start(base: dict[str, Any], texts: Iterable[str], seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The first model of a run and its tokenizer, after the profile's `base`.

    A scratch model learns its tokenizer from `texts` and draws its weights from `seed`. Raises Mistake when the
    architecture, model or folder is not to be had.
    """
    torch.manual_seed(seed)
    if not base["architecture"]:
        where = base["hub"] or str(ROOT / Path(base["folder"]).expanduser())
        return _pretrained(where, base["revision"] or None)
    tokenizer = train_tokenizer(texts, base["vocabulary"])
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
    ends = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id}
    model = AutoModelForMaskedLM.from_config(configuration(base, vocab_size=len(tokenizer), **ids, **ends))
    return _checked(model), tokenizer


def configuration(base: dict[str, Any], **values: int) -> PretrainedConfig:
    """The configuration of a model from scratch; Mistake for an architecture, key or shape that transformers lacks."""
    try:
        known = AutoConfig.for_model(base["architecture"]).to_dict()
    except ValueError:
        raise Mistake(f"base.architecture: {base['architecture']!r} is unknown; use modernbert or bert") from None
    allowed = sorted(name for name in known if not name.startswith(CALLS))
    if unknown := sorted(set(base["config"]) - set(allowed)):
        raise Mistake(f"base.config: unknown key {unknown[0]!r}; allowed: {', '.join(allowed)}")
    for name, value in base["config"].items():
        if isinstance(value, int | float) and value < 0 and not (known[name] or 0) < 0:
            raise Mistake(f"base.config: {name} is {value}; give 0 or more")
    try:
        config = AutoConfig.for_model(base["architecture"], **{**base["config"], **values})
        with torch.device("meta"):  # weightless: what each stage will ask of it
            for kind in (AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoModelForMaskedLM):
                kind.from_config(config)(input_ids=torch.ones(1, 8, dtype=torch.long))
    except Exception as error:  # whatever a wrong shape or type makes the library raise
        reason = " ".join(str(error).split())[:200]
        raise Mistake(f"base.config: {base['config']} makes no {base['architecture']}: {reason}") from None
    return config


def check(base: dict[str, Any]) -> None:
    """Mistake for a base that cannot be had, as far as its configuration tells."""
    if base["architecture"]:
        configuration(base)
    elif base["folder"] and not (ROOT / Path(base["folder"]).expanduser() / "config.json").is_file():
        raise Mistake(
            f"base.folder: no model in {base['folder']!r}; give the folder of a saved model and its tokenizer"
        )
    elif base["hub"]:
        try:
            AutoConfig.from_pretrained(base["hub"], revision=base["revision"])
        except (OSError, ValueError) as error:
            raise _missing(base["hub"], error) from None


def _pretrained(where: str, revision: str | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A saved masked-language model with its own tokenizer, in float32."""
    tokenizer = saved_tokenizer(where, revision)
    try:
        model = AutoModelForMaskedLM.from_pretrained(where, revision=revision, dtype=torch.float32)
    except (OSError, ValueError, SafetensorError) as error:
        raise _missing(where, error) from None
    return _checked(model), tokenizer


def saved_tokenizer(where: str, revision: str | None) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder or of the hub; Mistake where there is none, or none with word pieces."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision)
    except (OSError, ValueError) as error:
        raise _missing(where, error) from None
    if (kind := type(tokenizer.backend_tokenizer.model).__name__) != "WordPiece":
        raise Mistake(f"base: {where!r} has a tokenizer of kind {kind}; give one with word pieces, as BERT's are")
    if len(tokenizer) <= len(SPECIAL):  # transformers makes an empty one where no file of one is
        raise Mistake(f"base: no tokenizer at {where!r}; put the files of the model's own beside it")
    return tokenizer


def _missing(where: str, error: Exception) -> Mistake:
    reason = str(error).splitlines()[0]
    return Mistake(f"base: no model at {where!r}: {reason} (check the name, the folder or the network)")


def load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """An arm's model and tokenizer."""
    return _pretrained(str(sound(folder)))


def sound(folder: Path) -> Path:
    """An arm's folder itself; Mistake when its weights are not there to their end."""
    path = folder / "model.safetensors"
    if not folder.is_dir():
        there = ", ".join(sorted(found.name for found in folder.parent.glob("[!.]*/")))
        raise Mistake(f"{folder.parent}: has no model {folder.name!r}; there are: {there or 'none'}")
    try:
        with safe_open(path, "pt"):
            return folder
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:100]
        raise Mistake(f"{path}: damaged ({reason}); delete {folder}, and the same command makes it again") from None


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, card: str) -> None:
    """Write checkpoint, tokenizer and model card to `folder`, replacing what was there only when all is written."""
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(beside)
    tokenizer.save_pretrained(beside)
    (beside / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(beside, folder)


@torch.no_grad()
def _checked(model: PreTrainedModel) -> PreTrainedModel:
    """The model itself, once its head applied to its encoder is seen to equal its own logits."""
    model.eval()
    ids = torch.arange(5, 13).remainder(model.config.vocab_size).unsqueeze(0)
    positions = torch.arange(8).unsqueeze(0)
    ours = model.get_output_embeddings()(heads.before_decoder(model, heads.encode(model, ids, positions)))
    if not torch.allclose(ours, model(input_ids=ids, position_ids=positions).logits, atol=1e-4):
        raise Mistake(
            f"base: the head of {model.config.model_type!r} is not a chain of modules; use bert or modernbert"
        )
    return model
