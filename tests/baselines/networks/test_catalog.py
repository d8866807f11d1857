"""Names, parameters and operations of the published networks against the tables of both papers."""

from __future__ import annotations

import pytest

from baselines import networks
from csmri_ext.errors import InputError
from csmri_ext.metrics import count_flops, count_parameters

NASN_TABLE = {  # parameters; operations at 320 x 320 in 1e9 as printed; whether these include the ReLUs
    "unet": (3_348_536, 12.17, False),
    "dccnn3": (170_022, 17.41, False),
    "dccnn11": (613_926, 62.87, False),
    "modl3": (56_674, 17.41, False),
    "modl11": (204_642, 62.87, False),  # 204.3 thousand in print, but a third of DCCNN-11 is 204.6
    "rdn3": (86_790, 26.03, True),
    "rdn8": (86_790, 68.79, True),
}

GA_HQS_TABLE = [  # the channels that give the printed count, operations at 256 x 256 of layers checked by hand
    ("modl", 2, 1_136_700 + 1),  # lambda is the one
    ("unet_fastmri", 1, 7_756_097),
    ("unet_fastmri", 2, 7_756_418),
    ("ista_net_plus", 1, 1_188_880),
    ("ista_net_plus", 2, 1_198_096),
    ("miccan", 1, 2_620_305),
    ("miccan", 2, 2_621_910),
    ("hqs_net", 1, 1_232_937),
    ("hqs_net", 2, 1_283_665),
    ("admm_csnet", 1, 19_459),
    ("admm_csnet", 2, 19_459),
    ("ista_net", 1, 171_090),
    ("e2e_varnet", 2, 29_936_966),
]


@pytest.mark.parametrize("name", NASN_TABLE)
def test_nasn_paper(name: str) -> None:
    parameters, flops, relu = NASN_TABLE[name]
    model = networks.create(name)
    assert count_parameters(model) == parameters
    assert count_flops(model, (320, 320), relu=relu) / 1e9 == pytest.approx(flops, abs=0.01)


@pytest.mark.parametrize(("name", "in_chans", "parameters"), GA_HQS_TABLE)
def test_ga_hqs_paper(name: str, in_chans: int, parameters: int) -> None:
    assert count_parameters(networks.create(name, in_chans)) == parameters


def test_sizes_of_the_original_publications() -> None:
    assert count_parameters(networks.create("ista_net_plus", 1, stages=9, chans=32)) == 336_978
    assert count_parameters(networks.create("modl", shared=True)) == 113_670 + 1
    assert count_parameters(networks.create("admm_csnet", shared=False)) == 10 * 19_459


@pytest.mark.parametrize(("name", "gigaflops"), [("unet_fastmri", 12.05), ("miccan", 42.57), ("ista_net_plus", 78.5)])
def test_operations_of_networks_with_several_levels_or_stages(name: str, gigaflops: float) -> None:
    assert count_flops(networks.create(name), (256, 256)) / 1e9 == pytest.approx(gigaflops, abs=0.02)


def test_names_of_the_contract() -> None:
    assert networks.names() == [
        *("unet", "unet_fastmri", "dccnn3", "dccnn11", "modl3", "modl11", "modl", "rdn3", "rdn8"),
        *("ista_net", "ista_net_plus", "miccan", "hqs_net", "e2e_varnet", "admm_csnet"),
    ]


def test_wrong_requests() -> None:
    with pytest.raises(InputError, match=r"unknown network 'rdn5'; did you mean .*rdn3"):
        networks.create("rdn5")
    with pytest.raises(ValueError, match="in_chans is 3, expected 1"):
        networks.create("modl", in_chans=3)
    with pytest.raises(TypeError, match="recursion"):
        networks.create("rdn3", recursion=4)
    with pytest.raises(ValueError, match="the magnitude is one channel, but in_chans is 2"):
        networks.create("unet_fastmri", magnitude=True)
