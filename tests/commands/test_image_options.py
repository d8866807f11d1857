from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from csmri_ext.commands import image_options as command_line
from csmri_ext.commands import search as command
from csmri_ext.commands import train
from csmri_ext.commands.image_options import add_image_options, chosen_images
from csmri_ext.commands.reading import add_reading_options
from csmri_ext.data import Images, ImageVolume, PhantomSettings
from csmri_ext.errors import InputError


def chosen(*words: str) -> Images:
    parser = argparse.ArgumentParser()
    add_image_options(parser.add_argument, volumes=2)
    add_reading_options(parser)
    return chosen_images(parser.parse_args(words), Console(quiet=True))


def test_files(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.ones((4, 8, 8), np.float32))
    assert chosen("--data", str(tmp_path)).volumes == ["one.npy"] * 4
    assert chosen("--data", str(tmp_path), "--slices", "50%").volumes == ["one.npy"] * 2
    assert chosen("--data", str(tmp_path), "--slices", "3").volumes == ["one.npy"] * 3
    assert chosen("--data", str(tmp_path), "--middle", "0.5").volumes == ["one.npy"] * 2


@pytest.mark.parametrize(
    ("parser", "words", "volumes", "seed"),
    [
        (train.argument_parser("csmri train"), [], 400, 1000),
        (command.argument_parser("csmri search"), [], 60, 1000),
        (train.argument_parser("csmri train"), ["--volumes", "7", "--phantom-seed", "5"], 7, 5),
    ],
)
def test_phantom(
    parser: argparse.ArgumentParser, words: list[str], volumes: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which subjects a command line draws is what a training that goes on relies on."""
    drawn = Images([ImageVolume("brain", 1, lambda i: np.zeros((4, 4), np.complex64))])

    def draw(*given: object, workers: int, progress: Any) -> Images:
        assert given == (Path("phantom_images"), volumes, PhantomSettings(320, 4, seed))
        assert workers == 1
        progress(1)
        return drawn

    monkeypatch.setattr(command_line, "phantom_shards", draw)
    assert chosen_images(parser.parse_args(words), Console(quiet=True)) is drawn


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--data phantom cannot be mixed with files"):
        chosen("--data", "phantom", "x.h5")
    (tmp_path / "phantom.json").write_text('{"version": 0}')
    with pytest.raises(InputError, match="holds phantoms of other settings"):
        chosen("--cache", str(tmp_path))
    np.save(tmp_path / "one.npy", np.ones((4, 8, 8), np.float32))
    with pytest.raises(InputError, match=r"two volumes are called 'one\.npy'"):
        chosen("--data", str(tmp_path / "one.npy"), str(tmp_path / "one.npy"))
