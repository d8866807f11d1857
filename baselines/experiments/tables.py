"""Which networks of both papers learn what from which images, and the numbers that the papers print beside them."""

from __future__ import annotations

from csmri_ext.experiments.experiment import Experiment, Published, Setting

RANDOM, EQUISPACED, RADIAL = "random", "equispaced_fraction", "radial_golden"

_ABLATION = Setting(EQUISPACED, (4.0,))
_MIXED = Setting(RANDOM, (4.0, 8.0))
_OTHERS = {
    "unet": Published("3349K", "12.17G"),
    "dccnn3": Published("170.0K", "17.41G"),
    "dccnn11": Published("613.9K", "62.87G"),
    "modl3": Published("56.7K", "17.41G"),
    "modl11": Published("204.3K", "62.87G"),
    "rdn3": Published("86.79K", "26.03G"),
    "rdn8": Published("86.79K", "68.79G"),
}
_KNEE = Published("142.3K", "15.07G")
_TWO_TABLES = (
    "GA-HQS on IXI, equispaced 4x: the ablation prints 35.470 dB, table 1 prints 34.573 dB for the same case; the two "
    "tables do not agree with each other"
)
_MODL11 = "MoDL-11: the printed 204.3K parameters should be 204.6K (a third of DCCNN-11's 613.9K)"
_NO_EDGES = "NasN: the edges of the cells are drawn in figures that we do not have; ours only have the published counts"
_KNEE_SPLIT, _BRAIN_SPLIT = (76.0, 4.0, 40.0), (96.0, 4.0, 50.0)  # validation is taken from the training scans

EXPERIMENTS: dict[str, Experiment] = {
    "ga-hqs-table1": Experiment(
        "GA-HQS, table 1: three kinds of mask at 4x and 8x",
        {
            "unet_fastmri": Published("7.756M"),
            "modl": Published("1.137M"),
            "ista_net_plus": Published("1.189M"),
            "miccan": Published("2.620M"),
            "hqs_net": Published("1.233M"),
            "ga_hqs": Published("4.420M", psnr={_ABLATION.title: 34.573}),
        },
        "ga-hqs",
        tuple(Setting(mask, (r,)) for mask in (RANDOM, EQUISPACED, RADIAL) for r in (4.0, 8.0)),
        "IXI T2 (578 subjects), or fastMRI single-coil knees with fat suppression (588 volumes)",
        (7.0, 1.0, 2.0),
        one_channel=("unet_fastmri", "ista_net_plus", "miccan", "hqs_net"),
        scores_for="NIfTI",
        notes=(
            _TWO_TABLES,
            "fastMRI: the published rows of 4x radial and 4x equispaced have the same PSNR in five of six columns, and "
            "8x radial lies above 4x radial; rows were mixed up and are no target",
            "the published counts of ISTA-Net, MICCAN and HQS-Net are those of one real channel; MoDL's of two",
        ),
    ),
    "ga-hqs-ablation": Experiment(
        "GA-HQS, ablation: without acceleration, with CSE instead of PGSA, with a U-net as denoiser",
        {
            "ga_hqs_baseline1": Published(psnr={_ABLATION.title: 34.783}, ssim={_ABLATION.title: 0.973}),
            "ga_hqs_baseline2": Published(psnr={_ABLATION.title: 34.866}, ssim={_ABLATION.title: 0.973}),
            "ga_hqs_baseline3": Published(psnr={_ABLATION.title: 35.042}, ssim={_ABLATION.title: 0.975}),
            "ga_hqs": Published("4.420M", psnr={_ABLATION.title: 35.470}, ssim={_ABLATION.title: 0.978}),
        },
        "ga-hqs",
        (_ABLATION,),
        "IXI T2 (578 subjects)",
        (7.0, 1.0, 2.0),
        scores_for="NIfTI",
        notes=(_TWO_TABLES,),
    ),
    "nasn-table1": Experiment(
        "NasN, table 1: knees, half of the cases at 4x, half at 8x",
        {**_OTHERS, "nasn_knee": _KNEE},
        "nasn",
        (_MIXED,),
        "fastMRI single-coil knees (80 scans to train, 40 to test)",
        _KNEE_SPLIT,
        n_volumes=120,
        methods=("zero-filled", "tv"),
        notes=(_MODL11, _NO_EDGES),
    ),
    "nasn-nodes": Experiment(
        "NasN: cells of two, three and four nodes",
        {
            "nasn_2nodes": Published("107.7K", "11.37G"),
            "nasn_knee": _KNEE,
            "nasn_4nodes": Published("176.8K", "18.76G"),
        },
        "nasn",
        (_MIXED,),
        "fastMRI single-coil knees (80 scans to train, 40 to test)",
        _KNEE_SPLIT,
        n_volumes=120,
        notes=("4 nodes: the printed 18.76G differs in the last digit from any consistent count (18.766)", _NO_EDGES),
    ),
    "nasn-space": Experiment(
        "NasN: search spaces A and B",
        {"nasn_knee": _KNEE, "nasn_space_b": Published("117.2K", "12.44G")},
        "nasn",
        (_MIXED,),
        "fastMRI single-coil knees (80 scans to train, 40 to test)",
        _KNEE_SPLIT,
        n_volumes=120,
        notes=("space B: the printed 12.44G differs in the last digit from any consistent count (12.445)", _NO_EDGES),
    ),
    "nasn-brain": Experiment(
        "NasN: brains, half of the cases at 4x, half at 8x",
        {**_OTHERS, "nasn_brain": Published("135.6K", "14.39G")},
        "nasn",
        (_MIXED,),
        "fastMRI T2 brains (100 scans to train, 50 to test), real images with zero phase",
        _BRAIN_SPLIT,
        n_volumes=150,
        methods=("zero-filled", "tv"),
        magnitude=True,
        notes=(_MODL11, _NO_EDGES),
    ),
}
"""Experiments by the name that ``csmri reproduce`` takes."""
