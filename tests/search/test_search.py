from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from search_samples import MadeSample, MadeSamples, draw_nothing

from csmri_ext.errors import InputError
from csmri_ext.models import NasN, read_genotype
from csmri_ext.physics import fft2c
from csmri_ext.search import Search, SearchFolder, SearchSettings, run
from csmri_ext.search.search import PAPER

SMALL = {"space": "A", "nodes": 1, "cells": 1, "channels": 4, "alpha_weight_decay": 0.0}


@pytest.mark.parametrize(("operation", "steps"), [("sep_conv_3x3", 240), ("dil_3_conv_3x3", 200), ("skip", 80)])
def test_finds_the_operation_that_made_the_images(operation: str, steps: int) -> None:
    """A known cell makes the images; the search gets its stem, entries and last layer, but none of its operations."""
    settings = SearchSettings(
        **SMALL, warm_up=0, optimizer="adam", learning_rate=3e-3, final_learning_rate=3e-3, alpha_learning_rate=0.02
    )
    search = Search(settings)
    torch.manual_seed(3)
    teacher = NasN((((operation, 0), (operation, 1)),), cascades=1, cells=1, channels=4).requires_grad_(False)
    for weight in teacher.parameters():
        weight.mul_(1.7)
    pupil, known = search.supernet.reconstructions[0], teacher.reconstructions[0]
    for name in ("stem", "last"):
        getattr(pupil, name).load_state_dict(getattr(known, name).state_dict())
    for name in ("before", "last"):
        getattr(pupil.cells[0], name).load_state_dict(getattr(known.cells[0], name).state_dict())

    def taught(samples: MadeSamples, i: int) -> MadeSample:
        sample = samples[i]
        return sample._replace(target=teacher(sample.kspace[None], sample.mask[None])[0])

    first, second = MadeSamples(1, steps, size=24), MadeSamples(2, steps, size=24)
    for i in range(steps):
        search.step(taught(first, i), taught(second, i))
    assert search.genotype == (((operation, 0), (operation, 1)),)
    strengths = search.supernet.alphas.detach().softmax(1)
    assert float(strengths[:, search.supernet.operations.index(operation)].min()) > 0.25  # 0.2 at first


def settings(**changes: object) -> SearchSettings:
    return SearchSettings(**{**SMALL, "channels": 2, "epochs": 3, "warm_up": 1, "alpha_learning_rate": 0.1, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adam", "learning_rate": 1e-3}, {"second_order": True}])
def test_a_stopped_search_ends_where_an_unbroken_one_does(
    tmp_path: Path, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    if changes:
        draw_nothing(monkeypatch)
    whole = Search(settings(**changes))
    run(whole, MadeSamples(0), MadeSamples(1), SearchFolder(tmp_path / "whole"), checkpoint_steps=2)

    def stop_in_the_second_epoch(search: Search, losses: tuple[float, float] | None) -> None:
        if len(search.history) == 1 and search.done == 2:
            raise KeyboardInterrupt  # a step after the checkpoint of step 2 is lost with it

    folder = SearchFolder(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        run(
            Search(settings(**changes)),
            MadeSamples(0),
            MadeSamples(1),
            folder,
            checkpoint_steps=2,
            report=stop_in_the_second_epoch,
        )
    again = Search(settings(**changes))
    run(again, MadeSamples(0), MadeSamples(1), SearchFolder(tmp_path / "stopped"), checkpoint_steps=2)
    assert len(again.history) == len(whole.history) > 1
    for one, other in zip(again.history, whole.history, strict=True):
        assert one[:4] == other[:4]
        assert torch.equal(one.alphas, other.alphas)
    for one, other in zip(again.supernet.parameters(), whole.supernet.parameters(), strict=True):
        assert torch.equal(one, other)
    names = ("genotype.json", "alphas.csv", "epochs.csv", "alphas.svg", "cell.svg")
    for name in names:
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_finished_search_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_nothing(monkeypatch)
    folder = SearchFolder(tmp_path)
    genotype = run(Search(settings(epochs=2)), MadeSamples(0), MadeSamples(1), folder)
    before = folder.checkpoint.read_bytes()
    assert run(Search(settings(epochs=2)), MadeSamples(0), MadeSamples(1), folder) == genotype
    assert folder.checkpoint.read_bytes() == before
    assert read_genotype(tmp_path / "genotype.json") == genotype


def test_stops_when_the_cell_is_stable() -> None:
    search = Search(settings(epochs=50, patience=3, warm_up=2, alpha_learning_rate=1e-9))
    first, second = MadeSamples(0), MadeSamples(1)
    while not search.finished:
        search.step(first[0], second[0])
        search.end_epoch()
    assert len(search.history) == 2 + 1 + 3  # warm-up, the first cell that counts, three that do not change it
    assert search.unchanged == 3


def test_warm_up_leaves_the_alphas_and_trains_the_weights() -> None:
    search = Search(settings())
    alphas, weight = search.supernet.alphas.detach().clone(), search.supernet.weights()[0].detach().clone()
    search.step(MadeSamples(0)[0], MadeSamples(1)[0])
    assert torch.equal(search.supernet.alphas, alphas)
    assert not torch.equal(search.supernet.weights()[0], weight)
    search.end_epoch()
    search.step(MadeSamples(0)[0], MadeSamples(1)[0])
    assert not torch.equal(search.supernet.alphas, alphas)


def test_each_half_moves_its_own_parameters() -> None:
    """Another slice for the alphas leaves the weights' step as it was, and the other way round for the gradient."""
    one, other = Search(settings(warm_up=0)), Search(settings(warm_up=0))
    one.step(MadeSamples(0)[0], MadeSamples(1)[0])
    other.step(MadeSamples(0)[0], MadeSamples(2)[0])
    for a, b in zip(one.supernet.weights(), other.supernet.weights(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.supernet.alphas, other.supernet.alphas)


def test_the_rate_of_the_weights_is_a_cosine() -> None:
    search = Search(settings(epochs=2, learning_rate=0.025, final_learning_rate=0.001))
    assert search.learning_rate == pytest.approx(0.025)
    search.step(MadeSamples(0)[0], MadeSamples(1)[0])
    search.end_epoch()
    assert search.learning_rate == pytest.approx((0.025 + 0.001) / 2)


def test_what_cannot_be_searched(tmp_path: Path) -> None:
    for changes, message in {
        "epochs": (0, "0 epochs"),
        "warm_up": (4, "warm-up of 4 epochs: expected 0 to 2"),
        "optimizer": ("rprop", "optimizer is 'rprop', expected sgd or adam"),
        "compare": ("max", "compare is 'max'"),
        "learning_rate": (-1.0, "learning rate"),
    }.items():
        value, text = message
        with pytest.raises(InputError, match=text):
            settings(**{changes: value})
    with pytest.raises(InputError, match="halves of 2 and 3 samples"):
        run(Search(settings()), MadeSamples(0, 2), MadeSamples(1, 3), SearchFolder(tmp_path))
    sample = MadeSamples(0)[0]
    broken = sample._replace(target=sample.target * torch.nan)
    with pytest.raises(InputError, match="losses are nan"):
        Search(settings()).step(broken, sample)


def test_the_command_and_the_settings_have_the_same_defaults() -> None:
    from csmri_ext.commands.search import argument_parser

    args = vars(argument_parser("csmri search").parse_args([]))
    usual = vars(SearchSettings())
    assert {name: args[name] for name in usual if name in args} == {name: usual[name] for name in usual if name in args}
    assert SearchSettings().optimizer == "adam"
    assert (SearchSettings(epochs=50).first_epoch, SearchSettings(epochs=2).first_epoch) == (5, 0)
    paper = SearchSettings(**PAPER)
    assert (paper.space, paper.optimizer, paper.learning_rate, paper.first_epoch) == ("A", "sgd", 0.025, 0)


def test_several_coils_search_as_one_does() -> None:
    """Four coils of sensitivity one half, mu near zero: the image, and so the losses, of a single coil."""
    sample = MadeSamples(0)[0]
    maps = torch.full((4, *sample.target.shape), 0.5, dtype=torch.complex64)
    several = MadeSample(fft2c(maps * sample.target) * sample.mask, sample.mask, sample.target, maps)
    a, b = (Search(settings(warm_up=0)) for _ in range(2))
    b.supernet.data_steps.log_mu.fill_(math.log(1e-6))
    assert a.step(sample, sample) == pytest.approx(b.step(several, several), rel=1e-3)
    torch.testing.assert_close(a.supernet.alphas, b.supernet.alphas, rtol=1e-2, atol=1e-3)
