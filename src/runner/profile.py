"""A profile's content: every number that differs between runs, typed and checked, and the stages it asks for."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

from pydantic import Field, model_validator

from common.names import model_name
from common.project import DATA, Mistake, digest, file_digest, read_yaml
from evidence import testable, trainings
from runner import checks, sections
from texts import named, own, sources, synthetic

CORPORA = "corpora/statistics.csv"
RUN_MODELS = ("02_pretrain", "03_finetune", "04_cross_lingual")


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
    resources: dict[str, Any] = field(default_factory=dict)  # of a job on a cluster


def data_digest(parts: list[str], synthetic: bool) -> str:
    """What texts are made from in data/: a changed word, commit or count makes them stale."""
    known = sources.catalogue()
    read = sources.needed(parts)
    listed = [known["tasks"].get(part) for part in parts] + [known["sources"][id] for id in read]
    states = [(part, own.state(part)) for part in parts if sources.is_own(part)]
    files = [*DATA.glob("lexicons/*.tsv"), *DATA.glob("grammars/*.yaml")] if synthetic else []
    files += DATA.glob("*.txt") if parts else []
    return digest([listed, *states, *(file_digest(file) for file in sorted(files))])


def _left(texts: dict[str, Any], empty: set[tuple[str, str]]) -> dict[str, Any]:
    """Domain -> language -> anything, without the empty pairs and without domains that have nothing left."""
    left = {
        domain: {lang: value for lang, value in by.items() if (domain, lang) not in empty}
        if isinstance(by, dict)
        else by
        for domain, by in texts.items()
    }
    return {domain: by for domain, by in left.items() if by != {}}


def _without(task: dict[str, Any], gone: list[Any]) -> dict[str, Any]:
    """A task without arms that are gone; label budgets that no arm is left for go too."""
    there = [key for key in ("arms", "share_arms", "keep") if isinstance(task.get(key), list)]
    lists = {key: [arm for arm in task[key] if arm not in gone] for key in there}
    if task.get("arms") and lists.get("arms") == []:
        raise ValueError(f"tasks: {task.get('name')!r}: none of its arms has text left; give it another one")
    return {**task, **lists, **({} if lists.get("share_arms", True) else {"shares": []})}


class Profile(sections.Section):
    """A whole run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    description: str = Field(description="one line, for readers")
    seed: sections.Seed = Field(description="of synthetic text, the order of texts, and the bootstrap")
    corpus: sections.Corpus
    corpora: sections.Parts = Field(description="domain -> language -> parts, or own files")
    tasks: list[sections.Task] = Field(min_length=1)
    base: sections.Base
    arms: list[sections.Arm] = Field(min_length=1)
    pretrain: sections.Pretrain
    ner: sections.Finetune
    screening: sections.Finetune
    analysis: sections.Analysis
    figures: sections.Figures
    claims: sections.Claims
    compute: sections.Compute
    cluster: sections.Cluster

    @model_validator(mode="before")
    @classmethod
    def without_empty_corpora(cls, values: Any) -> Any:
        """A language whose list of parts is empty has no text of that domain: it is left out, and of the arms too.

        An arm that loses all of its text is no arm any more, nor is one that goes on from it. What has not the shape of
        a profile stays as it is, for the validation to name.
        """
        corpora = values.get("corpora") if isinstance(values, dict) else None
        if not isinstance(corpora, dict) or not all(isinstance(languages, dict) for languages in corpora.values()):
            return values
        empty = {(domain, lang) for domain, by in corpora.items() for lang, parts in by.items() if parts == []}
        if not empty or not all(isinstance(values.get(key), list) for key in ("arms", "tasks")):
            return values
        arms: list[Any] = []
        gone: list[Any] = []
        for arm in values["arms"]:
            text = arm.get("text") if isinstance(arm, dict) else None
            left = {**arm, "text": _left(text, empty)} if isinstance(text, dict) else arm
            if isinstance(arm, dict) and ((text and not left["text"]) or arm.get("parent") in gone):
                gone.append(arm.get("name"))
            else:
                arms.append(left)
        tasks = [_without(task, gone) if isinstance(task, dict) else task for task in values["tasks"]]
        return {**values, "corpora": _left(corpora, empty), "arms": arms, "tasks": tasks}

    @model_validator(mode="after")
    def names_exist(self) -> Self:
        """Parents precede their arms; texts, tasks and arms that are named exist, and every domain has its size."""
        if isinstance(sizes := self.corpus.characters, dict) and (lacking := sorted(set(self.corpora) - set(sizes))):
            raise ValueError(f"corpus.characters: {lacking[0]!r} is missing; give one number, or one for each domain")
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
            if arm.random_weights and (arm.tokens or not arm.parent):
                raise ValueError(f"arms: {arm.name!r} has random_weights; give it a parent and tokens: 0")
            if arm.parent and arm.parent not in self.learnt:
                raise ValueError(f"arms: {arm.name!r} goes on from {arm.parent!r}, which learns nothing")
            known.append(arm.name)
        for domain in self.base.vocabulary_from if self.base.architecture else ():
            if domain not in self.corpora:
                raise ValueError(f"base.vocabulary_from: {domain!r} is unknown; allowed: {list(self.corpora)}")
        for task in self.tasks:
            for arm in (*task.arms, *task.share_arms, *task.keep):
                if arm not in (allowed := known if arm in task.arms else task.arms or known):
                    raise ValueError(f"tasks: {task.name!r} names arm {arm!r}; allowed: {allowed}")
            if bool(task.shares) != bool(task.share_arms):
                raise ValueError(f"tasks: {task.name!r} needs both shares and share_arms, or neither")
        if not any(task.trained for task in self.tasks):
            raise ValueError("tasks: none of them is trained; a run needs one")
        tasks = [task.name for task in self.tasks]
        if len(set(tasks)) < len(tasks):
            raise ValueError(f"tasks: a name stands twice in {tasks}")
        fitted = [arm for arm in self.learnt if any(t.trained and arm in (t.arms or known) for t in self.tasks)]
        if self.analysis.control not in fitted:
            raise ValueError(f"analysis.control: {self.analysis.control!r} is fine-tuned on no task; allowed: {fitted}")
        checks.between(self)
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
        """The parts and tasks of data/sources.yaml, and the own files, that the run reads."""
        parts = {part for languages in self.corpora.values() for parts in languages.values() for part in parts}
        terms = set() if "synthetic" in parts else {*sources.PARALLEL.values()}  # `corpora.terms`
        return sorted((parts | terms | {task.source for task in self.tasks}) - {"synthetic"})

    def check_parts(self) -> None:
        """Mistake for a text or task that can never be read as asked.

        Of own files it is only seen that they are there; `check_own` reads them.
        """
        for domain, languages in self.corpora.items():
            for language, parts in languages.items():
                for part in parts:
                    self._readable(f"corpora.{domain}.{language}", "parts", part, language)
        for task in self.tasks:
            self._readable(f"tasks.{task.name}", "tasks", task.source, task.language)
            public = not sources.is_own(task.source) and task.source != "synthetic"
            if task.kind == "screening" and public:
                raise Mistake(f"profile {self.name}: tasks.{task.name}: {task.source!r} has entities, no patients")
            if task.kind == "ner" and not sources.is_own(task.source):
                self._labelled(task, named.labels(task.source))
            for other in self._tests(task) if task.trained else ():
                if pair := named.without_distance(task.language, other.language):
                    what = f"{task.name} has labels in common with {other.name}, but data/distances.yaml has no {pair}"
                    raise Mistake(f"profile {self.name}: tasks.{task.name}.common: {what}; add it, or leave out common")

    def _readable(self, where: str, kind: str, name: str, language: str) -> None:
        """Mistake unless own files are there, or data/sources.yaml has such "parts" or "tasks" in this language."""
        if reason := named.unreadable(kind, name, language):
            raise Mistake(f"profile {self.name}: {where}: {reason}")

    def _labelled(self, task: sections.Task, labels: set[str]) -> None:
        """Mistake unless a task of entities has the labels that it shares, and a probe a word of each and of none."""
        if unknown := sorted(set(task.common) - labels):
            raise Mistake(
                f"profile {self.name}: tasks.{task.name}.common: {task.source} has no label {unknown[0]!r}; "
                f"allowed: {', '.join(sorted(labels))}"
            )
        if task.trained and self.analysis.probe_words <= len(labels):
            what = f"{self.analysis.probe_words} leaves {task.name} no word for each of its labels and for none"
            raise Mistake(f"profile {self.name}: analysis.probe_words: {what}; give {len(labels) + 1} or more")

    def check_own(self) -> None:
        """Read all own files; Mistake for the first fault in them, or what does not fit their labels."""
        for language, parts in (item for by in self.corpora.values() for item in by.items()):
            for part in filter(sources.is_own, parts):
                own.check(part, language)
        for task in self.tasks:
            if sources.is_own(task.source):
                parts = own.task(task.source, task.kind, task.language, task.trained, task.documents)
                if task.kind == "ner":
                    self._labelled(task, own.labels(item for items in parts.values() for item in items))
            if task.kind == "screening" and task.shares:
                of_own = sources.is_own(task.source)
                made = parts["train"] if of_own else synthetic.patients(task.documents["train"], self.seed, "train")
                checks.budgets(self, task, [*made])

    def stages(self) -> list[Stage]:
        """The stages of the run in the order of the study; a stage's inputs are outputs of stages before it."""
        self.check_parts()  # before anything looks for them
        trained = [task for task in self.tasks if task.trained]
        models = [self._pretrain(arm, number) for arm in self.arms for number in range(1, arm.copies + 1)]
        fits = [self._finetune(task) for task in trained]
        stages = [self._start(), self._corpora(), *models, *fits, self._analysis(trained), self._figures()]
        return [replace(stage, resources=self.cluster.resources(stage.notebook in RUN_MODELS)) for stage in stages]

    def _speed(self, threads: int) -> dict[str, Any]:
        return {**dict(self.compute), "threads": threads}

    def _start(self) -> Stage:
        parents = {a.name: "random weights" if a.random_weights else a.parent or "-" for a in self.arms}
        arms = [{"arm": a.name, "parent": parents[a.name], "tokens": a.tokens} for a in self.arms]
        tasks = [{"task": t.name, "kind": t.kind, "language": t.language, "trained": t.trained} for t in self.tasks]
        values = {"run": self.run, "description": self.description, "arms": arms, "tasks": tasks}
        values |= {"claims": testable.claims(self.model_dump()), "parts": self.parts()}
        return Stage("00_start_here", "00_start_here", values, [], ["results/plan.csv"])

    def _corpora(self) -> Stage:
        tasks = [task.model_dump(exclude={"arms", "shares", "share_arms", "keep"}) for task in self.tasks]
        values = {"run": self.run, "corpora_wanted": self.corpora, "tasks_wanted": tasks, "seed": self.seed}
        values |= {"data": data_digest(self.parts(), self.synthetic), **dict(self.corpus)}
        if isinstance(most := self.corpus.characters, int):
            values["characters"] = dict.fromkeys(self.corpora, most)
        return Stage("01_build_corpora", "01_build_corpora", values, [], [CORPORA])

    def _pretrain(self, arm: sections.Arm, number: int) -> Stage:
        """Copy `number` of an arm, from the same copy of its parent: another order of text, other masks."""
        name, seed = model_name(arm.name, number, arm.copies), self.pretrain.seed + number - 1
        parent = model_name(arm.parent, number, self._copies()[arm.parent]) if arm.parent else ""
        values = {"run": self.run, "arm": name, "parent": parent, "text": arm.text, "tokens": arm.tokens}
        values |= {"passes": arm.passes, "random_weights": arm.random_weights}
        files = {"files": checks.state(self.base.folder)} if self.base.folder else {}
        values |= {"base": {} if arm.parent else self.base.model_dump() | files, **dict(self.pretrain), "seed": seed}
        values |= {k: v for k in ("learning_rate", "masking_rate") if (v := getattr(arm, k)) is not None}
        inputs = [CORPORA, *([f"models/{parent}/training.csv"] if parent else [])]
        outputs = [f"models/{name}/training.csv"]
        # Every other arm waits for one without a parent: it may have the whole processor.
        threads = self.compute.threads if arm.parent else 0
        return Stage(f"02_pretrain-{name}", "02_pretrain", values, inputs, outputs, self._speed(threads), threads)

    @property
    def learnt(self) -> list[str]:
        """The arms but for those with random weights, which are scored beside them and say nothing of adaptation."""
        return [arm.name for arm in self.arms if not arm.random_weights]

    def _copies(self) -> dict[str, int]:
        return {arm.name: arm.copies for arm in self.arms}

    def _tests(self, task: sections.Task) -> list[sections.Task]:
        """A task itself, and those that have labels in common with it."""
        shared = set(task.common.values())
        return [t for t in self.tasks if t.name == task.name or shared & set(t.common.values())]

    def _finetune(self, task: sections.Task) -> Stage:
        tests = [test.name for test in self._tests(task)]
        arms, copies = task.arms or [arm.name for arm in self.arms], self._copies()
        section = self.ner if task.kind == "ner" else self.screening
        values = {"run": self.run, "task": task.name, "tests": tests, "arms": arms, **dict(section)}
        values |= {"copies": {arm: copies[arm] for arm in arms if copies[arm] > 1}}
        values |= {"shares": task.shares, "share_arms": task.share_arms, "keep": task.keep}
        models = dict.fromkeys(model_name(arm, seed, copies[arm]) for arm in arms for seed in section.seeds)
        inputs = [CORPORA, *(f"models/{model}/training.csv" for model in models)]
        outputs = [f"predictions/{task.name}/metrics.csv"]
        speed, threads = self._speed(self.compute.threads), self.compute.threads * self.compute.fits
        return Stage(f"03_finetune-{task.name}", "03_finetune", values, inputs, outputs, speed, threads)

    def _analysis(self, trained: list[sections.Task]) -> Stage:
        values = {"run": self.run, "arms": self.learnt, "trained": [task.name for task in trained]}
        distances = read_yaml(DATA / "distances.yaml")
        values |= {"length": self.pretrain.length, "data": digest(distances), **dict(self.analysis)}
        inputs = [f"models/{arm}/training.csv" for arm in self.learnt]  # those that no task learns from, too
        inputs += [f"predictions/{task.name}/metrics.csv" for task in trained]
        return Stage("04_cross_lingual", "04_cross_lingual", values, inputs, ["results/metrics.csv"], {}, 0)

    def _figures(self) -> Stage:
        family = [self._declared(item) for item in self.claims.family]
        stated = {name: claim.text for name, claim in self.claims.stated.items()}
        values = {"run": self.run, "synthetic": self.synthetic, "stated": stated, "family": family, "seed": self.seed}
        values |= {"arms": self.learnt, "frequent_words": self.analysis.frequent_words}
        values |= {"copies": {arm: copies for arm, copies in self._copies().items() if copies > 1}}
        few = [task for task in self.tasks if task.trained and task.shares]
        values |= {"label_budgets": [{"task": t.name, "shares": t.shares, "arms": t.share_arms} for t in few]}
        values |= {"again": trainings.elsewhere(self.run, self.model_dump(mode="json")), "draws": self.claims.draws}
        values |= {"control": self.analysis.control, "confidence": self.claims.confidence, **dict(self.figures)}
        return Stage("05_figures", "05_figures", values, ["results/metrics.csv"], ["results/claims.json"])

    def _declared(self, item: sections.Comparison) -> dict[str, Any]:
        """A comparison without what it leaves at its default, and why it cannot be made, if it cannot."""
        reason = testable.reason(self.model_dump(), item.model_dump())
        return item.model_dump(exclude_defaults=True) | ({"reason": reason} if reason else {})
