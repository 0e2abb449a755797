"""A small pre-training and a fit on it, for test_kills.py: `killed.py FOLDER STEPS` goes on where it stopped."""

import sys
from itertools import islice
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from helpers import finetuning, packing, pretraining
from texts import synthetic, tasks
from texts.documents import write_jsonl

WIDTH = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
DROPOUT = {"attention_dropout": 0.1, "embedding_dropout": 0.1, "mlp_dropout": 0.1}
SCRATCH = {"architecture": "modernbert", "vocabulary": 400, "vocabulary_from": ["clinical"], "config": WIDTH | DROPOUT}
SPEED = {"checkpoint_seconds": 0, "processes": 1, "fits": 1, "save_memory": False, "compiled": False}


def write_texts(folder: Path) -> None:
    """A corpus and a task, unless they are there."""
    if (folder / "corpora/tasks.json").is_file():
        return
    documents = list(islice(synthetic.documents("clinical", "es", 1), 400))
    write_jsonl(folder / "corpora/clinical-es.jsonl", documents[:300])
    write_jsonl(folder / "corpora/clinical-es.heldout.jsonl", documents[300:])
    parts = {"train": 60, "dev": 10, "test": 10}
    wanted = {"name": "ner_es", "kind": "ner", "language": "es", "common": {}, "source": "synthetic", "trained": True}
    tasks.build(folder, [{**wanted, "documents": parts}], 1)


def main(folder: Path, steps: int) -> None:
    """Both trainings, with a checkpoint after every step."""
    torch.set_num_threads(1)
    write_texts(folder)
    print("ready", flush=True)
    base = SCRATCH | {"hub": "", "revision": "", "folder": ""}
    model, tokenizer = pretraining.begin(folder, "", base, 3)
    mixture = packing.Mixture(folder, {"clinical": {"es": 1.0}}, tokenizer, steps * 4, 32, 3)
    values = {"batch_rows": 4, "learning_rate": 1e-3, "warmup_share": 0.1, "masking_rate": 0.15, "whole_words": True}
    values |= {"evaluations": 5, "seed": 3}
    heldout = packing.heldout_rows(folder, tokenizer, 32, 8)
    pretraining.adapt(folder, "arm", model, mixture, heldout, "card", **values, **SPEED)
    epochs = -(-steps // 30)
    values = {"tests": ["ner_es"], "length": 48, "overlap": 8, "epochs": epochs, "patience": epochs, "batch_rows": 8}
    values |= {"learning_rate": 1e-3, "warmup_share": 0.1, "negatives_per_positive": 0.0, "share": 1.0}
    finetuning.all_fits(folder, "ner_es", ["arm"], [1], {}, **values, **SPEED)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
