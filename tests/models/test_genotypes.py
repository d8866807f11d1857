from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from csmri_ext.metrics import count_parameters
from csmri_ext.models import GENOTYPES, NasN, read_genotype, write_genotype
from csmri_ext.models.genotypes import check_genotype
from csmri_ext.nn import NasCell


@pytest.mark.parametrize("name", GENOTYPES)
def test_json_and_back(name: str, tmp_path: Path) -> None:
    write_genotype(tmp_path / "genotype.json", GENOTYPES[name])
    assert read_genotype(tmp_path / "genotype.json") == GENOTYPES[name]
    assert len((tmp_path / "genotype.json").read_text().splitlines()) == len(GENOTYPES[name]) + 2


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        ([], "list of nodes"),
        ({"a": 1}, "list of nodes"),
        ([[]], "node 0"),
        ([[["skip", 0]], [["skip", 3]]], r"node 1 reads input 3.*0 to 2"),
        ([[["skip", -1]]], "node 0 reads input -1"),
        ([[["sepp", 0]]], r"node 0 has the operation 'sepp'"),
        ([[["skip"]]], "node 0 has the edge"),
        ([[["skip", True]]], "node 0 has the edge"),
    ],
)
def test_what_is_no_genotype(genotype: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        check_genotype(genotype)
    with pytest.raises(ValueError, match=message):
        write_genotype(tmp_path / "genotype.json", genotype)
    assert not (tmp_path / "genotype.json").exists()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "genotype.json"
    for content in ("{", '{"nodes": [[["skip", 9]]]}', "[]"):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"genotype\.json: "):
            read_genotype(path)


def test_any_number_of_nodes_edges_cells_and_channels() -> None:
    genotype = (
        (("conv_9x1_1x9", 0), ("skip", 1), ("none", 0)),
        (("dil_3_conv_3x3", 2),),
        (("sep_conv_3x3", 3), ("skip", 2)),
        (("skip", 4), ("skip", 0)),
        (("dil_2_conv_3x3", 5), ("skip", 5), ("sep_conv_3x3", 1)),
    )
    kspace, mask = torch.randn(1, 11, 14, dtype=torch.complex64), torch.rand(14) < 0.5
    for cells, channels in ((1, 4), (4, 6)):
        model = NasN(genotype, cascades=2, cells=cells, channels=channels)
        assert model(kspace, mask).shape == kspace.shape
        c, n = channels, len(genotype)
        entries = c * (2 * c if cells == 1 else 2 * c + (c + n * c) + (cells - 2) * 2 * n * c)
        operations = cells * (18 * c + 4 * (9 * c + c * c))
        assert count_parameters(model) == 2 * (18 * c + 9 * c * c + entries + operations + 18 * n * c)


def test_a_cell_takes_concatenations_and_parts() -> None:
    cell = NasCell(GENOTYPES["knee"], channels=8, in_channels=(24, 16)).double()
    before, last = torch.randn(2, 24, 9, 10, dtype=torch.float64), torch.randn(2, 16, 9, 10, dtype=torch.float64)
    parts = cell.features(before.split(8, dim=1), last.split([4, 12], dim=1))
    assert [part.shape[1] for part in parts] == [8, 8, 8]
    torch.testing.assert_close(cell(before, last), torch.cat(parts, 1))
    torch.testing.assert_close(cell.joined(before, last), torch.cat(parts, 1))  # what a GPU runs
    many = cell.features(before.split(2, dim=1), [last])  # more parts than the op takes
    torch.testing.assert_close(torch.cat(many, 1), torch.cat(parts, 1))


def test_impossible_cells() -> None:
    with pytest.raises(ValueError, match=r"node 1 reads inputs \(3,\)"):
        NasCell(((("skip", 0),), (("skip", 3),)))
    with pytest.raises(ValueError, match="maxpool"):
        NasCell(((("maxpool", 0),),))
    with pytest.raises(ValueError, match="expected one of knee"):
        NasN("liver")
    with pytest.raises(ValueError, match="0 cascades"):
        NasN(cascades=0)
