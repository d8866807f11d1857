"""The data behind the report's image viewer: every image once, and the panels that point to them."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from csmri_ext.report import display
from csmri_ext.report.rows import Comparison, Panel
from csmri_ext.report.summary import Setting, sampling_words

MAX_PIXELS = 24_000_000  # of all images in a page; about 20 MB


class _Images:
    """Data addresses in order of first use; equal images (a target at two accelerations) are stored once."""

    def __init__(self) -> None:
        self.addresses: dict[str, int] = {}

    def add(self, png: bytes) -> int:
        return self.addresses.setdefault(data_uri(png), len(self.addresses))


def data_uri(png: bytes) -> str:
    """PNG bytes as an address that needs no request."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def viewer_data(comparison: Comparison, factors: dict[str, int]) -> dict[str, Any] | None:
    """Encode the panels for the viewer.

    Parameters
    ----------
    comparison
        Panels to show. When their images exceed `MAX_PIXELS`, evenly spaced slices are kept and ``omitted`` counts
        the rest.
    factors
        volume -> amplification of its error maps, from `display.error_factor`.

    Returns
    -------
        A dictionary ready for json (no NaN in it), or None without panels.
    """
    panels = comparison.panels
    if not panels:
        return None
    kept = _within_budget(panels)
    images = _Images()
    settings = list(dict.fromkeys(Setting(panel.mask, panel.acceleration) for panel in kept))
    volumes = list(dict.fromkeys(panel.volume for panel in kept))
    entries = [
        _entry(panel, images, factors[panel.volume])
        | {"setting": settings.index(Setting(panel.mask, panel.acceleration)), "volume": volumes.index(panel.volume)}
        for panel in kept
    ]
    return {
        "settings": [setting.title for setting in settings],
        "volumes": volumes,
        "methods": list(dict.fromkeys(method for panel in kept for method in panel.recons)),
        "panels": entries,
        "images": list(images.addresses),
        "aspect": min(panel_shape[1] / panel_shape[0] for panel_shape in map(_shape, kept)),
        "shown": len({(panel.volume, panel.slice) for panel in kept}),
        "slices": len({(panel.volume, panel.slice) for panel in panels}),
    }


def _shape(panel: Panel) -> tuple[int, ...]:
    return display.anchor_image(panel).shape


def _within_budget(panels: Sequence[Panel]) -> list[Panel]:
    """Drop slices evenly until the images fit `MAX_PIXELS`; a slice is kept or dropped at all settings alike."""
    slices = list(dict.fromkeys((panel.volume, panel.slice) for panel in panels))
    pixels = sum(math.prod(_shape(panel)) * _images_per_panel(panel) for panel in panels)
    if pixels <= MAX_PIXELS:
        return list(panels)
    count = max(1, int(len(slices) * MAX_PIXELS / pixels))
    kept = {slices[index] for index in np.linspace(0, len(slices) - 1, count).round().astype(int)}
    return [panel for panel in panels if (panel.volume, panel.slice) in kept]


def _images_per_panel(panel: Panel) -> int:
    methods = len(panel.recons)
    return 2 * methods + 1 if panel.target is not None else methods + methods * (methods - 1) // 2


def _entry(panel: Panel, images: _Images, factor: int) -> dict[str, Any]:
    white = display.white_level(panel)
    height, width = _shape(panel)
    top, left, detail_height, detail_width = display.detail_region(display.anchor_image(panel))
    sampled = float(panel.sampling.mean()) if panel.sampling.size else None
    return {
        "slice": panel.slice,
        "width": width,
        "height": height,
        "reference": None if panel.target is None else images.add(display.grey_png(panel.target, white)),
        "methods": [
            {
                "name": method,
                "image": images.add(display.grey_png(recon, white)),
                "scores": _scores(panel, method),
                "notFinite": int(np.count_nonzero(~np.isfinite(recon))),
            }
            for method, recon in panel.recons.items()
        ],
        "maps": _maps(panel, images, white / factor),
        "base": None if panel.target is not None else display.base_method(panel),
        "factor": factor,
        "top": f"{100 / factor:.3g} %",
        "mask": images.add(display.mask_png(panel.sampling)) if panel.sampling.size else None,
        "maskSize": list(panel.sampling.shape[::-1]),
        "maskWords": sampling_words(sampled),
        "maskHash": panel.mask_hash,
        "detail": [left / width, top / height, detail_width / width, detail_height / height],
    }


def _scores(panel: Panel, method: str) -> list[dict[str, Any]]:
    scores = []
    for key, label, spec, unit in (("psnr", "PSNR", ".2f", " dB"), ("ssim", "SSIM", ".4f", "")):
        if key not in panel.scores.get(method, {}):
            continue
        ranked = [values[key] for values in panel.scores.values() if not math.isnan(values.get(key, math.nan))]
        value = panel.scores[method][key]
        text = "NaN" if math.isnan(value) else format(value, spec) + unit
        best = len(ranked) > 1 and text == format(max(ranked), spec) + unit
        scores.append({"label": label, "text": text, "best": best})
    return scores


def _maps(panel: Panel, images: _Images, brightest: float) -> dict[str, dict[str, int]]:
    """``maps[base][method]``: image of |method - base|. The base of an error map is the target, named ``""``."""
    if panel.target is not None:
        return {
            "": {
                method: images.add(display.error_png(display.difference(panel, method), brightest))
                for method in panel.recons
            }
        }
    maps: dict[str, dict[str, int]] = {method: {} for method in panel.recons}
    for index, first in enumerate(panel.recons):
        for second in list(panel.recons)[index + 1 :]:
            image = images.add(display.error_png(display.difference(panel, second, first), brightest))
            maps[first][second] = maps[second][first] = image
    return maps
