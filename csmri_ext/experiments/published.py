"""Published scores, written as the papers print them: tables of text that become data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SPREAD, _DOUBT = "±", "?"
METRICS = ("psnr", "ssim", "nmse", "mse")


@dataclass(frozen=True)
class Score:
    """One printed score.

    Attributes
    ----------
    mean, sd
        Digits as printed; `sd`, the standard deviation, is empty where the paper has none.
    exponent
        Power of ten that both are multiplied by.
    doubtful
        Whether the number contradicts others of the same paper.
    """

    mean: str
    sd: str = ""
    exponent: int = 0
    doubtful: bool = False

    @property
    def value(self) -> float:
        """The mean as a number."""
        return float(f"{self.mean}e{self.exponent}")

    def __str__(self) -> str:
        """For example ``28.12 ± 6.246``, ``(2.351 ± 5.355)e-10``, ``34.573 ?``."""
        text = f"{self.mean} {_SPREAD} {self.sd}" if self.sd else self.mean
        if self.exponent:
            text = f"({text})e{self.exponent}" if self.sd else f"{text}e{self.exponent}"
        return f"{text} {_DOUBT}" if self.doubtful else text


Scores = Mapping[str, Mapping[str, Score]]
"""By network or method, then by metric: ``mse``, ``nmse``, ``psnr``, ``ssim``."""


def read_scores(text: str) -> dict[str, dict[str, Score]]:
    """Read a table of one setting: a line per network, a column per metric.

    The first line has the metrics, two blanks or more between them, ``MSE / 1e-10`` where the numbers have that unit. A
    cell is ``mean``, or ``mean ± sd``, with a question mark behind where it is doubtful.

    Parameters
    ----------
    text
        The table.

    Raises
    ------
    ValueError
        A line with another number of cells than the heading, an unknown metric, or a cell that is no number.
    """
    heading, *lines = _cells(text)
    metrics = [_metric(word) for word in heading]
    found = {}
    for name, *cells in lines:
        found[name] = {metric: _score(cell, exponent) for (metric, exponent), cell in zip(metrics, cells, strict=True)}
    return found


def read_scores_by_setting(text: str) -> dict[str, dict[str, dict[str, Score]]]:
    """Read a table of several settings: two lines or more for each, a column per network.

    The first line has the networks; the others begin with the title of the setting and the metric.

    Parameters
    ----------
    text
        The table; cells as in `read_scores`.

    Returns
    -------
        The scores by the title of the setting.

    Raises
    ------
    ValueError
        As in `read_scores`.
    """
    networks, *lines = _cells(text)
    found: dict[str, dict[str, dict[str, Score]]] = {}
    for title, word, *cells in lines:
        metric, exponent = _metric(word)
        scores = found.setdefault(title, {name: {} for name in networks})
        for name, cell in zip(networks, cells, strict=True):
            scores[name][metric] = _score(cell, exponent)
    return found


def _cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines() if line.strip()]


def _metric(word: str) -> tuple[str, int]:
    name, _, unit = word.partition(" / ")
    if name.lower() not in METRICS:
        raise ValueError(f"{name!r} is no metric: expected one of {', '.join(METRICS)}")
    return name.lower(), int(unit.removeprefix("1e")) if unit else 0


def _score(cell: str, exponent: int) -> Score:
    mean, _, sd = (part.strip() for part in cell.removesuffix(_DOUBT).partition(_SPREAD))
    for number in filter(None, (mean, sd)):
        float(number)
    float(mean)
    return Score(mean, sd, exponent, cell.endswith(_DOUBT))
