"""What the report of a fit of SubSelNet is written from: plain numbers and names, gathered by whoever has the fit.

Numbers of cells stand in tuples, one a cell, in one order. Nothing here judges: gates are in
`raysubset.report.subselnet_gates`, sentences and tables in `subselnet_sections` and `subselnet_page`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raysubset.report.intervals import Estimate

UNIFORM, GIBBS, TRANSDUCTIVE, INDUCTIVE, HYBRID = "uniform", "gibbs", "transductive", "inductive", "hybrid"
FACILITY_LOCATION = "facility-location"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingFacts:
    """What was fitted and compared, on what.

    Attributes:
        name, command, started, device, seed, versions: Of the fit.
        dataset, dataset_source, dataset_note: Of the data.
        n_train, n_validation, n_test, num_classes, input_shape: Its rows, classes and one input.
        limit, shrink: What it was cut to; None and 1 for not at all.
        train_cells, check_cells, unseen_cells: Cells of the three folds.
        channels, stack_cells: Of every network; of a genotype's all cells, not those of a stack.
        epochs, subset_epochs: Of a training on all rows, and on a subset.
        features, feature_columns: Where the rows' features came from, and how many.
        encoder_cells: Cells the encoder learned from.
        approximator: Its kind.
        supervisor_accuracy: Mean over the supervisors, on the rows they were trained on, in [0, 1].
        full_accuracy: Mean test accuracy of the unseen cells trained on all rows.
        entropy, trained_entropy: lambda of the samplers compared, and of the inductive one's training.
        trained_ratios: Sizes of subset the inductive sampler was trained for.
        methods, ratios, seeds: Compared.
        space: Of the cells, "nb101" or "darts".
    """

    name: str
    command: str
    started: str
    device: str
    seed: int
    versions: Mapping[str, str]
    dataset: str
    dataset_source: str
    dataset_note: str
    n_train: int
    n_validation: int
    n_test: int
    num_classes: int
    input_shape: tuple[int, ...]
    limit: int | None
    shrink: int
    train_cells: int
    check_cells: int
    unseen_cells: int
    channels: int
    stack_cells: int
    epochs: int
    subset_epochs: int
    features: str
    feature_columns: int
    encoder_cells: int
    approximator: str
    supervisor_accuracy: float
    full_accuracy: float
    entropy: float
    trained_entropy: float
    trained_ratios: tuple[float, ...]
    methods: tuple[str, ...]
    ratios: tuple[float, ...]
    seeds: int
    space: str = "nb101"


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """How cells can be read back from their vectors, on held-out cells.

    Attributes:
        op_accuracy, edge_accuracy: Shares read rightly.
        edge_baseline: Edge accuracy of who says that there is no edge.
        spread: Mean standard deviation of the vectors' entries over cells.
        twins: Greatest difference between the vectors of the complete cell of 4 vertices with (3x3, pool) and with
            (pool, 3x3), in standard deviations; 0 for an encoder that cannot tell them apart. None where the space
            of cells has no such two.
    """

    op_accuracy: float
    edge_accuracy: float
    edge_baseline: float
    spread: float
    twins: float | None


@dataclass(frozen=True, slots=True)
class KlFacts:
    """Mean KL over all rows, in nats, of every unseen cell; see `raysubset.subselnet.kl_table`.

    Attributes:
        cells: Names.
        model, permuted: The approximator's, with the cell's own vectors and with another's.
        class_prior, label_conditional, per_instance: Of B0, B1 and B2, which ignore the architecture.
    """

    cells: tuple[str, ...]
    model: tuple[float, ...]
    permuted: tuple[float, ...]
    class_prior: tuple[float, ...]
    label_conditional: tuple[float, ...]
    per_instance: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ObjectiveFacts:
    """E[loss] - lambda entropy per pick, in nats, at one size of subset.

    Attributes:
        ratio: b / n.
        draws: Behind each number.
        values: `UNIFORM`, `GIBBS`, `TRANSDUCTIVE`, `INDUCTIVE` -> one number an unseen cell; lower is better.
    """

    ratio: float
    draws: int
    values: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class SubsetFacts:
    """Subsets drawn anew for the unseen cells, at one size.

    Attributes:
        ratio, n, b: That size.
        alone: Method -> mean seconds a cell, one after another in one process, prediction included. Facility
            location is one number for all cells, absent where it was not timed.
        checked: Draws whose rows were checked; ``faults``: what was wrong with them, in words.
        distant: The unseen cells farthest apart in the encoder's space.
        between: Method -> mean Jaccard coefficient of the subsets of those cells.
        same: (method, method) -> mean Jaccard coefficient over the unseen cells of one draw of each for the same
            cell; of a method and itself, of two draws.
    """

    ratio: float
    n: int
    b: int
    alone: Mapping[str, float]
    checked: int
    faults: tuple[str, ...]
    distant: tuple[str, ...]
    between: Mapping[str, float]
    same: Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class QueryCost:
    """What one method costs at one size.

    Attributes:
        method, ratio: Which.
        once_s: Seconds paid before its first query.
        select_s, train_s: Mean seconds of a query.
    """

    method: str
    ratio: float
    once_s: float
    select_s: float
    train_s: float


@dataclass(frozen=True, slots=True)
class CostFacts:
    """Seconds.

    Attributes:
        stages: Of the fit, what is paid once; those of the supervisors are summed over trainings.
        full_s: Mean of training an unseen cell on all rows.
        train_cells, test_cells: Supervisors, and cells queried.
        queries: By ratio and method.
    """

    stages: Mapping[str, float]
    full_s: float
    train_cells: int
    test_cells: int
    queries: tuple[QueryCost, ...]


@dataclass(frozen=True, slots=True)
class RankingFacts:
    """How a method's subsets rank the unseen cells.

    Attributes:
        method, ratio: Which; "full" and 1 is training on all rows, judged by its validation accuracy.
        tau, interval: Kendall's tau-b to the test accuracies on all data.
        jaccard, k: Of the k best by either.
    """

    method: str
    ratio: float
    tau: float
    interval: Estimate | None
    jaccard: float
    k: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """All of it.

    Attributes:
        setting, encoder, subsets, costs: See there.
        kl: None with fewer than two unseen cells.
        objectives: By ratio, ascending.
        rankings: Empty with fewer than three unseen cells.
        validation: (method, ratio) -> mean accuracy on the held-out rows.
    """

    setting: SettingFacts
    encoder: EncoderFacts
    kl: KlFacts | None
    objectives: tuple[ObjectiveFacts, ...]
    subsets: SubsetFacts
    costs: CostFacts
    rankings: tuple[RankingFacts, ...]
    validation: Mapping[tuple[str, float], float]
