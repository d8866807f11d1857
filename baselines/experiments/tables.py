"""Which networks of both papers learn what from which images, and the numbers that the papers print beside them."""

from __future__ import annotations

from dataclasses import replace

from baselines.experiments import published
from csmri_ext.experiments.experiment import Experiment, ExperimentSetting, Published, Variant

RANDOM, EQUISPACED, RADIAL = "random", "equispaced_fraction", "radial_golden"
IXI, FASTMRI = "NIfTI", "fastMRI HDF5"

_ABLATION = ExperimentSetting(EQUISPACED, (4.0,))
_MIXED = ExperimentSetting(RANDOM, (4.0, 8.0))
_OTHERS = {
    "unet": Published("3349K", "12.17G"),
    "dccnn3": Published("170.0K", "17.41G"),
    "dccnn11": Published("613.9K", "62.87G"),
    "modl3": Published("56.7K", "17.41G"),
    "modl11": Published("204.3K?", "62.87G"),
    "rdn3": Published("86.79K", "26.03G", relu=True),
    "rdn8": Published("86.79K", "68.79G", relu=True),
}
_KNEE, _BRAIN = Published("142.3K", "15.07G", relu=True), Published("135.6K", "14.39G", relu=True)
_TWO_TABLES = (
    "? GA-HQS on IXI, equispaced 4x: the ablation prints 35.470 dB, table 1 prints 34.573 dB for the same case; the "
    "two tables do not agree with each other"
)
_MODL11 = "? MoDL-11: the printed 204.3K parameters should be 204.6K (a third of DCCNN-11's 613.9K)"
_NO_EDGES = "NasN: the edges of the cells are drawn in figures that we do not have; ours only have the published counts"
_RELU = "the paper's FLOPs have one operation per output of a ReLU for RDN and NasN, and none for the other networks"
_KNEE_SPLIT, _BRAIN_SPLIT = (76.0, 4.0, 40.0), (96.0, 4.0, 50.0)  # validation is taken from the training scans

_KNEES = Experiment(
    "NasN, table 1: knees, half of the cases at 4x, half at 8x",
    {**_OTHERS, "nasn_knee": _KNEE},
    "nasn",
    (_MIXED,),
    "fastMRI single-coil knees (80 scans to train, 40 to test)",
    _KNEE_SPLIT,
    epochs=80,
    n_volumes=120,
    methods=("zero-filled", "tv"),
    scores={FASTMRI: {_MIXED.title: published.NASN_KNEES}},
    notes=(_MODL11, _RELU, _NO_EDGES),
)
_BRAINS = replace(
    _KNEES,
    title="NasN, table 4: brains, half of the cases at 4x, half at 8x",
    networks={**_OTHERS, "nasn_knee": _KNEE, "nasn_brain": _BRAIN},
    images="fastMRI T2 brains (100 scans to train, 50 to test), real images with zero phase",
    split=_BRAIN_SPLIT,
    n_volumes=150,
    acquisitions=("AXT2",),
    magnitude=True,
    scores={FASTMRI: {_MIXED.title: published.NASN_BRAINS}},
)
_CELLS_OF_BOTH = {"nasn_knee": _KNEE, "nasn_brain": _BRAIN}
_SWEEP_NOTE = "the paper shows this in figures that we do not have; numbers of {} from 1 to 5 are our choice"


def _sweep(what: str) -> Experiment:
    variants = {f"nasn_knee_{n}_{what}": Variant("nasn_knee", {what: n}, n) for n in range(1, 6)}
    networks = {name: _KNEE if variant.count == 3 else Published(relu=True) for name, variant in variants.items()}
    same = {name: published.NASN_KNEES["nasn_knee"] for name, variant in variants.items() if variant.count == 3}
    return replace(
        _KNEES,
        title=f"NasN: numbers of {what}",
        networks=networks,
        methods=("zero-filled",),
        variants=variants,
        sweep=what,
        scores={FASTMRI: {_MIXED.title: same}},
        notes=(_SWEEP_NOTE.format(what), _RELU, _NO_EDGES),
    )


EXPERIMENTS: dict[str, Experiment] = {
    "ga-hqs-table1": Experiment(
        "GA-HQS, table 1: three kinds of mask at 4x and 8x",
        {
            "unet_fastmri": Published("7.756M"),
            "modl": Published("1.137M"),
            "ista_net_plus": Published("1.189M"),
            "miccan": Published("2.620M"),
            "hqs_net": Published("1.233M"),
            "ga_hqs": Published("4.420M"),
        },
        "ga-hqs",
        tuple(ExperimentSetting(mask, (r,)) for mask in (RANDOM, EQUISPACED, RADIAL) for r in (4.0, 8.0)),
        "IXI T2 (578 subjects), or fastMRI single-coil knees with fat suppression (588 volumes)",
        (7.0, 1.0, 2.0),
        epochs=30,
        acquisitions=("CORPDFS_FBK",),
        one_channel=("unet_fastmri", "ista_net_plus", "miccan", "hqs_net"),
        scores={IXI: published.GA_HQS_IXI, FASTMRI: published.GA_HQS_KNEES},
        notes=(
            _TWO_TABLES,
            "? fastMRI: the published rows of 4x radial and 4x equispaced have the same PSNR in five of six columns, "
            "and 8x radial lies above 4x radial; rows were mixed up and are no target",
            "the published counts of ISTA-Net, MICCAN and HQS-Net are those of one real channel; MoDL's of two",
        ),
    ),
    "ga-hqs-ablation": Experiment(
        "GA-HQS, ablation: without acceleration, with CSE instead of PGSA, with a U-net as denoiser",
        {
            "ga_hqs_baseline1": Published(),
            "ga_hqs_baseline2": Published(),
            "ga_hqs_baseline3": Published(),
            "ga_hqs": Published("4.420M"),
        },
        "ga-hqs",
        (_ABLATION,),
        "IXI T2 (578 subjects)",
        (7.0, 1.0, 2.0),
        epochs=30,
        acquisitions=("CORPDFS_FBK",),
        scores={IXI: {_ABLATION.title: published.GA_HQS_ABLATION}},
        notes=(_TWO_TABLES,),
    ),
    "nasn-table1": _KNEES,
    "nasn-nodes": replace(
        _KNEES,
        title="NasN, table 2: cells of two, three and four nodes",
        networks={
            "nasn_2nodes": Published("107.7K", "11.37G", relu=True),
            "nasn_knee": _KNEE,
            "nasn_4nodes": Published("176.8K", "18.76G?", relu=True),
        },
        methods=("zero-filled",),
        scores={FASTMRI: {_MIXED.title: published.NASN_NODES}},
        notes=(
            "? 4 nodes: the printed 18.76G differs in the last digit from any consistent count (18.766)",
            _RELU,
            _NO_EDGES,
        ),
    ),
    "nasn-space": replace(
        _KNEES,
        title="NasN, table 3: search spaces A and B",
        networks={"nasn_knee": _KNEE, "nasn_space_b": Published("117.2K", "12.44G?", relu=True)},
        methods=("zero-filled",),
        scores={FASTMRI: {_MIXED.title: published.NASN_SPACES}},
        notes=(
            "? space B: the printed 12.44G differs in the last digit from any consistent count (12.445)",
            _RELU,
            _NO_EDGES,
        ),
    ),
    "nasn-brain": _BRAINS,
    "nasn-cross-knees": replace(
        _KNEES,
        title="NasN, table 5, knees: the cells found on knees and on brains, both trained on knees",
        networks=_CELLS_OF_BOTH,
        methods=("zero-filled",),
        scores={FASTMRI: {_MIXED.title: published.NASN_CROSS_KNEES}},
        notes=(_RELU, _NO_EDGES),
    ),
    "nasn-cross-brains": replace(
        _BRAINS,
        title="NasN, table 5, brains: the cells found on knees and on brains, both trained on brains",
        networks=_CELLS_OF_BOTH,
        methods=("zero-filled",),
        scores={FASTMRI: {_MIXED.title: published.NASN_CROSS_BRAINS}},
        notes=(_RELU, _NO_EDGES),
    ),
    "nasn-cascades": _sweep("cascades"),
    "nasn-cells": _sweep("cells"),
}
"""Experiments by the name that ``csmri reproduce`` takes."""
