from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from made_slices import make_slice
from scipy.io import savemat

from csmri_ext.bridge import FileFormatError, load, reading, to_bart, write_cfl

MADE = make_slice((32, 28), n_coils=4)
MAPS = MADE.sens_maps
KSPACE = np.stack([MADE.kspace, 2 * MADE.kspace])  # (slices, coils, ny, nx)


@pytest.fixture
def kspace(tmp_path: Path) -> Path:
    np.save(tmp_path / "k.npy", KSPACE)
    return tmp_path / "k.npy"


@pytest.mark.parametrize("stored", ["one", "each"])
def test_maps_in_files_of_their_own(tmp_path: Path, kspace: Path, stored: str) -> None:
    maps = MAPS if stored == "one" else np.stack([MAPS, 1j * MAPS])
    expected = np.broadcast_to(MAPS, KSPACE.shape) if stored == "one" else maps
    np.save(tmp_path / "maps.npy", maps)
    np.savez(tmp_path / "maps.npz", csm=maps, noise=np.ones(4))
    savemat(
        tmp_path / "maps.mat",
        {"maps": np.moveaxis(maps, (-2, -1), (0, 1)) if stored == "one" else maps.transpose(2, 3, 1, 0)},
    )
    with h5py.File(tmp_path / "maps.h5", "w") as file:
        file["sens_maps"] = maps
    write_cfl(tmp_path / "maps", to_bart(maps))
    for name in ("maps.npy", "maps.npz", "maps.mat", "maps.h5", "maps"):
        volume = load(kspace, sens_maps=tmp_path / name)
        np.testing.assert_allclose(np.asarray(volume.sens_maps), expected, rtol=1e-6, err_msg=name)
        assert "warnings" not in volume.attrs


def test_of_several_sets_the_first_is_used_and_said(tmp_path: Path, kspace: Path) -> None:
    sets = np.stack([MAPS, 0 * MAPS + 1])
    write_cfl(tmp_path / "maps", to_bart(sets[np.newaxis]))
    np.save(tmp_path / "maps3.npy", np.stack([MAPS, MAPS, 0 * MAPS + 1]))
    write_cfl(tmp_path / "k", to_bart(KSPACE))
    for data, maps, n in ((kspace, "maps", 2), (kspace, "maps3.npy", 3), (tmp_path / "k", "maps", 2)):
        volume = load(data, sens_maps=tmp_path / maps)
        np.testing.assert_allclose(volume.sens_maps[1], MAPS, rtol=1e-6)
        assert f"{n} sets of coil sensitivities: the first is used" in volume.attrs["warnings"][0]


def test_maps_beside_kspace_are_used(tmp_path: Path) -> None:
    np.savez(tmp_path / "k.npz", kspace=KSPACE, sens_maps=MAPS)
    savemat(tmp_path / "k.mat", {"kspace": KSPACE.transpose(2, 3, 1, 0), "sens_maps": MAPS.transpose(1, 2, 0)})
    savemat(
        tmp_path / "s.mat", {"data": {"kspace": KSPACE.transpose(2, 3, 1, 0), "sens_maps": MAPS.transpose(1, 2, 0)}}
    )
    for name, options in (("k.npz", {}), ("k.mat", {}), ("s.mat", {"key": "data.kspace"})):
        np.testing.assert_allclose(load(tmp_path / name, **options).sens_maps[1], MAPS, rtol=1e-6)


def test_maps_called_otherwise_and_chosen_keys(tmp_path: Path) -> None:
    turned = MAPS.swapaxes(-2, -1)
    np.savez(tmp_path / "k.npz", ksp=KSPACE[0], smaps=MAPS, sampling_mask=np.ones(28))
    np.savez(tmp_path / "t.npz", ksp=KSPACE.swapaxes(-2, -1), csm=turned)
    savemat(tmp_path / "k.mat", {"ksp": KSPACE.transpose(2, 3, 1, 0), "Csm": MAPS.transpose(1, 2, 0)})
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["scan/kspace"], file["scan/maps"], file["sens_maps"] = KSPACE, MAPS, 0 * MAPS
    cases = {
        "k.npz": ("smaps", {"key": "ksp", "axes": "coil y x"}),
        "t.npz": ("csm", {"axes": "slice coil x y"}),
        "k.mat": ("Csm", {}),
        "k.h5": ("scan/maps", {"key": "scan/kspace"}),
    }
    for name, (array, options) in cases.items():
        volume = load(tmp_path / name, **options)
        np.testing.assert_allclose(volume.kspace[0], KSPACE[0], rtol=1e-6)
        np.testing.assert_allclose(volume.sens_maps[0], MAPS, rtol=1e-6)
        assert f"sensitivities from {name} ({array})" in reading(volume)


def test_maps_of_square_slices_have_the_order_of_their_kspace(tmp_path: Path) -> None:
    made = make_slice((32, 32), n_coils=4)
    np.savez(tmp_path / "k.npz", kspace=made.kspace.swapaxes(-2, -1)[None], sens_maps=made.sens_maps.swapaxes(-2, -1))
    volume = load(tmp_path / "k.npz", axes="slice coil x y")
    np.testing.assert_array_equal(volume.sens_maps[0], made.sens_maps)
    frames = np.stack([KSPACE, 3 * KSPACE])
    np.savez(tmp_path / "f.npz", kspace=frames, sens_maps=np.stack([MAPS, 1j * MAPS]))
    volume = load(tmp_path / "f.npz", axes="frame slice coil y x")
    for i, factor in enumerate((1, 1j, 1, 1j)):
        np.testing.assert_allclose(volume.sens_maps[i], factor * MAPS, rtol=1e-6)


def test_sets_of_maps_on_the_last_axis(tmp_path: Path) -> None:
    """SKM-TEA: k-space (x, ky, kz, echo, coil), maps (x, ky, kz, coil, set)."""
    echoes = np.stack([KSPACE, 2 * KSPACE]).transpose(1, 3, 4, 0, 2)
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"], file["maps"] = echoes, np.stack([MAPS, 1j * MAPS]).transpose(0, 2, 3, 1)[..., np.newaxis]
    volume = load(tmp_path / "k.h5", axes="slice y x frame coil")
    for i, factor in enumerate((1, 1j, 1, 1j)):
        np.testing.assert_allclose(volume.sens_maps[i], factor * MAPS, rtol=1e-6)


def test_what_only_sounds_like_maps_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "k.npz", kspace=KSPACE, maps=np.ones((5, 6)))
    volume = load(tmp_path / "k.npz")
    assert volume.sens_maps is None
    assert volume.attrs["warnings"] == [
        "maps of shape (5, 6) beside k-space does not fit as sensitivities: it is not used"
    ]


def test_maps_turn_with_the_phase_encoding(tmp_path: Path, kspace: Path) -> None:
    np.save(tmp_path / "maps.npy", MAPS)
    volume = load(kspace, sens_maps=tmp_path / "maps.npy", phase_encoding="y")
    np.testing.assert_array_equal(volume.sens_maps[0], MAPS.swapaxes(-2, -1))


def test_maps_that_do_not_fit(tmp_path: Path, kspace: Path) -> None:
    np.save(tmp_path / "maps.npy", MAPS[:3])
    with pytest.raises(FileFormatError, match=r"maps\.npy: sens_maps of shape \(3, 32, 28\) .* \(2, 4, 32, 28\)"):
        load(kspace, sens_maps=tmp_path / "maps.npy")
    np.save(tmp_path / "nan.npy", np.nan * MAPS)
    with pytest.raises(FileFormatError, match=r"nan\.npy: slice 0 .* NaN"):
        load(kspace, sens_maps=tmp_path / "nan.npy").sens_maps[0]
