from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve

from csmri_ext.models.genotypes import GENOTYPES
from csmri_ext.search import draw_cell, save_figure
from csmri_ext.search.layered import arrange, crossings


def drawn(figure: Figure) -> tuple[list[str], list[FancyBboxPatch], list[FancyArrowPatch]]:
    (axes,) = figure.axes
    patches = axes.patches
    return (
        [text.get_text() for text in axes.texts],
        [patch for patch in patches if isinstance(patch, FancyBboxPatch)],
        [patch for patch in patches if isinstance(patch, FancyArrowPatch)],
    )


@pytest.mark.parametrize("name", GENOTYPES)
def test_shows_every_node_and_operation_apart(name: str) -> None:
    genotype = GENOTYPES[name]
    figure = draw_cell(genotype, "a title")
    texts, boxes, arrows = drawn(figure)
    states = ["$C_{k-2}$", "$C_{k-1}$", "$C_k$", *map(str, range(len(genotype)))]
    assert Counter(texts) == Counter(["a title", *states, *(operation for node in genotype for operation, _ in node)])
    assert len(arrows) == sum(map(len, genotype)) + len(genotype)
    FigureCanvasAgg(figure).draw()
    outlines = [box.get_window_extent() for box in boxes]
    for one, other in combinations(outlines, 2):
        assert not one.overlaps(other)
    for outline in outlines:
        assert figure.bbox.x0 <= outline.x0 and outline.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= outline.y0 and outline.y1 <= figure.bbox.y1
    for text in figure.axes[0].texts:
        inside = text.get_window_extent()
        if text.get_text() != "a title":
            assert any(o.x0 <= inside.x0 and inside.x1 <= o.x1 for o in outlines), text.get_text()


def test_arrows_go_from_left_to_right() -> None:
    _, _, arrows = drawn(draw_cell(GENOTYPES["4nodes"]))
    for arrow in arrows:
        path = arrow.get_path()
        x = path.vertices[path.codes != Curve.CLOSEPOLY, 0]  # type: ignore[index]
        assert x[0] == x.min() < x.max()


def test_files_are_the_same_each_time(tmp_path: Path) -> None:
    for stem in ("one", "two"):
        save_figure(draw_cell(GENOTYPES["knee"]), tmp_path / stem)
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "one.svg", "two.png", "two.svg"}
    for ending in ("png", "svg"):
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()
    assert ElementTree.parse(tmp_path / "one.svg").getroot().tag.endswith("svg")


def test_no_genotype() -> None:
    with pytest.raises(ValueError, match="node 0 reads input 2"):
        draw_cell([[("skip", 2)]])


def test_layout_undoes_a_crossing_and_keeps_the_distances() -> None:
    columns = [["a", "b"], ["c", "d"]]
    links = [("a", "d"), ("b", "c")]
    assert crossings(columns, links) == 1
    y = arrange(columns, links, dict.fromkeys("abcd", 1.0))
    assert (y["a"] - y["b"]) * (y["d"] - y["c"]) > 0
    assert min(abs(y["a"] - y["b"]), abs(y["c"] - y["d"])) > 1 - 1e-9
