from __future__ import annotations

import pytest
import torch

from csmri_ext.models.genotypes import check_genotype
from csmri_ext.search import SPACES, Supernet, derive
from csmri_ext.search.derive import edges_of_nodes

OPERATIONS = ("sep_conv_3x3", "skip", "none")


def test_best_operation_of_the_two_best_edges() -> None:
    alphas = torch.tensor(
        [
            [1.0, 0.0, 0.0],  # node 0
            [0.0, 2.0, 0.0],
            [3.0, 0.0, 0.0],  # node 1: the edge from the last cell loses
            [0.0, 0.5, 0.0],
            [0.0, 1.0, 0.0],
        ]
    )
    expected = ((("sep_conv_3x3", 0), ("skip", 1)), (("sep_conv_3x3", 0), ("skip", 2)))
    assert derive(alphas, OPERATIONS) == expected
    assert derive(alphas, OPERATIONS, compare="alpha") == expected
    assert check_genotype(expected) == expected


def test_none_is_never_derived_but_weakens_its_edge() -> None:
    alphas = torch.tensor([[0.0, 0.1, 9.0]] * 2 + [[2.0, 0.0, 9.0], [0.0, 1.0, 0.0], [1.1, 0.0, 0.0]])
    assert derive(alphas, OPERATIONS)[0] == (("skip", 0), ("skip", 1))  # none wins both edges by far
    assert derive(alphas, OPERATIONS)[1] == (("skip", 1), ("sep_conv_3x3", 2))
    # the alphas alone do not see none
    assert derive(alphas, OPERATIONS, compare="alpha")[1] == (("sep_conv_3x3", 0), ("sep_conv_3x3", 2))


def test_ties_go_to_the_earlier_operation_and_input() -> None:
    assert derive(torch.zeros(9, 3), OPERATIONS) == ((("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),) * 3
    alphas = torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]])
    assert derive(alphas, OPERATIONS)[1] == (("skip", 0), ("sep_conv_3x3", 1))


def test_edges_of_nodes() -> None:
    assert [edges_of_nodes(total) for total in (2, 5, 9, 14)] == [[2], [2, 3], [2, 3, 4], [2, 3, 4, 5]]
    assert sum(edges_of_nodes(7)) == 5


def test_what_cannot_be_derived() -> None:
    with pytest.raises(ValueError, match=r"alphas \(7, 3\)"):
        derive(torch.zeros(7, 3), OPERATIONS)
    with pytest.raises(ValueError, match=r"alphas \(2, 2\) for 3 operations"):
        derive(torch.zeros(2, 2), OPERATIONS)
    with pytest.raises(ValueError, match="finite"):
        derive(torch.full((2, 3), torch.nan), OPERATIONS)
    with pytest.raises(ValueError, match="nothing to choose"):
        derive(torch.zeros(2, 1), ("none",))
    with pytest.raises(ValueError, match="compare is 'max'"):
        derive(torch.zeros(2, 3), OPERATIONS, compare="max")


@pytest.mark.parametrize("space", SPACES)
def test_every_space_gives_a_cell_without_none(space: str) -> None:
    torch.manual_seed(0)
    net = Supernet(space, cells=1, channels=2)
    genotype = derive(net.alphas, net.operations)
    assert [len(node) for node in genotype] == [2, 2, 2]
    assert "none" not in {operation for node in genotype for operation, _ in node}
