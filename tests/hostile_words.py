"""Words that a user may give any option: numbers that are none, sizes beyond every machine, paths to wrong things."""

from __future__ import annotations

import argparse
from functools import cache
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np

from csmri_ext.commands.cli import COMMANDS
from csmri_ext.phantom import write_phantom

NUMBERS = ("nan", "inf", "-inf", "-1", "0", "0.5", "1", "1.5", "1e30", "1e-320", "٣", f"{10**30}", "9" * 5000)
TEXTS = ("", " ", "foo", "a=b", "x:y", "csmri_ext:missing", ",", "%", "1/0", "naïve‮", "\udcff", "a\nb", "[bold]")
PATHS = (
    "no/such.npy",
    "folder",
    "empty.npy",
    "damaged.npy",
    "damaged.h5",
    "damaged.json",
    "list.json",
    "damaged.safetensors",
    "damaged.ckpt",
    "other.h5",
    "/dev/null",
    "/proc/none",
    "a" * 300,
)
WORDS = (*NUMBERS, *TEXTS, *PATHS)


def make_files(folder: Path) -> None:
    """Write what `PATHS` name, and data that are good: ``good.npy`` and the subjects ``scans/*.h5``."""
    (folder / "folder").mkdir()
    (folder / "empty.npy").write_bytes(b"")
    for ending in ("npy", "h5", "json", "safetensors", "ckpt"):
        (folder / f"damaged.{ending}").write_bytes(np.random.default_rng(0).bytes(300))
    (folder / "list.json").write_text('[["sep_conv_3x3", 7], {"nodes": 1}]')
    with h5py.File(folder / "other.h5", "w") as file:
        file["numbers"] = np.arange(3)
    rng = np.random.default_rng(1)
    np.save(folder / "good.npy", (rng.random((2, 1, 32, 32)) + 1j * rng.random((2, 1, 32, 32))).astype(np.complex64))
    (folder / "scans").mkdir()
    for seed in range(7):
        write_phantom(folder / f"scans/{seed}.h5", 1, size=32, seed=seed, anatomy="body", noise=0.003)


@cache
def parser_of(command: str) -> argparse.ArgumentParser:
    """Give the parser of a command."""
    parser: argparse.ArgumentParser = import_module(f"csmri_ext.commands.{command}").argument_parser(f"csmri {command}")
    return parser


def options_with_words() -> list[tuple[str, str]]:
    """List every command with every option of it that takes a word; of options that mean the same, each."""
    return [
        (command, word)
        for command in COMMANDS
        for action in parser_of(command)._actions
        for word in action.option_strings
        if action.nargs != 0
    ]


def lines_with(command: str, option: str, word: str) -> list[list[str]]:
    """Give `word` to `option` in every way that its parser allows."""
    (action,) = (a for a in parser_of(command)._actions if option in a.option_strings)
    if action.nargs is None:
        return [[f"{option}={word}"]]
    if action.nargs == "+":
        return [[option, word], [option, "4", word]]
    assert isinstance(action.nargs, int), action
    return [[option, *[word] * action.nargs], [option, *["1"] * (action.nargs - 1), word]]
