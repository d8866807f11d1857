from __future__ import annotations

import hashlib
import json
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from csmri_ext.physics import default_center_fraction, make_mask, mask_hash, mask_kinds
from csmri_ext.physics.masks.kinds import require_room
from csmri_ext.physics.masks.poisson import sample_distance
from csmri_ext.physics.masks.radial import golden_mask

VECTORS = Path(__file__).parents[1] / "vectors"
FASTMRI = json.loads((VECTORS / "fastmri_masks.json").read_text())["masks"]
RADIAL = json.loads((VECTORS / "radial_masks.json").read_text())["masks"]
PLANE = ["radial_golden", "radial_lines", "poisson"]
SWEEP = {  # number of masks, and sha256 of all their bytes
    "random": (1080, "c900f1ce748b0a0c492490fd7d5a83ff8293aaff146015c970beeaf1aa8dbe01"),
    "equispaced": (1080, "3b19ae640d382bb85061049c8959453096e6bfcf21e5c81bcde6c590edd88d61"),
    "equispaced_fraction": (675, "cee52c5771a818eb736506d2bc4ced0f09917e8907663db9004b690c4c217591"),
    "magic": (1080, "4160d336acef85ad51e00bc6663528a536b03f844dd9768ac668e54c4e4893ec"),
    "magic_fraction": (672, "ddf173a66c32e78c3bdb0281b77a2be1f391815e65589305870e83f186de3084"),
}
COLUMNS = [kind for kind in mask_kinds() if kind not in PLANE]


def name_of(vector: dict[str, Any]) -> str:
    return "-".join(str(vector[key]) for key in ("kind", "n", "acc", "seed", "offset"))


def same_random_state(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


class TestFastmri:
    def test_all_vectors_are_here(self) -> None:
        assert len(FASTMRI) == 120
        assert sum(isinstance(vector["acc"], list) for vector in FASTMRI) == 6

    @pytest.mark.parametrize("vector", FASTMRI, ids=name_of)
    def test_bit_exact(self, vector: dict[str, Any]) -> None:
        mask = make_mask(
            vector["kind"], (640, vector["n"]), vector["acc"], vector["cf"], vector["seed"], offset=vector["offset"]
        )
        assert mask.dtype == torch.bool
        assert mask.shape == (vector["n"],)
        assert int(mask.sum()) == vector["n_sampled"]
        assert mask_hash(mask) == vector["sha256"]

    @pytest.mark.parametrize("vector", [v for v in FASTMRI if not isinstance(v["acc"], list)][::7], ids=name_of)
    def test_default_center_fraction_is_fastmris(self, vector: dict[str, Any]) -> None:
        mask = make_mask(vector["kind"], (vector["n"],), vector["acc"], seed=vector["seed"], offset=vector["offset"])
        assert mask_hash(mask) == vector["sha256"]

    def test_file_name_seeds_without_its_folder(self) -> None:
        mask = make_mask("random", (256,), 4, seed="data/train/file1000001.h5")
        assert torch.equal(mask, make_mask("random", (256,), 4, seed="file1000001.h5"))
        assert torch.equal(mask, make_mask("random", (256,), 4, seed=tuple(map(ord, "file1000001.h5"))))

    @pytest.mark.parametrize("kind", SWEEP)
    def test_sweep_of_sizes_and_fractions(self, kind: str) -> None:
        """Empty centres and centres beyond the budget included; hashes of what fastMRI 0.3.0 makes, where it does."""
        digest, count = hashlib.sha256(), 0
        for n, acceleration, fraction in product(
            (16, 31, 64, 92, 101, 128, 203, 256, 368), (2, 3, 4, 6, 8), (0, 0.004, 0.02, 0.08, 24 / 128, 0.3, 0.6, 0.9)
        ):
            low, budget = round(n * fraction), n / acceleration
            defined = {
                "equispaced_fraction": low < budget,
                "magic_fraction": round(budget) > max(low, 1),
            }
            if defined.get(kind, True):
                for seed in (0, 7, (102, 49)):
                    mask = make_mask(kind, (n,), acceleration, fraction, seed)
                    digest.update(mask.numpy().astype(np.uint8).tobytes())
                    count += 1
        assert (count, digest.hexdigest()) == SWEEP[kind]

    def test_magic_fraction_keeps_the_zero_frequency(self) -> None:
        assert make_mask("magic_fraction", (64,), 4, 0, 0)[32]

    def test_padding_is_not_acquired(self) -> None:
        """As VarNetDataTransform does: the mask is drawn for all columns, then the padded ones are cleared."""
        whole = make_mask("equispaced_fraction", (368,), 4, 0.08, 3)
        padded = make_mask("equispaced_fraction", (640, 368), 4, 0.08, 3, padding=(20, 350))
        assert torch.equal(padded[20:350], whole[20:350])
        assert not padded[:20].any() | padded[350:].any()
        assert make_mask("poisson", (40, 30), 2, seed=0, padding=(3, 30))[:, :3].sum() == 0
        everything = make_mask("random", (30,), 1, padding=(3, 27))
        assert everything.nonzero().flatten().tolist() == list(range(3, 27))

    def test_one_fraction_serves_every_acceleration(self) -> None:
        both = make_mask("random", (256,), [4, 8], [0.05, 0.05], 3)
        assert torch.equal(make_mask("random", (256,), [4, 8], 0.05, 3), both)


class TestRadial:
    @pytest.mark.parametrize("vector", RADIAL, ids=lambda v: f"{v['N']}-{v['lines']}")
    def test_lines_are_l1_magics(self, vector: dict[str, Any]) -> None:
        mask = make_mask("radial_lines", (vector["N"], vector["N"]), lines=vector["lines"])
        assert int(mask.sum()) == vector["n_sampled"]
        assert mask_hash(mask) == vector["sha256"]

    @pytest.mark.parametrize("vector", RADIAL, ids=lambda v: f"{v['N']}-{v['lines']}")
    def test_acceleration_finds_the_number_of_lines(self, vector: dict[str, Any]) -> None:
        mask = make_mask("radial_lines", (vector["N"], vector["N"]), 1 / vector["fraction"])
        assert mask_hash(mask) == vector["sha256"]

    @pytest.mark.parametrize(("n", "lines", "percent"), [(256, 60, 23.8), (320, 80, 25.3)])
    def test_golden_coverage(self, n: int, lines: int, percent: float) -> None:
        mask = make_mask("radial_golden", (n, n), lines=lines)
        assert round(100 * mask.float().mean().item(), 1) == percent

    def test_golden_spokes_lie_at_golden_angles(self) -> None:
        one = golden_mask((257, 257), 1, first_angle=2 * np.pi * 0.381966)
        y, x = np.nonzero(one)
        angle = np.arctan2(y - 128, x - 128)[np.hypot(y - 128, x - 128) > 100]
        assert np.allclose(np.mod(angle, np.pi), np.mod(2 * np.pi * 0.381966, np.pi), atol=0.01)
        for lines in (1, 2, 5, 13):
            assert (golden_mask((64, 48), lines) <= golden_mask((64, 48), lines + 1)).all()
        second = golden_mask((257, 257), 2) & ~golden_mask((257, 257), 1)
        y, x = np.nonzero(second)
        angle = np.arctan2(y - 128, x - 128)[np.hypot(y - 128, x - 128) > 100]
        assert np.allclose(np.degrees(np.mod(angle, np.pi)), 111.246, atol=0.5)

    @pytest.mark.parametrize("kind", ["radial_golden", "radial_lines"])
    @pytest.mark.parametrize("shape", [(64, 64), (65, 48), (33, 50)])
    def test_center_is_sampled_and_more_lines_sample_more(self, kind: str, shape: tuple[int, int]) -> None:
        counts = []
        for lines in (1, 8, 16, 32):
            mask = make_mask(kind, shape, lines=lines)
            assert mask[shape[0] // 2, shape[1] // 2]
            counts.append(int(mask.sum()))
        assert counts == sorted(counts)

    @pytest.mark.parametrize("kind", ["radial_golden", "radial_lines"])
    @pytest.mark.parametrize("acceleration", [2, 4, 6.5, 10])
    def test_acceleration_is_close(self, kind: str, acceleration: float) -> None:
        mask = make_mask(kind, (160, 128), acceleration)
        assert abs(acceleration * mask.float().mean().item() - 1) < 0.05  # half of one line in ten
        lines = next(n for n in range(1, 300) if torch.equal(make_mask(kind, (160, 128), lines=n), mask))
        for other in (lines - 1, lines + 1):
            neighbour = make_mask(kind, (160, 128), lines=other).float().mean()
            assert abs(mask.float().mean() - 1 / acceleration) <= abs(neighbour - 1 / acceleration)

    def test_seed_turns_only_the_golden_spokes(self) -> None:
        shape = (64, 64)
        assert torch.equal(make_mask("radial_golden", shape, 4), make_mask("radial_golden", shape, 4))
        assert torch.equal(make_mask("radial_golden", shape, 4, seed=1), make_mask("radial_golden", shape, 4, seed=1))
        assert not torch.equal(make_mask("radial_golden", shape, 4), make_mask("radial_golden", shape, 4, seed=1))
        assert torch.equal(make_mask("radial_lines", shape, 4, seed=2), make_mask("radial_lines", shape, 4, seed=1))

    def test_too_little_acceleration_names_the_smallest(self) -> None:
        with pytest.raises(ValueError, match=r"at most 7\d\.\d% of a 256 x 256 grid, 95\.2% .* acceleration >= 1\.2\d"):
            make_mask("radial_golden", (256, 256), 1.05)


class TestPoisson:
    @pytest.mark.parametrize("acceleration", [1.2, 2, 4, 8, 12, 20])
    @pytest.mark.parametrize("shape", [(128, 128), (160, 93)])
    def test_acceleration_is_met(self, acceleration: float, shape: tuple[int, int]) -> None:
        mask = make_mask("poisson", shape, acceleration, seed=5)
        assert mask.shape == shape
        assert abs(acceleration * mask.float().mean().item() - 1) < 0.05

    def test_center_is_full_and_density_falls(self) -> None:
        mask = make_mask("poisson", (200, 200), 6, 0.1, seed=0)
        assert mask[90:110, 90:110].all()
        y, x = torch.meshgrid(torch.arange(200) - 100, torch.arange(200) - 100, indexing="ij")
        radius = torch.hypot(y.float(), x.float())
        rings = [mask[(radius >= low) & (radius < low + 15)].float().mean() for low in (20, 35, 50, 65, 80)]
        assert all(inner > outer for inner, outer in pairwise(rings))
        assert rings[-1] > 0

    def test_samples_keep_their_distance(self) -> None:
        mask = make_mask("poisson", (96, 96), 8, 0.1, seed=0).numpy()
        core = np.zeros_like(mask)
        core[43:53, 43:53] = True
        points = np.argwhere(mask & ~core)
        gaps = ((points[:, None] - points[None]) ** 2).sum(-1) + 10**6 * np.eye(len(points), dtype=int)
        # the slope is not returned: find the largest one that fits, and see that it explains the sampling density
        fits = [s for s in np.arange(0, 6, 0.05) if _keeps_distance(gaps, points, sample_distance((96, 96), s))]
        assert max(fits) > 1.5
        random = np.random.RandomState(0).uniform(size=mask.shape) < mask.mean()
        points = np.argwhere(random & ~core)
        gaps = ((points[:, None] - points[None]) ** 2).sum(-1) + 10**6 * np.eye(len(points), dtype=int)
        assert not _keeps_distance(gaps, points, sample_distance((96, 96), 0.5))

    def test_is_deterministic(self) -> None:
        masks = [make_mask("poisson", (64, 64), 4, seed=seed) for seed in (0, 0, 1, "file1.h5")]
        assert torch.equal(masks[0], masks[1])
        assert len({mask_hash(mask) for mask in masks}) == 3
        # frozen: a change of the algorithm changes every published mask and must be meant
        assert mask_hash(masks[0]).startswith("2727810e3732e650")


def _keeps_distance(gaps: np.ndarray, points: np.ndarray, distance: np.ndarray) -> bool:
    least = np.floor(distance**2)[points[:, 0], points[:, 1]]
    return bool((gaps >= np.minimum(least[:, None], least[None])).all())


class TestEveryKind:
    @pytest.mark.parametrize("kind", mask_kinds())
    @pytest.mark.parametrize("shape", [(320, 320), (3, 8, 65, 48), torch.Size([1, 40, 33])])
    def test_shape_type_and_center(self, kind: str, shape: tuple[int, ...]) -> None:
        mask = make_mask(kind, shape, 4, seed=1)
        expected = shape[-1:] if kind in COLUMNS else shape[-2:]
        assert mask.shape == tuple(expected)
        assert mask.dtype == torch.bool
        assert mask[tuple(n // 2 for n in expected)]

    @pytest.mark.parametrize("kind", mask_kinds())
    def test_acceleration_one_samples_everything(self, kind: str) -> None:
        assert make_mask(kind, (24, 25), 1, seed=0).all()

    @pytest.mark.parametrize("kind", COLUMNS)
    def test_center_columns_are_sampled(self, kind: str) -> None:
        mask = make_mask(kind, (100,), 4, 0.2, seed=0)
        assert mask[40:60].all()

    @pytest.mark.parametrize("kind", PLANE)
    def test_center_block_is_sampled_if_asked_for(self, kind: str) -> None:
        mask = make_mask(kind, (100, 60), 6, 0.2, seed=0)
        assert mask[40:60, 24:36].all()
        assert abs(6 * mask.float().mean().item() - 1) < 0.05

    @pytest.mark.parametrize("kind", mask_kinds())
    def test_numpys_global_state_is_left_alone(self, kind: str) -> None:
        before = np.random.get_state()
        make_mask(kind, (40, 40), 4, seed=0)
        make_mask(kind, (40, 40), 4)
        assert same_random_state(before, np.random.get_state())

    @pytest.mark.parametrize("kind", ["random", "equispaced", "equispaced_fraction", "magic", "gaussian", "poisson"])
    def test_no_seed_is_fresh_entropy(self, kind: str) -> None:
        assert len({mask_hash(make_mask(kind, (64, 64), 8)) for _ in range(12)}) > 1

    def test_gaussian_counts_exactly_and_prefers_the_center(self) -> None:
        total = torch.zeros(200)
        for seed in range(50):
            mask = make_mask("gaussian", (200,), 5, seed=seed)
            assert int(mask.sum()) == 40
            total += mask
        assert total[70:90].sum() > 2 * total[0:20].sum() > 0

    def test_random_uses_the_probability_of_the_paper(self) -> None:
        counts = [int(make_mask("random", (320,), 4, seed=seed).sum()) for seed in range(200)]
        assert abs(np.mean(counts) - 80) < 2
        assert len(set(counts)) > 10

    def test_default_center_fraction(self) -> None:
        assert default_center_fraction(4) == pytest.approx(0.08)
        assert default_center_fraction(8) == pytest.approx(0.04)


class TestBadInput:
    @pytest.mark.parametrize("kind", mask_kinds())
    @pytest.mark.parametrize("acceleration", [0.5, 0, -4, float("nan"), float("inf"), "4", None, [4, 0.9]])
    def test_acceleration(self, kind: str, acceleration: Any) -> None:
        with pytest.raises(ValueError, match="acceleration"):
            make_mask(kind, (64, 64), acceleration, seed=0)

    @pytest.mark.parametrize("kind", sorted({*mask_kinds()} - {"random", "equispaced", "magic"}))
    def test_impossible_with_the_center(self, kind: str) -> None:
        with pytest.raises(ValueError, match=r"acceleration 8 leaves .* but the centre alone has .*0\.6"):
            make_mask(kind, (64, 64), 8, 0.6)

    def test_a_centre_may_take_all_samples_and_no_more(self) -> None:
        assert int(make_mask("equispaced_fraction", (64,), 8, 7 / 64, 0).sum()) == 8
        require_room((64,), 8, 8 / 64)
        with pytest.raises(ValueError, match=r"leaves 8\.0 of 64 columns, but the centre alone has 9 "):
            require_room((64,), 8, 9 / 64)

    @pytest.mark.parametrize("kind", mask_kinds())
    def test_more_than_the_grid(self, kind: str) -> None:
        with pytest.raises(ValueError, match=r"acceleration 1000 leaves none"):
            make_mask(kind, (8, 8), 1000)

    @pytest.mark.parametrize(
        ("kind", "guess"), [("Random", "random"), ("equi_spaced", "equispaced"), ("poison", "poisson")]
    )
    def test_unknown_kind_suggests_a_name(self, kind: str, guess: str) -> None:
        with pytest.raises(ValueError, match=f"unknown mask kind '{kind}'; did you mean .*{guess}"):
            make_mask(kind, (64, 64), 4)

    def test_hopeless_kind_lists_the_names(self) -> None:
        with pytest.raises(ValueError, match=r"'zzz' \(known: random, .*poisson\)"):
            make_mask("zzz", (64, 64), 4)

    @pytest.mark.parametrize("shape", [(), (0,), (64, -1), (64.5,), 64, "64"])
    def test_shape_of_a_column_mask(self, shape: Any) -> None:
        with pytest.raises(ValueError, match=r"a random mask needs a shape \(nx,\) or \(..., ny, nx\), got"):
            make_mask("random", shape, 4)

    @pytest.mark.parametrize("shape", [(64,), (0, 64), (64, 0)])
    def test_shape_of_a_plane_mask(self, shape: Any) -> None:
        with pytest.raises(ValueError, match=r"a poisson mask needs a shape \(..., ny, nx\), got"):
            make_mask("poisson", shape, 4)

    @pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan"), "x"])
    def test_center_fraction(self, fraction: Any) -> None:
        with pytest.raises(ValueError, match="center_fraction must be between 0 and 1"):
            make_mask("random", (64,), 4, fraction)

    def test_unequal_choices(self) -> None:
        with pytest.raises(ValueError, match="2 accelerations but 1 center fractions"):
            make_mask("random", (64,), [4, 8], [0.08])

    @pytest.mark.parametrize("kind", ["equispaced", "magic"])
    def test_combs_need_whole_accelerations(self, kind: str) -> None:
        assert torch.equal(make_mask(kind, (64,), 4.0, seed=0), make_mask(kind, (64,), 4, seed=0))
        with pytest.raises(
            ValueError, match=rf"{kind} needs a whole acceleration, got 2\.5; {kind}_fraction takes any"
        ):
            make_mask(kind, (64,), 2.5)

    def test_arguments_of_other_kinds(self) -> None:
        with pytest.raises(ValueError, match="offset is for equispaced"):
            make_mask("random", (64,), 4, offset=1)
        with pytest.raises(ValueError, match="offset must be 0 or more, got -1"):
            make_mask("magic", (64,), 4, offset=-1)
        with pytest.raises(ValueError, match="lines is for radial_golden"):
            make_mask("poisson", (64, 64), lines=4)
        with pytest.raises(ValueError, match="needs an acceleration or lines, and not both"):
            make_mask("radial_lines", (64, 64), 4, lines=4)
        with pytest.raises(ValueError, match="lines must be 1 or more, got 0"):
            make_mask("radial_lines", (64, 64), lines=0)

    def test_empty_file_name(self) -> None:
        with pytest.raises(ValueError, match="an int or a file name"):
            make_mask("random", (64,), 4, seed="")
