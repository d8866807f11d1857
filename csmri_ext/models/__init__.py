"""The networks of GA-HQS and NasN by name, their weights, and their genotypes.

Every model is ``model(kspace, mask, sens_maps=None) -> image``, see `csmri_ext.nn.Reconstructor`.
"""

from __future__ import annotations

from csmri_ext.models.description import Description, read_description
from csmri_ext.models.ga_hqs import GAHQS
from csmri_ext.models.genotypes import GENOTYPES, read_genotype, write_genotype
from csmri_ext.models.graphs import graphed
from csmri_ext.models.hqs import HQS
from csmri_ext.models.load import build, load
from csmri_ext.models.nasn import NasN
from csmri_ext.models.start_weights import load_fitting_weights
from csmri_ext.models.weight_files import load_weights, save_weights
from csmri_ext.models.zoo import create, names

__all__ = [
    "GAHQS",
    "GENOTYPES",
    "HQS",
    "Description",
    "NasN",
    "build",
    "create",
    "graphed",
    "load",
    "load_fitting_weights",
    "load_weights",
    "names",
    "read_description",
    "read_genotype",
    "save_weights",
    "write_genotype",
]
