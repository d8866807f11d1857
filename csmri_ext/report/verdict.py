"""One sentence that says which method won, by how much, and where nobody can say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from csmri_ext.report.summary import LEVEL, Group, Line

SPELLED_OUT = 3  # settings that one sentence can carry; more are counted instead


@dataclass
class _Lead:
    """Who leads a group in one metric: the level best, and the first method clearly behind them."""

    key: str
    leaders: list[Line]
    runner_up: Line | None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(line.method for line in self.leaders)

    @property
    def margin(self) -> float | None:
        return None if self.runner_up is None else _mean(self.leaders[0], self.key) - _mean(self.runner_up, self.key)


def verdict(groups: Sequence[Group]) -> str:
    """Say in one sentence which method is best at each setting.

    Methods within 0.05 dB or 0.001 SSIM of the best are called level. A lead on the mean that does not hold on every
    volume says on how many it holds. Where a method lacks volumes, all are compared on those that they have in common,
    and this is said. Data without a reference get no winner.

    Parameters
    ----------
    groups
        From `summary.summarise`.

    Returns
    -------
        Plain text, ending with a full stop.
    """
    if not groups:
        return "No reconstruction finished, so there is nothing to compare."
    judged = [group for group in groups if group.has_reference]
    parts = []
    if len(judged) <= SPELLED_OUT:
        previous_mask = None
        for group in judged:
            parts.append(f"{_where(group, previous_mask)}, {_judge(group)}")
            previous_mask = group.setting.mask
    else:
        parts += [_count(judged, "psnr"), _count(judged, "ssim"), *_reservations(judged)]
    unjudged = [group for group in groups if not group.has_reference]
    if unjudged:
        parts.append(_without_reference(unjudged, bool(judged)))
    sentence = "; ".join(parts) + "."
    return sentence[0].upper() + sentence[1:]


def _where(group: Group, previous_mask: str | None) -> str:
    setting = group.setting
    if setting.acceleration is None:
        return f"with {setting.mask} sampling"
    if setting.mask == previous_mask:
        return f"at R = {setting.acceleration:g}"
    return f"with {setting.mask} sampling at R = {setting.acceleration:g}"


def _judge(group: Group) -> str:
    if len(group.lines) == 1:
        line = group.lines[0]
        scores = f"PSNR {_score('psnr', line)}, SSIM {_score('ssim', line)}"
        return f"only {line.method} was run ({scores}), so there is nothing to compare it with"
    psnr, ssim = _lead(group, "psnr"), _lead(group, "ssim")
    if psnr is None or ssim is None:
        return "no method has a PSNR and SSIM on every volume, so none can be called best"
    verb = "leads" if len(psnr.leaders) == 1 else "are level in the lead"
    words = f"{_join(psnr.names)} {verb} in PSNR {_detail(group, psnr)}"
    if psnr.names == ssim.names:
        words += f" and in SSIM {_detail(group, ssim)}"
    else:
        disagree = not set(psnr.names) & set(ssim.names)
        words += f"{', but' if disagree else ' and'} {_join(ssim.names)} in SSIM {_detail(group, ssim)}"
    return words + _on_common(group) + "".join(f", {clause}" for clause in _unranked(group))


def _on_common(group: Group) -> str:
    """Say on what volumes the methods are compared, where that is not all."""
    if len(group.common) == len(group.volumes):
        return ""
    return f", on the {len(group.common)} of {len(group.volumes)} volumes that all of them have"


def _unranked(group: Group) -> list[str]:
    """Name the methods that take no part in the ranking."""
    names = [line.method for line in group.lines if not line.ranked or math.isnan(_mean(line, "psnr"))]
    clauses = [f"{_join(names)} not ranked for want of some volumes or numbers"] if names else []
    return clauses + ([f"nothing yet of {_join(group.absent)}"] if group.absent else [])


def _lead(group: Group, key: str) -> _Lead | None:
    """Rank the methods on the volumes that they have in common; the rest cannot be compared fairly."""
    ranked = sorted(
        (line for line in group.lines if line.ranked and not math.isnan(_mean(line, key))),
        key=lambda line: -_mean(line, key),
    )
    if not ranked:
        return None
    best = _mean(ranked[0], key)
    leaders = [line for line in ranked if _mean(line, key) == best or best - _mean(line, key) <= LEVEL[key]]
    order = [line.method for line in group.lines]
    behind = ranked[len(leaders)] if len(leaders) < len(ranked) else None
    return _Lead(key, sorted(leaders, key=lambda line: order.index(line.method)), behind)


def _detail(group: Group, lead: _Lead) -> str:
    words = [_score(lead.key, lead.leaders[0])]
    if lead.margin is not None and lead.runner_up is not None:
        words.append(f"{_difference(lead.key, lead.margin)} above {lead.runner_up.method}")
        wins, volumes = _wins(group, lead)
        if wins < volumes:
            words.append(f"though on only {wins} of {volumes} volumes")
    return f"({', '.join(words)})"


def _wins(group: Group, lead: _Lead) -> tuple[int, int]:
    """On how many volumes the first leader is ahead of the runner-up."""
    assert lead.runner_up is not None
    scores = {(row.method, row.volume): getattr(row, lead.key) for row in group.rows}
    winner, loser = lead.leaders[0].method, lead.runner_up.method
    wins = sum(scores[winner, volume] > scores[loser, volume] for volume in group.common)
    return wins, len(group.common)


def _count(groups: Sequence[Group], key: str) -> str:
    """Count who leads where, with the range of the margins, when there are too many settings to spell out."""
    leads = [(group, lead) for group in groups if (lead := _lead(group, key)) is not None]
    if not leads:
        return f"no method has a {key.upper()} on every volume"
    clauses = []
    for names, count in Counter(lead.names for _, lead in leads).most_common():
        theirs = [(group, lead) for group, lead in leads if lead.names == names]
        margins = [lead.margin for _, lead in theirs if lead.margin is not None]
        where = f"all {count}" if count == len(groups) else f"{count} of {len(groups)}"
        clause = f"{_join(names)} {'leads' if len(names) == 1 else 'are level in the lead'} at {where} settings"
        details = []
        if margins:
            low, high = (_difference(key, margin) for margin in (min(margins), max(margins)))
            details.append(f"by {low}" if low == high else f"by {low} to {high}")
        details += _not_everywhere(theirs)
        clauses.append(f"{clause} ({', '.join(details)})" if details else clause)
    return f"in {key.upper()}, {_join(clauses)}"


def _not_everywhere(leads: Sequence[tuple[Group, _Lead]]) -> list[str]:
    """Name the settings where a lead on the mean does not hold on every volume, by how many it holds on."""
    settings: dict[tuple[int, int], list[str]] = {}
    for group, lead in leads:
        if lead.runner_up is not None:
            wins, volumes = _wins(group, lead)
            if wins < volumes:
                settings.setdefault((wins, volumes), []).append(group.setting.title)
    return [
        f"though on only {wins} of {volumes} volumes at {_some(titles)}" for (wins, volumes), titles in settings.items()
    ]


def _reservations(groups: Sequence[Group]) -> list[str]:
    """Say once for all settings who is not ranked, and where methods are compared on some volumes only."""
    settings: dict[str, list[str]] = {}
    for group in groups:
        common = _on_common(group).replace(", on", "compared on")
        for clause in [*_unranked(group), *filter(None, [common])]:
            settings.setdefault(clause, []).append(group.setting.title)
    return [f"{clause} at {_some(titles)}" for clause, titles in settings.items()]


def _some(titles: Sequence[str]) -> str:
    return _join(titles) if len(titles) <= 2 else f"{len(titles)} settings"


def _without_reference(groups: Sequence[Group], after_judged: bool) -> str:
    start = "where no fully sampled reference exists" if after_judged else "without a fully sampled reference"
    residuals: dict[str, list[float]] = {}
    for group in groups:
        for line in group.lines:
            if math.isfinite(_mean(line, "kspace_residual")):
                residuals.setdefault(line.method, []).append(_mean(line, "kspace_residual"))
    text = f"{start} no method can be called best"
    if residuals:
        listed = [f"{_range(values)} for {method}" for method, values in residuals.items()]
        text += f": the k-space residual is {_join(listed)}, which is agreement with the samples, not image quality"
    return text


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def _mean(line: Line, key: str) -> float:
    return line.means[key].mean if key in line.means else math.nan


def _score(key: str, line: Line) -> str:
    value = _mean(line, key)
    return f"{value:.2f} dB" if key == "psnr" else f"{value:.3f}"


def _difference(key: str, value: float) -> str:
    return f"{value:.2f} dB" if key == "psnr" else f"{value:.3f}"


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
