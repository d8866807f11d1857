"""ISMRMRD raw data of small images, for tests of their reader. Needs the package ismrmrd."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from made_slices import make_maps, make_slice

from csmri_ext.bridge.fourier import fft2c

try:
    import ismrmrd
except ImportError:
    if "ismrmrd" in os.environ.get("CSMRI_REQUIRE", "").split():
        raise
    pytest.skip("the package ismrmrd is not installed", allow_module_level=True)

NY, NX, COILS = 48, 40, 3  # of the image; the readout is sampled twice as densely
HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>{x}</x><y>{y}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>480</x><y>200</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{recon[0]}</x><y>{recon[1]}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>240</x><y>200</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{maximum}</maximum><center>{center}</center>
</kspace_encoding_step_1></encodingLimits><trajectory>{trajectory}</trajectory>{extra}</encoding></ismrmrdHeader>"""


def images(n_slices: int = 1) -> np.ndarray:
    """Coil images (slices, coils, NY, NX) whose oversampled field of view is empty outside."""
    maps = make_maps((NY, NX), COILS)
    return np.stack([make_slice((NY, NX), seed=seed).image * maps for seed in range(n_slices)])


def oversampled(coil_images: np.ndarray) -> np.ndarray:
    return fft2c(np.pad(coil_images, ((0, 0), (0, 0), (NY // 2, NY // 2), (0, 0))))


def write_raw(
    path: Path,
    kspace: np.ndarray,
    *,
    steps=None,
    center: int = NX // 2,
    maximum: int = NX - 1,
    noise: np.ndarray | None = None,
    trajectory: str = "cartesian",
    append: bool = False,
    flags: tuple[int, ...] = (),
    space: int = 0,
    recon: tuple[int, int] = (NY, NX),
    extra: str = "",
    **counters: int,
) -> Path:
    """Write lines of (slices, coils, readout, columns); `steps` are the columns that are written."""
    dataset = ismrmrd.Dataset(os.fspath(path), "dataset", mode="a")
    if not append:
        xml = HEADER.format(
            x=2 * NY, y=NX, center=center, maximum=maximum, trajectory=trajectory, recon=recon, extra=extra
        )
        dataset.write_xml_header(xml.encode())
    if noise is not None:
        acquisition = ismrmrd.Acquisition.from_array(noise.astype(np.complex64))
        acquisition.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        dataset.append_acquisition(acquisition)
    for number, one in enumerate(kspace):
        for step in range(NX) if steps is None else steps:
            acquisition = ismrmrd.Acquisition.from_array(np.ascontiguousarray(one[:, :, step]))
            acquisition.center_sample = one.shape[1] // 2
            acquisition.idx.slice, acquisition.idx.kspace_encode_step_1 = number, step
            acquisition.encoding_space_ref = space
            for flag in flags:
                acquisition.set_flag(flag)
            for name, value in counters.items():
                setattr(acquisition.idx, name, value)
            dataset.append_acquisition(acquisition)
    dataset.close()
    return path
