"""Ship the weights of a training run: copy them into the package, with a card that says what they are.

    python -m benchmarks.model_card RUN --quality NAME=quality.json ... [--note TEXT]

RUN is a folder of `csmri train`; each quality.json comes from `python -m benchmarks.quality --out`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from torch import nn

from csmri_ext import models
from csmri_ext.bridge.atomic import replacing
from csmri_ext.errors import InputError
from csmri_ext.models import save_weights
from csmri_ext.nn import ProximalSteps
from csmri_ext.recon import methods
from csmri_ext.training import RECIPES

WEIGHTS = Path(__file__).parents[1] / "csmri_ext" / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description="Copy weights into the package, with a model card.")
    parser.add_argument("run", type=Path, help="folder of csmri train")
    parser.add_argument("--quality", nargs="+", default=[], metavar="NAME=FILE", help="results of benchmarks.quality")
    parser.add_argument("--name", help="what the weights are called in the package (default: the network's name)")
    parser.add_argument("--note", default="", help="what else has to be known of this training")
    parser.add_argument(
        "--fixed-mu", action="store_true", help="ship the mu that was learned as constants, not as parameters"
    )
    parser.add_argument("--data", help="what the images were, where the name of their folder does not say it")
    args = parser.parse_args()
    run = json.loads((args.run / "run.json").read_text())
    name, weights = args.name or run["name"], args.run / f"{run['name']}.safetensors"
    folder, *start = run["data"].split(",", 1)
    described = {"architecture": name} | ({"data": ",".join([args.data, *start])} if args.data else {})
    run = {**run, "folder": folder, "data": described.get("data", run["data"])}
    quality = {name: json.loads(Path(file).read_text()) for name, file in (item.split("=", 1) for item in args.quality)}
    summary = json.loads((args.run / "summary.json").read_text())
    WEIGHTS.mkdir(exist_ok=True)
    # Both, or neither: whatever fails before the end of the inner one leaves the weights and the card as they were.
    with (
        replacing(WEIGHTS / f"{name}.safetensors") as new_weights,
        replacing(WEIGHTS / f"{name}.md") as new_card,
    ):
        if name == run["name"] and not args.data and not args.fixed_mu:
            shutil.copyfile(weights, new_weights)
        else:
            with safe_open(weights, "pt") as file:
                metadata = file.metadata() or {}
            model = models.load(weights)
            if args.fixed_mu:
                settings = {**json.loads(metadata["overrides"]), "mu": [round(m, 4) for m in learned_mu(model)]}
                del settings["trainable_mu"]
                described["overrides"] = json.dumps(settings, sort_keys=True)
                run["shipped"] = settings
                state = {key: value for key, value in model.state_dict().items() if key != "data_steps.log_mu"}
                model = models.build(run["name"], settings)
                model.load_state_dict(state)
            save_weights(model, new_weights, metadata | described)
        new_card.write_text(card(run, summary, new_weights.read_bytes(), quality, args.note, name))


def learned_mu(model: nn.Module) -> list[float]:
    """Return mu of each data step; InputError where none was learned."""
    steps = getattr(model, "data_steps", None)
    if not isinstance(steps, ProximalSteps) or not steps.trainable:
        raise InputError("--fixed-mu: this network learned no mu; train it with --set trainable_mu=true")
    return [float(mu) for mu in steps.log_mu.detach().exp()]


def card(
    run: dict[str, Any], summary: dict[str, Any], weights: bytes, quality: dict[str, Any], note: str, name: str = ""
) -> str:
    """Describe weights in Markdown."""
    name, recipe = name or run["name"], run["recipe"]
    changed = "" if recipe["steps"] == summary["steps"] else " (stopped before the end)"
    lines = [
        f"# {name}",
        "",
        f"{methods.get(name).description}{_smaller(run)}. For research; **not for clinical use**.",
        "",
        f"- File: {name}.safetensors, {len(weights) / 1000:.0f} kB, float32, sha256 "
        f"{hashlib.sha256(weights).hexdigest()}.",
        f"- Data: {run['data']}.{' No image of a person was used.' if _drawn(run) else ''}",
        f"- Masks: {_counted(recipe['masks'])} at {', '.join(f'{r:g}x' for r in recipe['accelerations'])}, mixed.",
        f"- Training: {summary['steps']} steps{changed} of {recipe['batch_size']} slice, sections of "
        f"{_counted(map(str, recipe['sizes']))} pixels in turn, loss {recipe['loss']}, Adam "
        f"{recipe['learning_rate']:g}, last {100 * recipe['decay']:.0f} % linear to zero, moving average of weights "
        f"{recipe['ema']:g}.",
        f"- Time: {timedelta(seconds=summary['seconds'])} on {summary['threads']} CPU thread.",
        f"- Command: `{_command(run, summary)}` (seed {run['seed']}).",
    ]
    if recipe.get("coils", [1]) != [1]:
        lines.append(
            f"- Simulated: coils {_counted(map(str, recipe['coils']))}; sensitivities estimated from the undersampled "
            f"data but for {100 * recipe['true_maps']:.0f} %; smooth phase on {100 * recipe['phase']:.0f} %, echo "
            f"shifts up to {recipe['echo_shift']:g} samples, noise {recipe['noise'][0]:g} to {recipe['noise'][1]:g} of "
            f"the peak; strips of {recipe['strip']} rows under masks of columns; target {recipe['target']}."
        )
    lines += [f"- {note}"] if note else []
    for data, found in quality.items():
        first = next(iter(found.values()))["scores"]
        count = len(next(iter(first.values()))[0])
        shown = [method for method in ("zero-filled", "tv", name) if method in first]
        lines += [
            "",
            f"{data}, {count} slices, PSNR in dB / SSIM (`python -m benchmarks.quality`; the weight of TV is tuned "
            "on the same slices):",
            "",
            f"| mask | {' | '.join(shown)} |",
            f"|{'---|' * (len(shown) + 1)}",
        ]
        for setting, result in found.items():
            cells = [
                " / ".join(f"{np.mean(v):.{d}f}" for v, d in zip(result["scores"][m], (2, 3), strict=True))
                for m in shown
            ]
            lines.append(f"| {setting} | {' | '.join(cells)} |")
    lines += [
        "",
        f"Limits: trained on {'drawn anatomy' if _drawn(run) else 'these images'}, {_coils(recipe)}, masks of the "
        "kinds above. With other anatomies, noise or masks the result may be worse than total variation, and errors "
        "can look like anatomy.",
    ]
    return "\n".join(lines) + "\n"


def _smaller(run: dict[str, Any]) -> str:
    settings = ", ".join(
        f"{key} {_shown(value)}" for key, value in run.get("shipped", run.get("overrides", {})).items()
    )
    return f"; these weights are of one with {settings}" if settings else ""


def _drawn(run: dict[str, Any]) -> bool:
    return bool(run["data"].startswith("procedural phantom"))


def _coils(recipe: dict[str, Any]) -> str:
    return "single coil (with several it may be worse too)" if recipe.get("coils", [1]) == [1] else "simulated coils"


def _command(run: dict[str, Any], summary: dict[str, Any]) -> str:
    """Write the command of a run: the recipe that is closest to its own, and what differs as options."""
    wanted, best = run["recipe"], ("", dict.fromkeys(run["recipe"]))
    for name, recipe in RECIPES.items():
        usual = json.loads(json.dumps(asdict(recipe)))
        differing = {key: value for key, value in wanted.items() if usual.get(key) != value}
        if len(differing) < len(best[1]):
            best = (name, differing)
    name, differing = best
    words = ["csmri", "train", "--model", run["name"]]
    words += ["--init", started[1]] if (started := re.search(r", from (\S+) \(sha256", run["data"])) else []
    words += ["--recipe", name] if name != "phantom" else []
    for key, value in differing.items():
        option = {"masks": "mask", "accelerations": "acceleration", "sizes": "size"}.get(key, key.replace("_", "-"))
        words += [f"--{option}", *(map(str, value) if isinstance(value, list) else [f"{value}"])]
    if run.get("overrides"):
        words += ["--set", *(f"{key}={_shown(value)}" for key, value in run["overrides"].items())]
    images = ["--volumes", _volumes(run["data"])] if _drawn(run) else ["--data", run["folder"]]
    return shlex.join([*words, "--threads", str(summary["threads"]), *images])


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else json.dumps(value)


def _counted(words: Iterable[str]) -> str:
    return ", ".join(word if n == 1 else f"{word} ({n} times)" for word, n in Counter(words).items())


def _volumes(data: str) -> str:
    words = data.split()
    return words[words.index("subjects") - 1] if "subjects" in words else "N"


if __name__ == "__main__":
    main()
