from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from small_comparisons import FAST, images, save

from csmri_ext.bridge.load import Files
from csmri_ext.commands import compare
from csmri_ext.errors import InputError
from csmri_ext.recon.planning import Request, make_plan
from csmri_ext.recon.sampling import Sampling
from csmri_ext.report.provenance import available_cores

pytestmark = pytest.mark.usefixtures("in_empty_folder")
ROOT = Path(compare.__file__).parents[1]


def damaged(name: str) -> str:
    """Save a file that begins as one of numpy and ends there."""
    Path(name).write_bytes(Path(save(name)).read_bytes()[:100])
    return name


def test_a_plan_is_made_of_values_without_a_command_line() -> None:
    fixed = {"tv": 0.02, "wavelet": None}
    plan = make_plan(
        Request(
            files=[save("a.npy"), damaged("bad.npy"), save("b.npy", seed=1)],
            methods="tv,zero-filled",
            accelerations=[6.0],
            slices=1,
            seed=3,
            fixed_weights=fixed,
            iterations=7,
            tune_on=[save("c.npy", seed=2)],
            workers=2,
        )
    )
    assert [method.name for method in plan.methods] == ["tv", "zero-filled"]
    assert [(volume.label, len(volume.slices)) for volume in plan.volumes] == [("a.npy", 1), ("b.npy", 1)]
    assert [(volume.label, len(volume.slices)) for volume in plan.validation] == [("c.npy", 2)]
    assert plan.grid == [Sampling("equispaced_fraction", 6.0)]
    assert [(mask["volume"], mask["acceleration"], mask["seed"]) for mask in plan.masks] == [
        ("a.npy", 6.0, 3),
        ("b.npy", 6.0, 3),
    ]
    assert (plan.setup.iterations, plan.setup.workers, plan.setup.bart) == (7, 2, None)
    assert plan.fixed_weights == fixed
    ((what, why),) = plan.failed
    assert what == "bad.npy"
    assert "bad.npy" not in why


def test_options_left_out_ask_for_what_an_empty_request_asks_for() -> None:
    asked = vars(compare.request_of(compare.argument_parser().parse_args([])))
    for name, value in vars(Request(workers=available_cores())).items():
        assert asked[name] == (list(value) if value == () else value), name


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("--tune-on", {"tune_on": ["nosuch.npy"]}),
        ("--sens-maps", {"sens_maps": "nosuch.cfl"}),
        ("--phase-encoding", {"reading": Files({"phase_encoding": "y"})}),
    ],
)
def test_what_a_phantom_takes_no_notice_of_is_refused(option: str, field: dict) -> None:
    with pytest.raises(InputError, match=f"^{option}: only with FILES"):
        make_plan(Request(methods="zero-filled", **field))


def test_where_no_file_is_usable_a_reason_is_given() -> None:
    with pytest.raises(
        InputError, match=r"none of the 2 files can be read; the last: two\.npy: not a readable npy file"
    ):
        make_plan(Request(files=[damaged("one.npy"), damaged("two.npy")], methods="zero-filled"))


def test_no_call_of_a_comparison_climbs_back_to_the_commands(
    without_report: list, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the rooms below find, files that fail included, comes back as data; they call nothing of a command."""
    bad = images()
    bad[0, 3, 3] = np.nan
    np.save("nan.npy", bad)
    words = [save("a.npy"), damaged("bad.npy"), "nan.npy", *FAST, "--acceleration", "4", "--tune-on", save("b.npy")]
    climbs, calls = set(), 0

    def room(frame: FrameType | None) -> str:
        path = Path(frame.f_code.co_filename) if frame is not None else Path()
        return path.relative_to(ROOT).parts[0] if path.is_relative_to(ROOT) else ""

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        if event != "call" or not frame.f_code.co_filename.startswith(f"{ROOT}/"):
            return
        calls += 1
        above, below = room(frame), room(frame.f_back)
        if above == "commands" and below not in ("", "commands"):
            climbs.add((frame.f_code.co_qualname, frame.f_back.f_code.co_qualname if frame.f_back else ""))

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        assert compare.main(words) == 2
    finally:
        sys.setprofile(before)
    assert "nan.npy" in capsys.readouterr().err
    assert calls > 100
    assert climbs == set()
