"""What all methods of a comparison share, and where its coil sensitivities come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from csmri_ext.bridge.first_few import first_few
from csmri_ext.recon.bart_methods import CALIBRATION_SIZE
from csmri_ext.recon.methods import Method
from csmri_ext.recon.problem import TV_ITERATIONS
from csmri_ext.recon.sampling import Sampling
from csmri_ext.recon.volumes import Volume
from csmri_ext.report.rows import ChosenWeight

FROM_FILE, ECALIB = "file", f"bart ecalib -m 1 -r {CALIBRATION_SIZE}"
ECALIB_UNCROPPED = f"{ECALIB} -c 0"
OWN = "the network's own"
WAY_OUT = "--sens-maps FILE gives them"


@dataclass
class Setup:
    """What all methods of one comparison share.

    Attributes
    ----------
    seed
        Mask seed; None seeds by file name.
    bart
        Path of BART's program, or None. With it, coil sensitivities come from ``bart ecalib`` for every method.
    iterations, device, workers
        See `Problem`.
    weights
        Regularisation weights by mask setting and volume label, then by family.
    way_out
        What helps where sensitivities cannot be estimated, or not well, for messages.
    """

    seed: int | None = None
    bart: str | None = None
    iterations: int = TV_ITERATIONS
    device: str = "cpu"
    workers: int = 1
    weights: dict[tuple[Sampling, str], dict[str, ChosenWeight]] = field(default_factory=dict)
    way_out: str = WAY_OUT

    def maps_source(self, volume: Volume, sampling: Sampling, method: Method | None = None) -> str | None:
        """Where the coil sensitivities of a volume come from; None for one coil.

        With BART they are ecalib's, unless the calibration region is too small for it (`maps_note`): then they are
        estimated here, since ecalib would cut off part of the object or fail. For networks they are not cropped, since
        those reconstruct the air too (`physics.estimate_sens_maps`). Sensitivities of a file are as they are. A network
        that needs none finds its `OWN` where there is too little to estimate them from.
        """
        if volume.acquisition.n_coils == 1:
            return None
        if volume.acquisition.sens_maps is not None:
            return FROM_FILE
        cropped = method is None or method.network is None
        if self.bart and self.maps_note(volume, sampling) is None:
            return ECALIB if cropped else ECALIB_UNCROPPED
        if method is not None and self._shortfall(volume, sampling) and not method.needs_maps:
            return OWN
        return estimate_words(cropped=cropped)

    def maps_sources(self, volume: Volume, sampling: Sampling) -> set[str]:
        """Return all that `maps_source` may say, of networks and of other methods."""
        source = self.maps_source(volume, sampling)
        if source == ECALIB:
            return {ECALIB, ECALIB_UNCROPPED}
        if source == estimate_words(cropped=True):
            return {source, estimate_words(cropped=False)}
        return set() if source is None else {source}

    def maps_note(self, volume: Volume, sampling: Sampling) -> str | None:
        """Say why BART's ecalib is not used although BART was asked for; None where it is, or nobody asked."""
        from csmri_ext.physics import ecalib_shortfall

        if not self.bart or volume.acquisition.n_coils == 1 or volume.acquisition.sens_maps is not None:
            return None
        mask, ny = sampling.mask(volume, self.seed), volume.acquisition.matrix_size[0]
        found = [ecalib_shortfall(mask, ny, echo) for echo in _different(volume.echoes(mask))]
        return next(filter(None, found), None)

    def maps_impossible(self, volume: Volume, sampling: Sampling) -> str | None:
        """Say why methods that need maps cannot reconstruct a volume of several coils: too little to calibrate on."""
        if self.maps_source(volume, sampling) in (None, FROM_FILE, ECALIB):
            return None
        reason = self._shortfall(volume, sampling)
        return f"{reason}; {self.way_out}" if reason else None

    def _shortfall(self, volume: Volume, sampling: Sampling) -> str | None:
        from csmri_ext.physics import calibration_shortfall

        mask, shape = sampling.mask(volume, self.seed) & volume.measured, volume.acquisition.matrix_size
        if calibration_shortfall(mask, shape) is None:
            return None  # what lies around the middle serves at worst, see `echo_note`
        found = [calibration_shortfall(mask, shape, echo) for echo in _different(volume.echoes(mask))]
        return next(filter(None, found), None)

    def echo_note(self, volume: Volume, sampling: Sampling) -> str | None:
        """Say where estimated sensitivities suffer, or BART's k-space is rolled, as the echo is not in the middle."""
        from csmri_ext.physics import calibration_block, calibration_offset
        from csmri_ext.physics.mask_properties import holds

        source = self.maps_source(volume, sampling)
        if source in (None, FROM_FILE):
            return None
        mask, shape = sampling.mask(volume, self.seed) & volume.measured, volume.acquisition.matrix_size
        echoes = volume.echoes(mask)
        outside = sum(not holds(calibration_block(mask, echo), echo) for echo in echoes)
        if outside:
            return (
                f"the echo of {outside} of {len(echoes)} slices lies outside the fully sampled block: coil "
                f"sensitivities are estimated without it; {self.way_out}"
            )
        rolls = [calibration_offset(mask, shape, echo) for echo in _different(echoes)] if source == ECALIB else []
        dy, dx = (max((abs(roll[axis]) for roll in rolls), default=0) for axis in (0, 1))
        if dy or dx:
            return (
                f"the echo is off the middle, where bart ecalib looks for it: it is given k-space rolled by up to {dy} "
                f"rows and {dx} columns, which changes no sensitivities"
            )
        return None

    def notes(self, pairs: Sequence[tuple[Volume, Sampling]], methods: Sequence[Method] = ()) -> list[str]:
        """Say what was done to masks of files, and which sensitivities are not what somebody might expect.

        That is where BART's ecalib is not used although BART was asked for, and where networks get maps of a file that
        are 0. One line for all alike.
        """
        maps = grouped([(where(*pair), self.maps_note(*pair)) for pair in pairs])
        masks = grouped([(where(volume, sampling), sampling.note(volume)) for volume, sampling in pairs])
        notes = masks + grouped([(where(*pair), self.echo_note(*pair)) for pair in pairs])
        notes += [f"{text}: sensitivities are estimated without BART" for text in maps]
        if any(method.network is not None for method in methods):
            unseen = {volume.label: volume.unseen_share for volume, _ in pairs}
            notes += [
                f"{text}: networks have nothing to go by there, and lose what the reference has; bart ecalib -c 0 "
                "writes maps that are not cropped"
                for text in grouped(
                    [
                        (label, f"sensitivities of the file are {zero_words(share)}" if share else None)
                        for label, share in unseen.items()
                    ]
                )
            ]
        return notes


def _different(echoes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return list(dict.fromkeys(echoes))


def estimate_words(*, cropped: bool) -> str:
    """Say that maps are estimated here, see `physics.describe_estimate`; torch is loaded when this is asked."""
    from csmri_ext.physics import describe_estimate

    return describe_estimate(cropped=cropped)


def zero_words(share: float) -> str:
    """Say in how many pixels maps are 0: ``0 in 38 % of the pixels``."""
    return f"0 in {'less than 1' if share < 0.01 else f'{100 * share:.0f}'} % of the pixels"


def where(volume: Volume, sampling: Sampling) -> str:
    """Name a volume at a setting."""
    return f"{volume.label}, {sampling.title}"


def grouped(reasons: Sequence[tuple[str, str | None]]) -> list[str]:
    """Say what holds where, given as (where, what): one line for all alike; None: nothing."""
    found: dict[str, list[str]] = {}
    for place, reason in reasons:
        if reason:
            found.setdefault(reason, []).append(place)
    return [f"{'; '.join(first_few(places, 4))}: {reason}" for reason, places in found.items()]
