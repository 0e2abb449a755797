"""A profile's content: every number that differs between runs, typed and checked, and the stages it asks for."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from helpers.project import DATA, Mistake, digest, file_digest

Name = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
Text = dict[str, dict[str, float]]
CORPORA = "corpora/statistics.csv"


@dataclass(frozen=True)
class Stage:
    """One execution of one notebook: what is injected, what it reads and makes (below the run's folder)."""

    id: str
    notebook: str
    parameters: dict[str, Any]
    inputs: list[str]
    outputs: list[str]
    speed: dict[str, Any] = field(default_factory=dict)
    threads: int = 1


def lexicon_digest() -> str:
    """What synthetic text is made from: a changed word makes the corpora stale."""
    files = sorted([*DATA.glob("lexicons/*.tsv"), *DATA.glob("grammars/*.yaml")])
    return digest([file_digest(file) for file in files])


class Section(BaseModel):
    """Part of a profile; an unknown key or a wrong type is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Corpus(Section):
    """How much domain text is kept, and when two documents count as the same."""

    characters: int = Field(gt=0, description="characters kept for each domain and language, at most")
    heldout_characters: int = Field(gt=0, description="characters set aside for the held-out loss")
    near_duplicate: float = Field(gt=0, le=1, description="Jaccard similarity of near duplicates")
    remove_leaks: bool = Field(description="remove what repeats task documents; if not, the gate stops the run there")


class Task(Section):
    """A task's data; `trained: false` makes it a test set only."""

    name: str = Name
    kind: Literal["ner", "screening"]
    language: str
    source: str = "synthetic"
    documents: dict[Literal["train", "dev", "test"], int] = Field(default={}, description="items a part")
    common: dict[str, str] = Field(default={}, description="own label -> label shared with other tasks")
    trained: bool = True

    @model_validator(mode="after")
    def can_be_drawn(self) -> Self:
        """Synthetic tasks need documents for their parts, and screening is in Dutch."""
        if self.source == "synthetic":
            needed = ("train", "dev", "test") if self.trained else ("test",)
            if lacking := [part for part in needed if not self.documents.get(part)]:
                raise ValueError(f"{self.name!r} has no documents for {lacking[0]}; give it some")
            if self.kind == "screening" and self.language != "nl":
                raise ValueError(f"{self.name!r}: synthetic screening is Dutch, language must be nl")
        return self


class Base(Section):
    """Where the first model comes from: a configuration to start from scratch, the hub, or a folder."""

    architecture: str = Field(default="", description="transformers model type, for a model from scratch")
    config: dict[str, Any] = Field(default={}, description="configuration values of that architecture")
    vocabulary: int = Field(default=0, ge=0, description="word pieces of a tokenizer trained for it")
    vocabulary_from: list[str] = Field(default=["general"], description="domains whose text the tokenizer learns from")
    hub: str = Field(default="", description="model id on the hub; needs a revision")
    revision: str = Field(default="", pattern=r"^([0-9a-f]{40})?$", description="commit of the model on the hub")
    folder: str = Field(default="", description="folder of a saved model with its tokenizer")

    @model_validator(mode="after")
    def one_origin(self) -> Self:
        """Exactly one of the three origins, each complete."""
        if sum(map(bool, (self.architecture, self.hub, self.folder))) != 1:
            raise ValueError("give exactly one of architecture, hub, folder")
        if self.architecture and not self.vocabulary:
            raise ValueError("a base from scratch needs vocabulary, for example 3000")
        if self.hub and not self.revision:
            raise ValueError("a hub model needs its revision, a commit of 40 hexadecimal digits")
        return self


class Arm(Section):
    """One model of the experiment: its parent, the text it sees, and how much of it."""

    name: str = Name
    parent: str = Field(default="", description="the arm it goes on from; empty: the base")
    text: Text = Field(default={}, description="domain -> language -> weight, above 0")
    tokens: int = Field(ge=0, description="word pieces of training text")
    learning_rate: float | None = Field(default=None, gt=0)
    masking_rate: float | None = Field(default=None, gt=0, lt=1)


class Pretrain(Section):
    """Masked-language modelling."""

    length: int = Field(ge=8, description="word pieces a row")
    batch_rows: int = Field(gt=0, description="rows a step")
    learning_rate: float = Field(gt=0, description="peak")
    warmup_share: float = Field(ge=0, lt=1, description="share of the steps")
    masking_rate: float = Field(gt=0, lt=1, description="share of word pieces to predict")
    whole_words: bool = Field(description="whether all pieces of a word are masked together")
    heldout_rows: int = Field(gt=0, description="rows of each held-out set")
    evaluations: int = Field(gt=0, description="points of the held-out curve")


class Finetune(Section):
    """Fine-tuning on one kind of task."""

    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    length: int = Field(ge=16, description="word pieces a window")
    overlap: int = Field(ge=0, description="word pieces that neighbouring windows share")
    epochs: int = Field(gt=0, description="at most")
    patience: int = Field(gt=0, description="epochs without a better dev score before stopping")
    batch_rows: int = Field(gt=0, description="windows (NER) or patients (screening) a step")
    learning_rate: float = Field(gt=0, description="peak")
    warmup_share: float = Field(ge=0, lt=1, description="share of the steps")
    negatives_per_positive: float = Field(default=0.0, ge=0, description="screening, in training; 0 keeps all")

    @model_validator(mode="after")
    def windows_advance(self) -> Self:
        """Two neighbouring windows, each with its two special pieces, must not cover the same text."""
        if self.overlap >= self.length - 2:
            raise ValueError(f"overlap {self.overlap} must be below length - 2, which is {self.length - 2}")
        return self


class Analysis(Section):
    """The analyses behind claim C4."""

    control: str = Field(description="arm that the other arms' gains are measured against")
    frequent_words: int = Field(gt=0, description="words of each domain whose overlap is measured")
    rows: int = Field(gt=0, description="rows of each task's text for the masked-token loss")
    terms: int = Field(gt=0, description="parallel terms for CKA and retrieval")


class Figures(Section):
    """How the figures look."""

    width_mm: int = Field(gt=40, lt=400)
    dpi: int = Field(ge=50, le=1200)
    formats: list[Literal["png", "svg", "pdf"]]


class Comparison(Section):
    """One member of the family of comparisons, declared before the run."""

    claim: Literal["C1", "C2", "C3a", "C3b", "C4"]
    task: str
    test: str = ""
    arm: str
    against: str
    metric: Literal["f1", "recall", "auprc"]
    mentions: Literal["all", "unseen", "seen"] = "all"

    @model_validator(mode="after")
    def part_of_recall(self) -> Self:
        """A predicted entity that is wrong belongs to no group of gold mentions: precision has no part."""
        if self.mentions != "all" and self.metric != "recall":
            raise ValueError(f"mentions {self.mentions!r} go with metric recall, found {self.metric!r}")
        return self


class Claims(Section):
    """The family of comparisons and how its uncertainty is measured."""

    family: list[Comparison]
    draws: int = Field(ge=100, description="bootstrap draws")
    confidence: float = Field(gt=0.5, lt=1)

    @model_validator(mode="after")
    def fine_enough(self) -> Self:
        """The smallest p that so many draws can give must be able to pass Holm's correction of the family."""
        needed = round(2 * len(self.family) / (1 - self.confidence))
        if self.draws < needed:
            raise ValueError(f"{self.draws} draws cannot decide a family of {len(self.family)}; give at least {needed}")
        return self


class Compute(Section):
    """What changes the speed of a run, and at most the last digits of its results."""

    threads: int = Field(ge=0, description="processor threads a stage; 0: all")
    processes: int = Field(gt=0, description="processes that train one model together, a GPU each where there are any")
    checkpoint_seconds: int = Field(ge=0, description="seconds between checkpoints")
    save_memory: bool = Field(description="compute a layer's inner values again in the backward pass, not keep them")
    compiled: bool = Field(description="torch.compile the encoder in pre-training; needs a C++ compiler")


class Profile(Section):
    """A whole run."""

    name: str = Name
    description: str
    seed: int = Field(ge=0)
    corpus: Corpus
    corpora: dict[str, dict[str, list[str]]] = Field(description="domain -> language -> parts of data/sources.yaml")
    tasks: list[Task]
    base: Base
    arms: list[Arm] = Field(min_length=1)
    pretrain: Pretrain
    ner: Finetune
    screening: Finetune
    analysis: Analysis
    figures: Figures
    claims: Claims
    compute: Compute

    @model_validator(mode="after")
    def names_exist(self) -> Self:
        """Parents precede their arms; texts, tasks and arms that are named exist."""
        known: list[str] = []
        for arm in self.arms:
            if arm.name in known:
                raise ValueError(f"arms: {arm.name!r} stands twice; every arm needs its own name")
            if arm.parent and arm.parent not in known:
                raise ValueError(f"arms: {arm.name!r} has parent {arm.parent!r}; allowed: an arm before it, {known}")
            for domain, languages in arm.text.items():
                for language in languages:
                    if language not in self.corpora.get(domain, {}):
                        raise ValueError(f"arms: {arm.name!r} reads {domain}/{language}, which corpora does not list")
                    if languages[language] <= 0:
                        raise ValueError(f"arms: {arm.name!r}: weight of {domain}/{language} must be above 0")
            if arm.tokens and not arm.text:
                raise ValueError(f"arms: {arm.name!r} has tokens but no text")
            if 0 < arm.tokens < (step := self.pretrain.length * self.pretrain.batch_rows):
                raise ValueError(
                    f"arms: {arm.name!r} has {arm.tokens} tokens, less than one step of {step}; use 0 or more"
                )
            if not arm.tokens and not arm.parent and self.base.architecture:
                raise ValueError(f"arms: {arm.name!r} starts from scratch and needs tokens above 0")
            known.append(arm.name)
        for domain in self.base.vocabulary_from if self.base.architecture else ():
            if domain not in self.corpora:
                raise ValueError(f"base.vocabulary_from: {domain!r} is unknown; allowed: {list(self.corpora)}")
        tasks = [task.name for task in self.tasks]
        if len(set(tasks)) < len(tasks):
            raise ValueError(f"tasks: a name stands twice in {tasks}")
        if self.analysis.control not in known:
            raise ValueError(f"analysis.control: {self.analysis.control!r} is unknown; allowed: {known}")
        for item in self.claims.family:
            for what, value, allowed in (
                ("task", item.task, [task.name for task in self.tasks if task.trained]),
                ("test", item.test or item.task, tasks),
                ("arm", item.arm, known),
                ("against", item.against, [*known, "dictionary", "keywords"]),
            ):
                if value not in allowed:
                    raise ValueError(f"claims.family: {what} {value!r} is unknown; allowed: {allowed}")
        return self

    @property
    def synthetic(self) -> bool:
        """Whether any text of the run is generated; its results are then no evidence."""
        parts = {part for languages in self.corpora.values() for parts in languages.values() for part in parts}
        return "synthetic" in parts | {task.source for task in self.tasks}

    @property
    def run(self) -> str:
        """The folder of the run below runs/."""
        return self.name

    def parts(self) -> list[str]:
        """The parts and tasks of data/sources.yaml that the run reads."""
        parts = {part for languages in self.corpora.values() for parts in languages.values() for part in parts}
        return sorted((parts | {task.source for task in self.tasks}) - {"synthetic"})

    def problems(self) -> list[str]:
        """One line for each thing that this version cannot load yet; Mistake for a name that nobody knows."""
        listed = yaml.safe_load((DATA / "sources.yaml").read_text(encoding="utf-8")) if self.parts() else {}
        parts = (part for source in listed.get("sources", {}).values() for part in source.get("parts", {}))
        known = {*listed.get("tasks", {}), *parts}
        planned = listed.get("planned", {})
        for part in self.parts():
            if part not in known and part not in planned:
                raise Mistake(f"profile {self.name}: source {part!r} is unknown; allowed: {sorted(known)} or synthetic")
        lines = [f"{part} ({planned[part]})" for part in self.parts() if part in planned]
        return [f"profile {self.name}: no loader yet for {', '.join(lines)}; --dry-run works"] if lines else []

    def stages(self) -> list[Stage]:
        """The stages of the run in the order of the study; a stage's inputs are outputs of stages before it."""
        trained = [task for task in self.tasks if task.trained]
        models, fits = [self._pretrain(arm) for arm in self.arms], [self._finetune(task) for task in trained]
        return [self._start(), self._corpora(), *models, *fits, self._analysis(trained), self._figures()]

    def _speed(self, threads: int) -> dict[str, Any]:
        return {**dict(self.compute), "threads": threads}

    def _start(self) -> Stage:
        arms = [{"arm": a.name, "parent": a.parent or "-", "tokens": a.tokens} for a in self.arms]
        tasks = [{"task": t.name, "kind": t.kind, "language": t.language, "trained": t.trained} for t in self.tasks]
        values = {"run": self.run, "description": self.description, "arms": arms, "tasks": tasks}
        return Stage("00_start_here", "00_start_here", values, [], ["results/plan.csv"])

    def _corpora(self) -> Stage:
        tasks = [task.model_dump() for task in self.tasks]
        values = {"run": self.run, "corpora_wanted": self.corpora, "tasks_wanted": tasks, "seed": self.seed}
        values |= {"lexicons": lexicon_digest() if self.synthetic else "", **dict(self.corpus)}
        return Stage("01_build_corpora", "01_build_corpora", values, [], [CORPORA])

    def _pretrain(self, arm: Arm) -> Stage:
        values = {"run": self.run, "arm": arm.name, "parent": arm.parent, "text": arm.text, "tokens": arm.tokens}
        values |= {"base": {} if arm.parent else self.base.model_dump(), "seed": self.seed, **dict(self.pretrain)}
        values |= {k: v for k in ("learning_rate", "masking_rate") if (v := getattr(arm, k)) is not None}
        inputs = [CORPORA, *([f"models/{arm.parent}/training.csv"] if arm.parent else [])]
        outputs = [f"models/{arm.name}/training.csv"]
        # Every other arm waits for one without a parent: it may have the whole processor.
        threads = self.compute.threads if arm.parent else 0
        return Stage(f"02_pretrain-{arm.name}", "02_pretrain", values, inputs, outputs, self._speed(threads), threads)

    def _finetune(self, task: Task) -> Stage:
        shared = set(task.common.values())
        tests = [
            t.name for t in self.tasks if t.name == task.name or (t.kind == "ner" and shared & set(t.common.values()))
        ]
        arms = [arm.name for arm in self.arms]
        section = self.ner if task.kind == "ner" else self.screening
        values = {"run": self.run, "task": task.name, "tests": tests, "arms": arms, **dict(section)}
        inputs = [CORPORA, *(f"models/{arm}/training.csv" for arm in arms)]
        outputs = [f"predictions/{task.name}/fits.csv"]
        threads = self.compute.threads
        return Stage(f"03_finetune-{task.name}", "03_finetune", values, inputs, outputs, self._speed(threads), threads)

    def _analysis(self, trained: list[Task]) -> Stage:
        values = {"run": self.run, "arms": [arm.name for arm in self.arms], "trained": [task.name for task in trained]}
        values |= {"length": self.pretrain.length, **dict(self.analysis)}
        inputs = [f"predictions/{task.name}/fits.csv" for task in trained]
        return Stage("04_cross_lingual", "04_cross_lingual", values, inputs, ["results/metrics.csv"], {}, 0)

    def _figures(self) -> Stage:
        family = [item.model_dump() for item in self.claims.family]
        values = {"run": self.run, "synthetic": self.synthetic, "family": family, "seed": self.seed}
        values |= {"arms": [arm.name for arm in self.arms], "frequent_words": self.analysis.frequent_words}
        values |= {"draws": self.claims.draws, "confidence": self.claims.confidence, **dict(self.figures)}
        return Stage("05_figures", "05_figures", values, ["results/metrics.csv"], ["results/claims.json"])
