"""The options of ``raysubset corr``: what is trained how often, and what a calibration must reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, cast

from typer import Option

from raysubset.cli.values import names, numbers
from raysubset.errors import OptionsError
from raysubset.experiment import Score
from raysubset.hpo.pairing import Pairing
from raysubset.report.rank_cells import Calibration
from raysubset.tuning.cells import StudyOptions

ASP_WAYS = ("adaptive-random", "asp-loss", "asp-entropy", "asp-gradient", "asp-prediction", "asp-mixture")
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "small": {
        "configs": 12, "ratios": "0.1,0.3", "pairing": "both", "repeats": 2, "full_seeds": 2, "epochs": 15,
        "model": "resnet8", "limit": 4000, "plan": ["adaptive-random", "random", "asp-loss", "asp-mixture"],
    },
    "paper": {
        "configs": 36, "ratios": "0.1,0.3,0.5,0.7,0.85", "pairing": "both", "repeats": 3, "full_seeds": 3,
        "epochs": 200, "model": "resnet20", "grid": "asp36", "plan": list(ASP_WAYS),
    },
}  # fmt: skip
"""What a preset fills in where nothing was said."""

RATIOS, CALIBRATION_RATIOS = "0.02,0.05", "0.02,0.05,0.1,0.2,0.5"
PAIRINGS, CALIBRATION_PAIRING = "none,subset,both", "both"
THRESHOLD = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySizes:
    """What is trained, and how often; what is not said is filled in by the preset, else by the study's purpose."""

    model: Annotated[str | None, Option(help="Model of the zoo (default: by data and device).")] = None
    configs: Annotated[int | None, Option(help="Configurations (default: 30, to calibrate 12).")] = None
    epochs: Annotated[int | None, Option(help="Epochs of a training (default: by data and device).")] = None
    ratios: Annotated[
        str | None, Option(help=f"Of the subsets (default: {RATIOS}, to calibrate {CALIBRATION_RATIOS}).")
    ] = None
    pairing: Annotated[
        str | None, Option(help=f"Random numbers that trials share (default: {PAIRINGS}, to calibrate both).")
    ] = None
    repeats: Annotated[
        int | None, Option(help="Draws of each ratio and pairing (default: 3, to calibrate 2).")
    ] = None
    full_seeds: Annotated[int | None, Option(help="Seeds on all data (default: 2, to calibrate 1).")] = None
    plan: Annotated[
        list[str] | None,
        Option(
            help="Compare ways of choosing rows: adaptive-random, asp-mixture, asp-loss, random, ...; repeat it. "
            "The first is what the others are compared with."
        ),
    ] = None
    grid: Annotated[
        Literal["asp36"] | None, Option(help="asp36: the paper's 36 configurations in place of a space.")
    ] = None

    def filled(self, preset: str | None, calibrate: bool) -> dict[str, Any]:
        """Return every size, and the limit of the rows."""
        plain: dict[str, Any] = {
            "limit": None,
            "configs": 12 if calibrate else 30,
            "ratios": CALIBRATION_RATIOS if calibrate else RATIOS,
            "pairing": CALIBRATION_PAIRING if calibrate else PAIRINGS,
            "repeats": 2 if calibrate else 3,
            "full_seeds": 1 if calibrate else 2,
            "plan": [],
        }
        said = asdict(self)
        given = {name: value for name, value in said.items() if value is not None}
        return {**dict.fromkeys(said), **plain, **PRESETS.get(preset or "", {}), **given}


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationChoice:
    """Whether a ratio is to be recommended, and what it must reach."""

    calibrate: Annotated[
        bool, Option("--calibrate", help="Find the smallest ratio that ranks well enough, then stop.")
    ] = False
    tau: Annotated[float | None, Option(help="Kendall tau that must hold, to calibrate (default: 0.6).")] = None
    hold: Annotated[
        Literal["lower", "estimate"] | None,
        Option(help="What must reach it: the lower end of tau's 95 % interval (default), or tau itself."),
    ] = None
    score: Annotated[Score | None, Option(help="What both sides are judged by, to calibrate (default: loss).")] = (
        None
    )

    def __post_init__(self) -> None:
        said = (("--tau", self.tau), ("--hold", self.hold), ("--score", self.score))
        given = [option for option, value in said if value is not None]
        if given and not self.calibrate:
            raise OptionsError(f"{', '.join(given)}: only with --calibrate (a study shows tau by every score).")

    def calibration(self, pairing: str | None) -> Calibration | None:
        """Return what is to be calibrated under a pairing, if anything."""
        if not self.calibrate:
            return None
        return Calibration(
            threshold=THRESHOLD if self.tau is None else self.tau,
            score=self.score or "loss",
            pairing=pairing or CALIBRATION_PAIRING,
            by=self.hold or "lower",
        )


def study_options(sizes: Mapping[str, Any], calibration: Calibration | None) -> StudyOptions:
    """Return what a study trains.

    Args:
        sizes: Of `StudySizes.filled`.
        calibration: What it calibrates, if anything.

    Raises:
        OptionsError: Ratios are no numbers; or see `StudyOptions`.
    """
    return StudyOptions(
        configs=sizes["configs"],
        ratios=numbers("ratios", sizes["ratios"], such_as=RATIOS),
        pairings=cast("tuple[Pairing, ...]", names(sizes["pairing"])),
        repeats=sizes["repeats"],
        full_seeds=sizes["full_seeds"],
        ways=tuple(sizes["plan"]),
        calibration=calibration,
    )
