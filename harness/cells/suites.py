"""Suites: which networks are trained on which data sets, and which policies they are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from backbones.errors import BackboneError
from backbones.registry import entry
from harness.cells.specs import Spec, parse_spec
from harness.cells.tasks import task_names
from harness.errors import UserError, unknown_name
from policies.errors import PolicyError

Scalar = bool | int | float | str
Argument = Scalar | tuple[int, ...]
"""What a backbone is built with; a list of whole numbers is a choice of exits."""
Protocol = Literal["calibration", "published"]
_NAME = r"^[a-z0-9][a-z0-9_-]*$"


class BackboneSpec(Spec):
    """A network with exits under the name it has in cell ids.

    Attributes:
        builder: Name in the registry of backbones, which knows how to build it and what must be installed.
        n_exits: Exits of the built network, the last layer included; stated so that a plan needs no network.
        arguments: Passed to the builder as they are.
        variant_of: Another network of the suite of which this is the same, trained in another way. Its cells are
            compared with that one's in the study of recipes; the studies across cells leave them out, since they
            would count a data set once a recipe.
    """

    builder: str
    n_exits: int = Field(ge=1)
    arguments: dict[str, Argument] = Field(default_factory=dict)
    variant_of: str | None = None


class OptimiserSpec(Spec):
    """The options of ``harness.cache.train.TrainOptions`` by the same names; the seed is the cell's."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    head_learning_rate: float | None = Field(default=None, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    clip_norm: float = Field(default=1.0, gt=0)
    patience: int | None = Field(default=None, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    precise_norm: bool = False


class AdapterSpec(Spec):
    """The fields of ``backbones.adapters.LoraSettings`` by the same names."""

    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=16, ge=1)


class TrainingSpec(Spec):
    """How the exits of a cell are trained.

    Attributes:
        recipe: Name of the loss that trains all exits.
        options: Of the optimiser.
        adapters: Their size; None trains all weights.
    """

    recipe: str = "joint"
    options: OptimiserSpec
    adapters: AdapterSpec | None = None


class CellGroup(Spec):
    """One network on some data sets with some seeds; every combination is a cell.

    Attributes:
        backbone: Key of the suite's ``backbones``.
        tasks: Names of data sets.
        seeds: Of the model; the splits of a data set do not depend on them, so seeds are compared on the same samples.
        training: How the exits are trained.
        arguments: Added to the backbone's, e.g. the image size of these data sets.
        features: Whether the pooled state of every exit is cached too, for policies that read it.
    """

    backbone: str
    tasks: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    training: TrainingSpec
    arguments: dict[str, Argument] = Field(default_factory=dict)
    features: bool = False


class OperatingGroup(Spec):
    """Policies that get their operating point in one way.

    Attributes:
        rule: How a threshold is chosen on calibration, e.g. ``match_final(tolerance=0)``; None: the specs are complete.
        policies: Specs, without their threshold where a rule chooses it.
        live: Whether they are confirmed on the real networks too; the long tail of a catalogue is only replayed.
        protocol: ``published`` picks on the reported split instead, as papers do, and says so in every table.
        task: Compare them on cells of this task only; None: on all, where a rule that is undefined says so in its row.
    """

    rule: str | None = None
    policies: tuple[str, ...] = Field(min_length=1)
    live: bool = True
    protocol: Protocol = "calibration"
    task: Literal["classification", "regression"] | None = None


class PolicyChoice(Spec):
    """Which policies are compared, and how each gets its operating point.

    Attributes:
        static_exits: Run ``fixed(exit=k)`` for every exit k.
        fixed: Complete policy specs, run as they are (published values).
        operating: Policies by how they get their operating point.
    """

    static_exits: bool = True
    fixed: tuple[str, ...] = ()
    operating: tuple[OperatingGroup, ...] = ()


class SuiteSpec(Spec):
    """Everything one ``run --suite`` does.

    Attributes:
        name: Of the suite and its file.
        title: For people.
        training_takes: How long all its cells train, where that is too long for ``run --all``, which then leaves cells
            that are not collected yet alone; None: they are trained whenever they are missing.
        backbones: Its networks by the name in cell ids.
        cells: What is trained on what.
        policies: What is compared.
    """

    name: str = Field(pattern=_NAME)
    title: str
    training_takes: str | None = None
    backbones: dict[str, BackboneSpec]
    cells: tuple[CellGroup, ...] = Field(min_length=1)
    policies: PolicyChoice

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, backbone in self.backbones.items():
            if backbone.variant_of is not None and backbone.variant_of not in self.backbones:
                raise ValueError(
                    f"backbone '{name}' is a variant of '{backbone.variant_of}', which has no table "
                    f"[backbones.{backbone.variant_of}]; add it"
                )
        seen: set[str] = set()
        for group in self.cells:
            if group.backbone not in self.backbones:
                raise ValueError(f"backbone '{group.backbone}' has no table [backbones.{group.backbone}]; add it")
            for cell in _combinations(group):
                if cell in seen:
                    raise ValueError(f"cell '{cell}' is named twice; leave one out")
                seen.add(cell)
        return self


class PolicyRun(NamedTuple):
    """One policy of a suite.

    Attributes:
        spec: Canonical policy spec.
        rule: How its threshold is chosen on calibration; None: it has one, or needs none.
        live: Whether it is confirmed on the real network.
        protocol: Where the rule picks, see ``OperatingGroup``.
    """

    spec: str
    rule: str | None = None
    live: bool = True
    protocol: Protocol = "calibration"


def suite_names() -> tuple[str, ...]:
    """Return the name of every suite that has a file in ``suites/``, sorted."""
    return tuple(sorted(_suite_files()))


def load_suite(name: str) -> SuiteSpec:
    """Return a suite; its policies are checked when they are asked for, see ``suite_policies``.

    Raises:
        UserError: Nobody knows that name, or its file is wrong or names an unknown data set or builder.
    """
    files = _suite_files()
    if name not in files:
        raise unknown_name("suite", name, files)
    where = f"harness/cells/suites/{name}.toml"
    suite = parse_spec(SuiteSpec, files[name], where=where)
    known_tasks = task_names()
    for index, group in enumerate(suite.cells):
        for task in group.tasks:
            if task not in known_tasks:
                raise UserError(f"{where}, cells[{index}].tasks: {unknown_name('dataset', task, known_tasks)}")
    for key, backbone in suite.backbones.items():
        try:
            entry(backbone.builder)
        except BackboneError as error:
            raise UserError(f"{where}, backbones.{key}.builder: {error}") from error
    if suite.name != name:
        raise UserError(f"{where} names the suite '{suite.name}': file and name must agree")
    return suite


def suite_policies(suite: SuiteSpec, n_exits: int, task: str | None = None) -> tuple[PolicyRun, ...]:
    """Return the policies of a suite for networks of ``n_exits`` exits, each once, in the order of the file.

    A network with one exit leaves nothing to decide: it runs ``final`` alone.

    Args:
        suite: What is asked for.
        n_exits: Of the network.
        task: Classification or regression; None: the policies of both.

    Raises:
        UserError: A policy or parameter is unknown, or a value is outside its domain; names suite and key.
    """
    if n_exits == 1:
        return (PolicyRun(_canonical("final", suite.name, "fixed")),)
    choice = suite.policies
    static = [f"fixed(exit={exit_number})" for exit_number in range(1, n_exits + 1)] if choice.static_exits else []
    runs = [PolicyRun(_canonical(text, suite.name, "static_exits")) for text in static]
    runs += [PolicyRun(_canonical(text, suite.name, "fixed")) for text in choice.fixed]
    for group in choice.operating:
        if task is not None and group.task not in (None, task):
            continue
        runs += [
            PolicyRun(_canonical(text, suite.name, "operating"), group.rule, group.live, group.protocol)
            for text in group.policies
        ]
    return tuple(dict.fromkeys(runs))


def _canonical(text: str, suite: str, key: str) -> str:
    # The catalogue imports every rule, which a plan or a help text does not need.
    from policies.spec import canonical, parse_policy

    try:
        return canonical(parse_policy(text))
    except PolicyError as error:
        raise UserError(f"suite '{suite}', policies.{key}: {error}") from error


def cell_id(backbone: str, dataset: str, seed: int) -> str:
    """Return the id of a cell, which is also the name of its folders."""
    return f"{backbone}.{dataset}.s{seed}"


def _combinations(group: CellGroup) -> Iterator[str]:
    for task in group.tasks:
        for seed in group.seeds:
            yield cell_id(group.backbone, task, seed)


def _suite_files() -> dict[str, str]:
    folder = resources.files("harness.cells").joinpath("suites")
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }
