"""From what somebody asks of a comparison to a plan of it: methods found, files opened, mask settings crossed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from csmri_ext.bridge.load import Files
from csmri_ext.errors import InputError
from csmri_ext.recon.bart_networks import of_bart_weights
from csmri_ext.recon.bart_path import bart_path
from csmri_ext.recon.comparison import Plan
from csmri_ext.recon.inputs import open_volumes, phantom_volumes
from csmri_ext.recon.methods import choose
from csmri_ext.recon.problem import TV_ITERATIONS
from csmri_ext.recon.regularization import has_reference
from csmri_ext.recon.sampling import sampling_grid, samplings_of
from csmri_ext.recon.shared_setup import Setup


@dataclass(frozen=True)
class Request:
    """What is to be compared, on what and how: the options of ``csmri compare`` as values.

    Attributes
    ----------
    files
        Files and folders; none: a procedural phantom.
    methods, untrained, bart
        See `choose`.
    bart_weights
        See `of_bart_weights`.
    masks, accelerations, center_fractions
        See `sampling_grid`.
    slices
        Number, or share, of the slices of each volume to take, see `middle_slices`; None: all.
    seed
        Of the masks; None seeds by the file name, as fastMRI does.
    fixed_weights
        Regularization weight by family where one is given, None where it is tuned.
    iterations, device, workers
        See `Problem`.
    tune_on
        Files and folders that the weights are tuned on; none: the files themselves, without the one that is reported.
    reading
        How all files are read.
    sens_maps
        File of the coil sensitivities of all `files`.
    """

    files: Sequence[str] = ()
    methods: str | None = None
    untrained: bool = False
    bart: bool = False
    bart_weights: Sequence[str] = ()
    masks: Sequence[str] = ("equispaced_fraction",)
    accelerations: Sequence[float] = (4.0, 8.0)
    center_fractions: Sequence[float] | None = None
    slices: int | float | None = None
    seed: int | None = None
    fixed_weights: Mapping[str, float | None] = field(default_factory=lambda: {"tv": None, "wavelet": None})
    iterations: int = TV_ITERATIONS
    device: str = "cpu"
    workers: int = 1
    tune_on: Sequence[str] = ()
    reading: Files = field(default_factory=Files)
    sens_maps: str | None = None


def make_plan(request: Request) -> Plan:
    """Open the inputs and decide what runs on what; everything that is wrong with names and numbers fails here.

    Raises
    ------
    InputError, FileFormatError, CflError, OSError
        Says what of the request cannot be done. One of several files that cannot be read is left out instead, and
        stands in ``failed`` of the plan.
    """
    if not request.files:
        _require_nothing_of_files(request)
    given = of_bart_weights(request.bart_weights)
    methods = choose(request.methods, bart=request.bart, untrained=request.untrained, given=given)
    grid = sampling_grid(request.masks, request.accelerations, request.center_fractions)
    setup = Setup(
        seed=request.seed,
        bart=bart_path(request.bart, methods),
        iterations=request.iterations,
        device=request.device,
        workers=request.workers,
    )
    failed: list[tuple[str, str]] = []
    if request.files:
        validation = open_volumes(request.tune_on, None, request.reading, failed)
        with_maps = replace(request.reading, options={**request.reading.options, "sens_maps": request.sens_maps})
        volumes = open_volumes(request.files, request.slices, with_maps, failed)
    else:
        volumes, validation = phantom_volumes(request.seed or 0, request.slices)
    for volume in validation:
        if not has_reference(volume):
            raise InputError(f"--tune-on {volume.source}: it is undersampled, so weights cannot be tuned on it")
    masks = [sampling.describe(volume, request.seed) for volume in volumes for sampling in samplings_of(volume, grid)]
    return Plan(methods, volumes, grid, validation, setup, dict(request.fixed_weights), masks, failed=failed)


def _require_nothing_of_files(request: Request) -> None:
    """Refuse what a comparison of phantoms would take no notice of."""
    asked = {**request.reading.options, "tune_on": request.tune_on or None, "sens_maps": request.sens_maps}
    unused = [f"--{name.replace('_', '-')}" for name, value in asked.items() if value is not None]
    if unused:
        raise InputError(f"{', '.join(unused)}: only with FILES; without them a procedural phantom is compared")
