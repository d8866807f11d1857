"""The data behind the report's image viewer: every image once, and the panels that point to them."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from csmri_ext.report import display
from csmri_ext.report.report_files import PANELS
from csmri_ext.report.rows import Comparison, Panel
from csmri_ext.report.summary import Setting, sampling_words

MAX_PIXELS = 24_000_000  # of all images in a page; about 20 MB


class _Images:
    """Addresses in order of first use; equal images (a target at two accelerations) are stored once."""

    def __init__(self, keep: Callable[[str, bytes], None] | None) -> None:
        self._keep = keep
        self.addresses: dict[str, int] = {}
        self.size = 0  # bytes of all images

    def add(self, png: bytes) -> int:
        address = data_uri(png) if self._keep is None else f"{PANELS}/{hashlib.sha256(png).hexdigest()[:16]}.png"
        if address not in self.addresses:
            self.addresses[address] = len(self.addresses)
            self.size += len(png)
            if self._keep is not None:
                self._keep(address, png)
        return self.addresses[address]


def data_uri(png: bytes) -> str:
    """PNG bytes as an address that needs no request."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def viewer_data(
    comparison: Comparison, factors: dict[str, int], keep: Callable[[str, bytes], None] | None = None
) -> dict[str, Any] | None:
    """Encode the panels for the viewer.

    Parameters
    ----------
    comparison
        Panels to show. When their images exceed `MAX_PIXELS` and are to lie in the page, evenly spaced slices are kept;
        ``shown`` and ``slices`` tell how many of how many.
    factors
        volume -> amplification of its error maps, from `display.error_factor`.
    keep
        Given the address and the bytes of every image that is to be a file beside the page; None puts all of them
        into the page.

    Returns
    -------
        A dictionary ready for json (no NaN in it), or None without panels.
    """
    panels = comparison.panels
    if not panels:
        return None
    kept = _within_budget(panels) if keep is None else panels
    images = _Images(keep)
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
        "slices": max(len({(panel.volume, panel.slice) for panel in panels}), _slices_compared(comparison)),
        "evenly": len(kept) < len(panels),
        "size": f"{len(images.addresses)} images, {_megabytes(images.size)}",
    }


def fits_page(panels: Sequence[Panel]) -> bool:
    """Whether all images of the panels may lie in the page."""
    return sum(math.prod(_shape(panel)) * _images_per_panel(panel) for panel in panels) <= MAX_PIXELS


def size_words(page: Path) -> str:
    """Say how large a report is: `` (3.2 MB, and 1560 images of 92.1 MB beside it)``."""
    beside = [path.stat().st_size for path in (page.parent / PANELS).glob("*.png")]
    images = f", and {len(beside)} images of {_megabytes(sum(beside))} beside it in {PANELS}/" if beside else ""
    return f" ({_megabytes(page.stat().st_size)}{images})" if page.exists() else ""


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _slices_compared(comparison: Comparison) -> int:
    return sum({row.volume: row.slices for row in comparison.rows}.values())


def _shape(panel: Panel) -> tuple[int, ...]:
    return display.anchor_image(panel).shape


def _within_budget(panels: Sequence[Panel]) -> list[Panel]:
    """Drop slices evenly until the images fit `MAX_PIXELS`; a slice is kept or dropped at all settings alike."""
    if fits_page(panels):
        return list(panels)
    slices = list(dict.fromkeys((panel.volume, panel.slice) for panel in panels))
    pixels = sum(math.prod(_shape(panel)) * _images_per_panel(panel) for panel in panels)
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
