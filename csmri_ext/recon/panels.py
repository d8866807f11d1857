"""The slices a report shows, gathered from the images on disk, so that an interrupted or resumed run shows them too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from csmri_ext.metrics import nmse
from csmri_ext.physics import mask_hash
from csmri_ext.recon.sampling import Sampling
from csmri_ext.recon.volumes import Volume, spread
from csmri_ext.report.rows import Panel, Row
from csmri_ext.report.store import Store

MOST_PANELS = 24  # a report stays below some ten megabytes


def build_panels(
    store: Store,
    volumes: Sequence[Volume],
    seed: int | None,
    slices_shown: int | None,
    grid: Sequence[Sampling] = (),
) -> list[Panel]:
    """Gather what every method made of some slices of every volume and setting.

    Parameters
    ----------
    store
        Finished rows, and the folder of their images.
    volumes, seed
        As the comparison used them.
    slices_shown
        Slices per volume and setting. None shows three of one or two volumes, the middle one of more, and stops at
        `MOST_PANELS`.
    grid
        Mask settings of this run.

    Returns
    -------
        Panels in the order of volumes and settings. Rows whose images are gone are left out.
    """
    wanted = slices_shown or (3 if len(volumes) <= 2 else 1)
    panels: list[Panel] = []
    for volume in volumes:
        for sampling in _samplings(store, volume, grid):
            setting = (volume.label, sampling.kind, sampling.acceleration)
            images = [
                (row, image)
                for row in store.rows
                if (row.volume, row.mask, row.acceleration) == setting and (image := store.images(row)) is not None
            ]
            if images:
                positions = spread(len(volume.slices), wanted)
                panels += [_panel(store, volume, sampling, seed, position, images) for position in positions]
        if slices_shown is None and len(panels) >= MOST_PANELS:
            return panels[:MOST_PANELS]
    return panels


def _samplings(store: Store, volume: Volume, grid: Sequence[Sampling]) -> list[Sampling]:
    """Mask settings that any row of a volume has, also those of an earlier run that was resumed.

    A mask from a file is one of `grid`: the record does not say where on this machine the file lies.
    """
    own = {sampling.kind: sampling for sampling in grid if sampling.path is not None}
    return [
        own.get(mask["kind"]) or Sampling(mask["kind"], mask["acceleration"], mask["center_fraction"])
        for mask in store.provenance["masks"]
        if mask["volume"] == volume.label and (mask["kind"] in own or "file" not in mask)
    ]


def _panel(
    store: Store,
    volume: Volume,
    sampling: Sampling,
    seed: int | None,
    position: int,
    images: list[tuple[Row, NDArray[np.complex64]]],
) -> Panel:
    index = volume.slices[position]
    target = volume.target([index])
    mask = sampling.mask(volume, seed)
    recons = {row.method: np.abs(image[position]) for row, image in images}
    errors = {row.method: error[position] for row, _ in images if (error := store.error_map(row)) is not None}
    return Panel(
        volume=volume.label,
        slice=index,
        mask=sampling.kind,
        acceleration=sampling.acceleration,
        sampling=np.broadcast_to(mask, volume.acquisition.matrix_size),
        mask_hash=mask_hash(mask)[:16],
        target=None if target is None else target[0],
        recons=recons,
        scores={
            row.method: {
                "psnr": row.slice_psnr[position],
                "ssim": row.slice_ssim[position],
                "nmse": float(nmse(target, recons[row.method][np.newaxis])),
            }
            for row, _ in images
            if target is not None
        },
        expected=errors,
    )
