"""The sections of a profile: every value typed, bounded and checked by itself."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from evidence import baselines
from texts import own_lines, repeats

# Tables are read back with these as something else: a baseline or a folder of ours, no value, a truth value, a number.
RESERVED = (*baselines.NAMES, "baseline", "shares", "nan", "null", "none", "na", "true", "false", "inf", "infinity")


def _called(pattern: str, allowed: str) -> AfterValidator:
    """Refuse a name that does not fit the pattern, or that is read back from a table as something else."""

    def called(name: str) -> str:
        if name in RESERVED or not re.fullmatch(pattern, name):
            reserved = f", but none of {', '.join(RESERVED)}" if name in RESERVED else ""
            raise ValueError(f"{name!r} cannot be used; allowed: {allowed}{reserved}")
        return name

    return AfterValidator(called)


def _once(values: list[Any]) -> list[Any]:
    """Refuse what stands twice: it would be made, and count, as two."""
    if again := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"{again[0]!r} stands twice; take one out")
    return values


def _sizes(value: Any) -> Any:
    """Refuse, before any type is tried, what is neither a number of characters nor one for each domain."""
    numbers = list(value.values()) if isinstance(value, dict) else [value]
    if not numbers or any(type(number) is not int or number <= 0 for number in numbers):
        raise ValueError(f"must be a whole number above 0, or one for each domain; found {value}")
    return value


Once = AfterValidator(_once)
Names = Annotated[list[str], Once]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Name = Annotated[str, _called("[a-z][a-z0-9_-]*", "small letters, digits, _ and -, a letter first")]
Domain = Annotated[str, _called("[a-z][a-z0-9_]*", "small letters, digits and _, a letter first")]
Language = Annotated[str, _called("[a-z]{2,3}", "two or three small letters, such as nl")]
Asked = Annotated[str, Field(pattern=r"^[\w.,:&|*@+-]*$")]
Text = dict[Domain, dict[Language, float]]
Parts = dict[Domain, dict[Language, Names]]


class Section(BaseModel):
    """Part of a profile; an unknown key or a wrong type is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Corpus(Section):
    """How much domain text is kept, and when two documents count as the same."""

    characters: Annotated[int | dict[str, int], BeforeValidator(_sizes)] = Field(
        description="characters kept for each domain and language, at most; or domain -> so many for each language"
    )
    heldout_characters: int = Field(gt=0, description="characters set aside for the held-out loss")
    # The index of 64 permutations finds nothing nearer to the same.
    near_duplicate: float = Field(gt=0, le=repeats.MOST_ALIKE, description="Jaccard similarity of near duplicates")
    remove_leaks: bool = Field(description="remove what repeats task documents; if not, the gate stops the run there")


class Task(Section):
    """A task's data; `trained: false` makes it a test set only."""

    name: Name = Field(description="as results have it")
    kind: Literal["ner", "screening"] = Field(description="entities, or patients to be included")
    language: Language = Field(description="of its texts")
    source: str = Field(
        default="synthetic", description="of data/sources.yaml, or a folder of your own, with a / in it"
    )
    documents: dict[Literal["train", "dev", "test"], Annotated[int, Field(gt=0)]] = Field(
        default={}, description="items a part, at most"
    )
    common: dict[str, Annotated[str, AfterValidator(own_lines.entity_label)]] = Field(
        default={}, description="own label -> label shared with other tasks"
    )
    trained: bool = Field(default=True, description="whether models learn it, and are not only tested on it")
    arms: Names = Field(default=[], description="arms that are fine-tuned on it; none: all")
    shares: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Once] = Field(
        default=[], description="of the training items, that models learn from besides all: label budgets"
    )
    share_arms: Names = Field(default=[], description="arms that learn from these shares")
    keep: Names = Field(default=[], description="arms whose fine-tuned model of the first seed is kept, for new texts")

    @model_validator(mode="after")
    def says_what_it_can(self) -> Self:
        """Screening has no labels to share, and no model but its own to test."""
        if self.kind == "screening" and (self.common or not self.trained):
            what = "common" if self.common else "trained: false"
            raise ValueError(f"{self.name!r}: {what} is for kind ner; leave it out")
        if not self.trained and (self.shares or self.share_arms or self.keep):
            raise ValueError(f"{self.name!r}: is not trained; leave out shares, share_arms and keep")
        return self

    @model_validator(mode="after")
    def can_be_drawn(self) -> Self:
        """Synthetic tasks need documents for their parts, and screening is in Dutch."""
        if self.source == "synthetic":
            needed = ("train", "dev", "test") if self.trained else ("test",)
            if lacking := [part for part in needed if not self.documents.get(part)]:
                raise ValueError(f"{self.name!r} has no documents for {lacking[0]}; give it some")
            if self.kind == "screening" and min(self.documents.values()) < 2:
                raise ValueError(f"{self.name!r} has a part of 1 patient; give it 2, one of each label")
            if self.kind == "screening" and self.language != "nl":
                raise ValueError(f"{self.name!r}: synthetic screening is Dutch, language must be nl")
        return self


class Base(Section):
    """Where the first model comes from: a configuration to start from scratch, the hub, or a folder."""

    architecture: Literal["", "bert", "modernbert"] = Field(default="", description="model type, for one from scratch")
    config: dict[str, JsonValue] = Field(default={}, description="configuration values of that architecture")
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
        if self.architecture and not self.vocabulary_from:
            raise ValueError("vocabulary_from is empty; give a domain whose text the tokenizer learns from")
        if not self.architecture and (self.config or self.vocabulary):
            raise ValueError("config and vocabulary are for a base from scratch; leave them out")
        if bool(self.hub) != bool(self.revision):
            raise ValueError("a hub model, and no other, needs its revision, a commit of 40 hexadecimal digits")
        return self


class Arm(Section):
    """One model of the experiment: its parent, the text it sees, and how much of it."""

    name: Name = Field(description="as results have it")
    parent: str = Field(default="", description="the arm it goes on from; empty: it begins as `base` says")
    text: Text = Field(default={}, description="domain -> language -> weight, above 0")
    tokens: int = Field(ge=0, description="word pieces of training text")
    passes: int = Field(default=1, ge=1, description="times it reads a text; more leave more new text to its children")
    random_weights: bool = Field(default=False, description="its parent's weights drawn anew, with no text: a control")
    copies: int = Field(default=1, ge=1, le=99, description="pre-training seeds; fine-tuning seeds use them in turn")
    learning_rate: float | None = Field(default=None, gt=0, description="its own; else that of pretrain")
    masking_rate: float | None = Field(default=None, gt=0, lt=1, description="its own; else that of pretrain")


class Pretrain(Section):
    """Masked-language modelling."""

    seed: Seed = Field(description="of first weights, masks and order; each further copy of an arm adds one")
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

    seeds: Annotated[list[Seed], Once] = Field(min_length=1, description="of first weights and order; a fit each")
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
    frequent_words: int = Field(gt=0, description="most frequent words of each corpus whose overlap is measured")
    rows: int = Field(gt=0, description="rows from all over each task's text, for the masked-token loss")
    terms: int = Field(gt=0, description="parallel terms for CKA and retrieval")
    probe_words: int = Field(gt=0, description="words that a probe of a layer learns from and is tested on")


class Figures(Section):
    """How the figures look."""

    width_mm: int = Field(gt=40, lt=400, description="millimetres")
    dpi: int = Field(ge=50, le=1200, description="dots an inch of PNG files")
    formats: Annotated[list[Literal["png", "svg", "pdf"]], Once] = Field(description="of the files; png and svg always")

    @model_validator(mode="after")
    def shown(self) -> Self:
        """The report shows png files, the paper svg files."""
        if lacking := {"png", "svg"} - set(self.formats):
            raise ValueError(f"formats: {min(lacking)} is missing; the report needs png, the paper svg")
        return self


class Comparison(Section):
    """One member of the family of comparisons, declared before the run."""

    claim: str = Field(description="that it belongs to")
    task: str = Field(description="that both arms are fine-tuned on")
    test: str = Field(default="", description="task on whose test part; empty: its own")
    arm: str = Field(description="of which the claim says that it is better")
    against: str = Field(description="another arm, or the task's baseline")
    metric: Literal["f1", "recall", "auprc"] = Field(description="what is compared")
    mentions: Literal["all", "unseen", "seen"] = Field(default="all", description="in training; with recall")

    @model_validator(mode="before")
    @classmethod
    def own_test(cls, values: Any) -> Any:
        """A task's own test, named or not, in one form."""
        named = isinstance(values, dict) and "task" in values and values.get("test") == values["task"]
        return {**values, "test": ""} if named else values

    @model_validator(mode="after")
    def part_of_recall(self) -> Self:
        """A predicted entity that is wrong belongs to no group of gold mentions: precision has no part."""
        if self.mentions != "all" and self.metric != "recall":
            raise ValueError(f"mentions {self.mentions!r} go with metric recall, found {self.metric!r}")
        if self.arm == self.against:
            raise ValueError(f"arm {self.arm!r} is compared with itself")
        return self


class Stated(Section):
    """A claim: in our words, what the paper says, and what its comparisons need."""

    text: str
    paper: str
    own_language: bool = Field(description="adapted arms must have read medical text in the language of the task")


class Claims(Section):
    """What is claimed, the rule for a verdict, the family of comparisons and how its uncertainty is measured."""

    stated: dict[str, Stated] = Field(description="claim -> what it says")
    rule: dict[Literal["supported", "contradicted", "inconclusive", "not testable here"], str] = Field(
        description="verdict -> when it is given"
    )
    family: list[Comparison] = Field(description="comparisons; a name in claims.yaml, or a list of your own")
    # A standard error out of n draws is itself off by 1 / sqrt(2 n): 3 % with 500.
    draws: int = Field(ge=500, description="bootstrap draws")
    confidence: float = Field(gt=0.5, lt=1, description="of intervals; what it leaves is the level of verdicts")

    @model_validator(mode="after")
    def claims_are_stated(self) -> Self:
        """Every comparison belongs to a claim."""
        for item in self.family:
            if item.claim not in self.stated:
                raise ValueError(f"family: claim {item.claim!r} is unknown; allowed: {', '.join(self.stated)}")
            if self.family.count(item) > 1:
                raise ValueError(f"family: claim {item.claim!r} has a comparison twice, on task {item.task!r}")
        return self


class Compute(Section):
    """What changes the speed of a run, and its results as another order of additions or another seed does."""

    threads: int = Field(ge=0, description="processor threads a stage, or a fit of several at a time; 0: all")
    processes: int = Field(gt=0, description="processes that train a model together, a GPU each; one where fits > 1")
    fits: int = Field(gt=0, description="fits of a task at a time, each in a process of its own, GPUs in turn")
    checkpoint_seconds: int = Field(ge=0, description="seconds between checkpoints")
    save_memory: bool = Field(description="compute a layer's inner values again in the backward pass, not keep them")
    compiled: bool = Field(description="torch.compile in pre-training, not of whole words; needs a C++ compiler")


class Cluster(Section):
    """What a stage asks Slurm for, where stages run as its jobs (--executor slurm); nothing else reads it."""

    account: Asked = Field(description="empty: the user's own")
    partition: Asked = Field(description="empty: the cluster's default")
    qos: Asked = Field(description="quality of service; empty: none is named")
    constraint: Asked = Field(description="what a machine must have; empty: nothing")
    cores: int = Field(gt=0, description="of a stage that runs models; the others have one")
    gpus: int = Field(ge=0, description="of a stage that runs models")
    gpu_model: Asked = Field(description="empty: any")
    memory_mb: int = Field(gt=0, description="main memory of a stage")
    minutes: int = Field(gt=0, description="a stage that takes longer is stopped; started again, it goes on")

    def resources(self, models: bool) -> dict[str, Any]:
        """What Snakemake asks Slurm for, for a stage that runs models or does not."""
        named = {"slurm_account": self.account, "slurm_partition": self.partition, "qos": self.qos}
        asked = {"mem_mb": self.memory_mb, "runtime": self.minutes, **named, "constraint": self.constraint}
        if models:
            asked |= {"cpus_per_task": self.cores, "gpu": self.gpus, "gpu_model": self.gpu_model if self.gpus else ""}
        return {name: value for name, value in asked.items() if value}
