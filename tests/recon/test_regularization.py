from __future__ import annotations

import math

import numpy as np
import pytest

from csmri_ext.bridge import Acquisition
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.recon import methods
from csmri_ext.recon.evaluate import Problems
from csmri_ext.recon.methods import Method
from csmri_ext.recon.problem import TV_WEIGHT, Problem, Reconstruction
from csmri_ext.recon.regularization import has_reference, number_of_trials, tune, untuned, validation_slices
from csmri_ext.recon.sampling import Sampling
from csmri_ext.recon.shared_setup import Setup
from csmri_ext.recon.volumes import Volume

EVERYTHING = Sampling("random", 1.0)  # keeps every sample, so that a method can read the image back


def volume(brightness: float, n_slices: int = 1, **fields: object) -> Volume:
    image = np.full((n_slices, 16, 16), brightness, np.float32)
    acquisition = Acquisition(kspace=fft2c(image)[:, None], name=f"{brightness:g}", **{"target": image, **fields})
    return Volume(acquisition.name, acquisition, range(n_slices), acquisition.name)


@pytest.fixture(autouse=True)
def best_weight_is_a_hundredth_of_the_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace TV by a method whose error is least at ``weight = brightness / 100``."""

    def reconstruct(problem: Problem) -> Reconstruction:
        brightness = np.abs(problem.kspace).max() / 16
        error = abs(math.log(problem.weights["tv"] / (brightness / 100)))
        return Reconstruction(np.full((len(problem.kspace), 16, 16), brightness * (1 + error), np.complex64))

    monkeypatch.setattr(methods, "_METHODS", {"fake": Method("fake", reconstruct, "", weight="tv")})


def chosen(volumes: list[Volume], separate: list[Volume]) -> tuple[dict[str, float], str]:
    weights, table = tune("tv", EVERYTHING, volumes, separate, Problems(Setup()))
    assert sum(line["chosen"] for line in table) == 1
    return {label: weight.value for label, weight in weights.items()}, next(iter(weights.values())).reason


def test_no_volume_takes_part_in_its_own_choice() -> None:
    weights, reason = chosen([volume(1), volume(5)], [])
    assert weights == {"1": 0.05, "5": 0.01}
    assert "always without the volume that is reported" in reason


def test_volumes_without_a_validation_slice_use_the_weight_of_all() -> None:
    volumes = [volume(1 + i / 100) for i in range(9)]
    used = {validation.label for validation, _ in validation_slices(volumes)}
    assert len(used) == 4
    weights, _ = chosen(volumes, [])
    assert set(weights.values()) == {0.01}


def test_separate_data_decide_alone() -> None:
    weights, reason = chosen([volume(1), volume(5)], [volume(2)])
    assert weights == {"1": 0.02, "5": 0.02}
    assert "1 slice of separate validation data" in reason


def test_single_volume_is_tuned_on_itself_and_says_so() -> None:
    weights, reason = chosen([volume(5, n_slices=9)], [])
    assert weights == {"5": 0.05}
    assert "3 slices of the reported volume itself, which is optimistic" in reason


def test_grid_grows_where_the_best_weight_lies_beyond() -> None:
    weights, reason = chosen([volume(20)], [])
    assert weights["20"] == pytest.approx(0.2)
    assert "from 0.002 to 0.4" in reason


def test_number_of_trials_fills_the_progress_bar() -> None:
    calls = []
    volumes = [volume(1), volume(5)]
    tune("tv", EVERYTHING, volumes, [], Problems(Setup()), lambda: calls.append(1))
    assert len(calls) == number_of_trials("tv", volumes)


def test_only_fully_sampled_volumes_with_reference_are_tuned_on() -> None:
    assert has_reference(volume(1))
    assert not has_reference(volume(1, target=None))
    assert not has_reference(volume(1, mask=np.ones(16, bool)))


def test_untuned_weight_is_the_given_or_the_usual_one() -> None:
    assert untuned(0.3).value == 0.3
    assert untuned(None).value == TV_WEIGHT
    assert "nothing to tune on" in untuned(None).reason
