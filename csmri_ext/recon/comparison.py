"""A comparison as it runs: weights chosen, every method on every volume at every setting, what fails listed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from rich.console import Console

from csmri_ext.errors import expected_errors, one_line
from csmri_ext.progress import stage
from csmri_ext.recon.error_map import volume_error_map
from csmri_ext.recon.evaluate import Problems, evaluate
from csmri_ext.recon.methods import Method, warm_up
from csmri_ext.recon.regularization import has_reference, number_of_trials, tune, untuned
from csmri_ext.recon.sampling import Sampling, samplings_of
from csmri_ext.recon.shared_setup import Setup, grouped, where
from csmri_ext.recon.volumes import Volume
from csmri_ext.report.rows import ChosenWeight
from csmri_ext.report.store import Store


@dataclass
class Plan:
    """What runs on what.

    Attributes
    ----------
    methods, volumes, grid
        Every method on every volume at every mask setting of the grid (or at the volume's own mask).
    validation
        Volumes that the weights are tuned on; empty to tune on `volumes`, leaving one out.
    setup
        What all of them share.
    fixed_weights
        Regularisation weight by family where the user gave one, None where it is tuned.
    masks
        One description per volume and setting, for the provenance.
    read, heard
        How the files were read, and what is doubtful about them.
    failed, failed_rows
        Files that cannot be used and reconstructions that could not be made, and why.
    """

    methods: list[Method]
    volumes: list[Volume]
    grid: list[Sampling]
    validation: list[Volume]
    setup: Setup
    fixed_weights: dict[str, float | None]
    masks: list[dict[str, Any]]
    read: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    failed_rows: list[tuple[str, str]] = field(default_factory=list)
    _reasons: dict[tuple[int, Sampling], str | None] = field(default_factory=dict)

    def keep(self, usable: Sequence[Volume]) -> None:
        """Go on with these volumes."""
        kept = {id(volume) for volume in usable}
        self.volumes = [volume for volume in self.volumes if id(volume) in kept]
        self.validation = [volume for volume in self.validation if id(volume) in kept]
        labels = {volume.label for volume in self.volumes}
        self.masks = [mask for mask in self.masks if mask["volume"] in labels]

    def describe_masks(self) -> None:
        """Look where the echoes lie: until volumes have been read, masks are described as if it were the middle."""
        self.masks = [
            sampling.describe(volume, self.setup.seed, read=True)
            for volume in self.volumes
            for sampling in samplings_of(volume, self.grid)
        ]

    def leave_out_empty(self) -> None:
        """Take the slices that are zero everywhere out of the volumes; one that has no other keeps them."""
        for volume in (*self.volumes, *self.validation):
            empty = [index for index in volume.slices if volume.is_empty(index)]
            if 0 < len(empty) < len(volume.slices):
                volume.skipped = empty
                volume.slices = [index for index in volume.slices if index not in empty]

    def samplings(self, volume: Volume) -> list[Sampling]:
        """Mask settings at which every method runs: all that apply to a volume and leave enough to calibrate on."""
        return [sampling for sampling in samplings_of(volume, self.grid) if self._impossible(volume, sampling) is None]

    def runs(self) -> list[tuple[Volume, Sampling, Method]]:
        """List what is reconstructed by what: where sensitivities cannot be estimated, by methods that need none."""
        return [
            (volume, sampling, method)
            for volume in self.volumes
            for sampling in samplings_of(volume, self.grid)
            for method in self.methods
            if self._impossible(volume, sampling) is None or not method.needs_maps
        ]

    def pairs(self) -> list[tuple[Volume, Sampling]]:
        """Every volume at every setting that anything runs on."""
        found = {(id(volume), sampling): (volume, sampling) for volume, sampling, _ in self.runs()}
        return list(found.values())

    def _impossible(self, volume: Volume, sampling: Sampling) -> str | None:
        key = id(volume), sampling
        if key not in self._reasons:  # masks take a moment to draw
            self._reasons[key] = self.setup.maps_impossible(volume, sampling)
        return self._reasons[key]

    @property
    def left_out(self) -> list[str]:
        """What is not reconstructed since it cannot be calibrated, by the methods that need that, and why."""
        found = grouped(
            [
                (where(volume, sampling), self._impossible(volume, sampling))
                for volume in self.volumes
                for sampling in samplings_of(volume, self.grid)
            ]
        )
        others = [method.name for method in self.methods if found and not method.needs_maps]
        alone = f"{', '.join(others)} alone, without any"
        return [f"{text}; reconstructed by {alone}" for text in found] if others else found

    @property
    def planned(self) -> list[dict[str, Any]]:
        """Entries of ``provenance["planned"]``: the rows that this run is to make, by method and setting."""
        volumes: dict[tuple[str, str, float | None], list[str]] = {}
        for volume, sampling, method in self.runs():
            key = (method.name, sampling.kind, sampling.acceleration)
            volumes.setdefault(key, []).append(volume.label)
        return [
            {"method": method, "mask": mask, "acceleration": acceleration, "volumes": labels}
            for (method, mask, acceleration), labels in volumes.items()
        ]

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the numbers of a row besides its method, mask, acceleration and volume."""
        sources = {source for volume, sampling in self.pairs() for source in self.setup.maps_sources(volume, sampling)}
        return {
            "mask seed": "file name" if self.setup.seed is None else self.setup.seed,
            "weights tuned on": [f"{volume.label}, sha256 {volume.sha256}" for volume in self.validation]
            or "the inputs",
            **{f"{family} weight": weight or "auto" for family, weight in self.fixed_weights.items()},
            "iterations": self.setup.iterations,
            "device": self.setup.device,
            "coil sensitivities": sorted(sources),
        }


def choose_weights(plan: Plan, store: Store, log: Console) -> None:
    """Fill in the regularization weights: as given, as an earlier run chose them, or tuned now."""
    families = list(dict.fromkeys(method.weight for method in plan.methods if method.weight is not None))
    for volume in plan.volumes:
        for sampling in plan.samplings(volume):
            usual = {family: untuned(plan.fixed_weights[family]) for family in families}
            plan.setup.weights[sampling, volume.label] = usual
    judged = {
        sampling: [volume for volume in plan.volumes if has_reference(volume) and sampling in plan.samplings(volume)]
        for sampling in plan.grid
    }
    others = {
        sampling: [volume for volume in plan.validation if sampling in plan.samplings(volume)] for sampling in plan.grid
    }
    jobs = [
        (family, sampling)
        for family in families
        for sampling in plan.grid
        if judged[sampling] and plan.fixed_weights[family] is None and not store.tuned(family, sampling.title)
    ]
    one_at_a_time = replace(plan.setup, workers=1)
    trials = sum(number_of_trials(family, others[sampling] or judged[sampling]) for family, sampling in jobs)
    with stage("choosing weights", trials, log) as progress:

        def tune_one(job: tuple[str, Sampling]) -> tuple[dict[str, ChosenWeight], list[dict[str, Any]]]:
            volumes, separate = judged[job[1]], others[job[1]]
            return tune(*job, volumes, separate, Problems(one_at_a_time), lambda: progress.advance(1))

        with ThreadPoolExecutor(plan.setup.workers) as pool:
            try:
                for (family, sampling), (chosen, table) in zip(jobs, pool.map(tune_one, jobs), strict=True):
                    store.keep_tuning(family, sampling.title, chosen, table)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    for (sampling, label), weights in plan.setup.weights.items():
        for family in families:
            weights[family] = store.tuned(family, sampling.title).get(label, weights[family])


def run(plan: Plan, store: Store, log: Console) -> None:
    """Compute every row that the store lacks, and store it as soon as it is finished.

    A row that fails is added to ``plan.failed_rows`` and stops no other. Rows that another process finishes in the
    meantime are taken over.
    """
    pending = [
        (volume, sampling, method)
        for volume, sampling, method in plan.runs()
        if store.find(method.name, sampling.kind, sampling.acceleration, volume.label) is None
    ]
    warm_up()
    problems = Problems(plan.setup)
    with stage("reconstructing", sum(len(volume.slices) for volume, _, _ in pending), log) as progress:
        for volume, sampling, method in pending:
            store.refresh()
            if store.find(method.name, sampling.kind, sampling.acceleration, volume.label) is not None:
                progress.advance(len(volume.slices))
                continue
            what = f"{method.name}, {sampling.title}, {volume.label}"
            progress.describe(what)
            try:
                row, image = evaluate(method, volume, sampling, problems, progress.advance)
            except expected_errors() as error:
                plan.failed_rows.append((what, one_line(error)))
                log.print(f"failed: {one_line(error)}", markup=False, highlight=False, soft_wrap=True)
                continue
            store.add(row, image)
            quality = "" if row.psnr is None else f"PSNR {row.psnr:.2f} dB, SSIM {row.ssim:.4f}, "
            progress.line(f"{volume.label}, {sampling.title}, {method.name}: {quality}{row.seconds:.1f} s")


def add_error_maps(plan: Plan, store: Store, log: Console) -> None:
    """Estimate the errors of every row that has no map of them yet; what fails stops no other."""
    pending = [
        (volume, sampling, method, row)
        for volume, sampling, method in plan.runs()
        if (row := store.find(method.name, sampling.kind, sampling.acceleration, volume.label)) is not None
        and store.error_map(row) is None
    ]
    problems = Problems(plan.setup)
    with stage("estimating errors", sum(len(volume.slices) for volume, *_ in pending), log) as progress:
        for volume, sampling, method, row in pending:
            what = f"{method.name}, {sampling.title}, {volume.label}"
            progress.describe(what)
            try:
                store.add_error_map(row, volume_error_map(method, volume, sampling, problems, progress.advance))
            except expected_errors() as error:
                plan.failed_rows.append((f"error map of {what}", one_line(error)))
