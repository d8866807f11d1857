"""Parameters and operations that the papers print; how each number follows is derived in docs/models.md."""

from __future__ import annotations

import pytest

from csmri_ext.metrics import count_flops, count_parameters
from csmri_ext.models import create
from csmri_ext.models.hqs import ResidualCNN
from csmri_ext.nn import HSAB, HSAU, MSST, PGSA, UNet

NASN = {  # parameters; 1e9 operations at 320 x 320 as printed, ReLUs counted; what two decimals may differ by
    "nasn_knee": (142_272, 15.07, 0.01),
    "nasn_2nodes": (107_712, 11.37, 0.01),
    "nasn_4nodes": (176_832, 18.76, 0.01),
    "nasn_space_b": (117_216, 12.44, 0.01),
    "nasn_brain": (135_648, 14.39, 0.01),
    "nasn_magnitude": (142_272, 15.07, 0.01),  # the cell of nasn_knee
    "nasn_phantom": (142_272, 15.07, 0.01),  # ours, not printed: as many operations with a 1x1 as nasn_knee
}
GA_HQS = {  # parameters without the last data step, which adds one
    "ga_hqs": 4_419_952,
    "ga_hqs_baseline1": 4_239_560,
    "ga_hqs_baseline2": 4_014_960,
    "ga_hqs_baseline3": 4_677_712,
}


@pytest.mark.parametrize("name", NASN)
def test_nasn(name: str) -> None:
    parameters, flops, tolerance = NASN[name]
    model = create(name)
    assert count_parameters(model) == parameters
    assert count_flops(model, (320, 320), relu=True) / 1e9 == pytest.approx(flops, abs=tolerance)


def test_nasn_multiply_adds() -> None:
    assert count_flops(create("nasn_knee"), (320, 320)) == 142_272 * 320 * 320  # no bias: one per weight and pixel


@pytest.mark.parametrize("name", GA_HQS)
def test_ga_hqs_and_its_ablations(name: str) -> None:
    model = create(name)
    assert count_parameters(model) == GA_HQS[name] + 1
    assert count_parameters(model.denoisers[0]) == (528_384 if name == "ga_hqs_baseline3" else 496_164)


def test_hqs_with_the_denoiser_of_ga_hqs() -> None:
    for name, expected in {"a_hqs": 3_969_328, "hqs": 3_969_320}.items():
        assert count_parameters(create(name, denoiser="msst", replicas=16)) == expected + 1
    assert count_parameters(create("ga_hqs", final_step=False)) == 4_397_403


def test_layers() -> None:
    assert [count_parameters(PGSA(n * 32, 32)) for n in (3, 2)] == [33_780, 22_548]
    assert [count_parameters(HSAB(c, c // 32)) for c in (32, 64, 128)] == [13_600, 51_776, 201_856]
    assert count_parameters(HSAU(32)) == 495_884
    assert count_parameters(MSST(32)) == 496_164
    assert count_parameters(UNet(32, 32)) == 528_384
    assert count_parameters(UNet(1, 1, reduction=8)) == 524_061
    assert count_parameters(ResidualCNN(2)) == 113_154


def test_ga_hqs_operations() -> None:
    stage = count_flops(create("ga_hqs", stages=1), (256, 256))
    assert 8 * stage / 1e9 == pytest.approx(82.5, abs=0.2)
