"""The parts of the benchmarks that need neither a GPU nor a quiet machine."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks are not installed

from benchmarks import end_to_end, gpu_all, gpu_table, phantom_statistics, speed_table, whole_volume  # noqa: E402
from benchmarks.cases import COMPILED, all_cases  # noqa: E402
from csmri_ext.errors import InputError  # noqa: E402
from csmri_ext.phantom import phantom  # noqa: E402
from csmri_ext.phantom.statistics import image_statistics, mean_statistics  # noqa: E402


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)


def test_every_small_case_runs_and_agrees() -> None:
    names = all_cases()
    assert set(COMPILED) <= set(names)
    small = all_cases("overhead")
    assert len(small) >= 3
    for build in small.values():
        case = build(False)
        case.ours()
        for rival in case.rivals.values():
            rival()
        assert case.n_bytes > 0
        assert case.flops > 0
        assert case.check is None or case.check() < 1e-6


def test_one_small_case_measured_into_readme_and_json(tmp_path: Path) -> None:
    readme, numbers = tmp_path / "README.md", tmp_path / "new" / "speed.json"
    readme.write_text("before\n<!-- speed -->\nold\n<!-- end of speed -->\nafter\n")
    command = [
        "-m",
        "benchmarks.ops_speed",
        "--only",
        "split_depthwise overhead",
        "--threads",
        "1",
        "--repetitions",
        "3",
    ]
    done = python(*command, "--no-levels", "--json", str(numbers), "--page", str(readme))
    assert done.returncode == 0, done.stderr
    row = json.loads(numbers.read_text())["runs"][0]["rows"][0]
    assert row["ms"]["ours"] > 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- speed -->\n")
    assert text.endswith("\n<!-- end of speed -->\nafter\n")
    assert "K2 SDC" in text
    assert "old" not in text
    again = python("-m", "benchmarks.ops_speed", "--from-json", str(numbers))
    assert again.stdout.strip() in text


def test_table_says_where_we_lose() -> None:
    row = {"name": "x", "case": "X", "target": "", "bound": "bytes", "floor_ms": 1.0, "ms": {"ours": 4.0, "eager": 2.0}}
    runs = [
        {"allocator": allocator, "threads": 1, "machine": "M", "fma_gflops": 1.0, "copy_gbytes": 1.0}
        | {"rows": [row | {"ratio": {"eager": ratio}}]}
        for allocator, ratio in (("tuned", 0.5), ("default", 1.5))
    ]
    text = speed_table.markdown({"repetitions": 15, "runs": runs, "levels": [], "alternation": []})
    assert "| X | 4 | 25 % of bytes | eager | 0.5 (1.5) **we lose** |" in text


def test_a_file_without_the_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="<!-- speed -->"):
        speed_table.put_after_marker("# README", "table")


def test_table_of_networks_and_names() -> None:
    ways = {"ours": 10.0, "twins": 25.0}
    memory = {f"{kind},{side}": 1e6 for kind in ("inference", "training") for side in ("ours", "twins")}
    row = {"name": "net", "parameters": 1234, "batch": 1, "threads": 2, "flops": 2e9, "ms": ways, "difference": 1e-7}
    row["ratio"] = {"twins": 2.5, "channels_last": 1.8}
    rows = [row | {"what": "inference", "memory": memory}, row | {"what": "training"}]
    bart = [{"name": "net", "bart": "0.8", "ms": {"network": 10.0, "bart": 90.0}, "ratio": 9.0}]
    text = end_to_end.table({"rows": rows, "bart": bart})
    assert "| net | 1,234 | inference | 1 | 2 | 2.0 | 10 | 200.0 | 2.50 | 1.80 | - | 1.0e-07 | 1, 1; 1, 1 |" in text
    assert "| net | 1,234 | training | 1 | 2 | 6.0 | 10 | 600.0 | 2.50 | 1.80 | - | 1.0e-07 |  |" in text
    assert "best form / ours: 1.80, lowest 1.80" in text
    assert "9.0 times as long" in text
    from benchmarks.models import constructors

    assert {"ga_hqs", "nasn_knee"} <= set(constructors())


def test_end_to_end_where_compiled_code_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def worker(_module: str, arguments: list[str], threads: int, _allocator: str) -> dict[str, Any]:
        if "--memory" in arguments:
            return {"bytes": 1_000_000}
        if "--no-compile" not in arguments:
            raise subprocess.CalledProcessError(-6, arguments)
        what = "training" if "--training" in arguments else "inference"
        row = {"name": "net", "threads": threads, "batch": 1, "what": what, "parameters": 1, "flops": 1e9}
        return row | {"difference": 0.0, "ms": {"ours": 10.0}, "ratio": {"twins": 3.0}}

    monkeypatch.setattr(end_to_end, "in_fresh_process", worker)
    options = argparse.Namespace(
        only="net.safetensors",
        repetitions=3,
        no_compile=False,
        threads=[2],
        batch=[1],
        training=True,
        against_bart=None,
    )
    text = end_to_end.table(end_to_end.run_all(options))
    for what in ("inference", "training"):
        assert f"net, {what}, 2 thread(s): torch.compile failed (exit code -6 of its process)" in text
    assert text.count("| 3.00 | - | - |") == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_all_says_what_is_missing() -> None:
    done = python("-m", "benchmarks.gpu_all")
    assert done.returncode == 1
    assert "gpu_all cannot run here" in done.stderr
    assert "torch" in done.stderr
    assert "Traceback" not in done.stderr


def test_gpu_table() -> None:
    def case(**ways: Any) -> dict[str, Any]:
        return {
            "name": "x",
            "case": "X",
            "bytes": 8_000_000,
            "flops": 1_000_000,
            "sets": 4,
            "error": 1e-7,
            "ways": ways,
        }

    ours, rival = {"graph_us": 4.0, "eager_us": 9.0}, {"graph_us": 12.0, "eager_us": 30.0}
    rates = {"copy": 4e12, "fp32": 6e13, "tf32": 4e14, "bf16": 8e14}
    fast = {
        "gpu": "G",
        "torch": "2",
        "ceilings": rates,
        "cases": [case(ours=ours, eager=rival, compiled={"error": "E"})],
    }
    fast["models"] = [
        {"name": "net", "batch": 1, "peak_bytes": 2e6}
        | {"ways": {"ours": ours, "twins": rival, "torch.compile of the twins": rival}},
        {"name": "net", "batch": 8, "failed": "out of memory"},
    ]
    results = {
        "checks": {"memcheck": {"exit": 9}},
        "variants": {"fast": fast, "portable": {"cases": [case(ours=rival)]}},
    }
    text = gpu_table.markdown(results)
    assert "- memcheck: FAILED" in text
    assert "| X | 4.0 (9.0) | 50 % | 2000, 0.2 | 12.0 (30.0) | eager | 12.0 (30.0) | 3.0 | 1.0e-07 |" in text
    assert "| compiled | E |" in text
    assert "| net | 8 | out of memory |" in text


def test_gpu_all_refuses_numbers_of_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout='text\n{"core": "/elsewhere/_core.so"}\n')
    monkeypatch.setattr(gpu_all, "run", lambda *_: answer)
    with pytest.raises(RuntimeError, match="measured /elsewhere"):
        gpu_all.measure(tmp_path, [])
    failed = subprocess.CompletedProcess([], 3, stdout="reason\n")
    monkeypatch.setattr(gpu_all, "run", lambda *_: failed)
    with pytest.raises(RuntimeError, match=r"ended with 3: reason"):
        gpu_all.measure(tmp_path, [])


def test_quality_tunes_tv_on_the_slices_it_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import quality
    from csmri_ext.phantom import phantom_volume

    monkeypatch.setattr(quality, "WEIGHTS", (1e-4, 0.02))
    monkeypatch.setattr(quality, "bart_is_there", lambda: False)
    slices = [quality.smooth_phase(image, 0) for image in phantom_volume(2, 48, 3)]
    from csmri_ext import models
    from csmri_ext.recon import methods

    files = [tmp_path / folder / "mine.safetensors" for folder in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        models.save_weights(models.create("nasn_2nodes"), file, {"architecture": "nasn_2nodes"})
    networks = methods.choose(",".join(["dccnn3", *map(str, files)]), bart=False)
    weight, found = quality.judge("random", 4, slices, networks, seed=0)
    assert list(found) == ["zero-filled", "tv", "dccnn3", "a-mine", "b-mine"]
    assert weight in quality.WEIGHTS
    zero_filled, tv = (sum(found[name][0]) for name in ("zero-filled", "tv"))
    assert tv > zero_filled
    problems = [quality.undersample(image, "random", 4, 0)[0] for image in slices]
    assert tv == max(sum(quality.scores(methods.get("tv"), slices, problems, w)[0]) for w in quality.WEIGHTS)
    results = {("random", 4): (weight, found)}
    assert f"| random 4x | {weight:g} | " in quality.table(results)
    assert b"PSNR" in quality.draw(results)


def test_quality_says_before_it_begins_what_it_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import quality

    monkeypatch.setattr(quality, "open_images", lambda _: pytest.fail("it has begun"))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "out" / "quality.md").mkdir(parents=True)
    for out, why in (("file", "not a directory"), ("out", "it is a folder")):
        monkeypatch.setattr(sys, "argv", ["quality", "a.npy", "--networks", "dccnn3", "--out", str(tmp_path / out)])
        with pytest.raises(InputError, match=why):
            quality.main()
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("option", ["--json", "--page"])
def test_speed_says_before_it_begins_what_it_cannot_write(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import ops_speed

    monkeypatch.setattr(ops_speed, "run_all", lambda _: pytest.fail("it has begun"))
    monkeypatch.setattr(sys, "argv", ["ops_speed", option, str(tmp_path)])
    with pytest.raises(InputError, match="it is a folder"):
        ops_speed.main()


def test_quality_keeps_files_apart_from_the_methods_beside_them(tmp_path: Path) -> None:
    from benchmarks import quality
    from csmri_ext import models

    files = [tmp_path / folder / name for folder in ("a", "b") for name in ("tv.safetensors", "tv-bart.safetensors")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        models.save_weights(models.create("nasn_2nodes"), file, {"architecture": "nasn_2nodes"})
    one = quality.chosen_networks(f"dccnn3,{files[0]}")
    assert [method.name for method in one] == ["dccnn3", "a-tv"]
    names = [method.name for method in quality.chosen_networks(",".join(map(str, files)))]
    assert names == ["a-tv", "a-tv-bart", "b-tv", "b-tv-bart"]


def test_quality_calibrates_a_slice_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import quality
    from csmri_ext.phantom import phantom_volume
    from csmri_ext.physics import estimate_sens_maps
    from csmri_ext.physics.calibration import estimate

    solved = []
    solve = estimate.maps_and_object
    monkeypatch.setattr(
        estimate, "maps_and_object", lambda *args, **words: solved.append(args) or solve(*args, **words)
    )
    cropped, whole = quality.undersample(phantom_volume(1, 48, 3)[0], "random", 4, 0, quality.Scanner(coils=3))
    assert len(solved) == 1
    kspace, mask = torch.from_numpy(cropped.kspace), torch.from_numpy(cropped.mask)
    for problem, kind in ((cropped, True), (whole, False)):
        np.testing.assert_array_equal(problem.sens_maps, estimate_sens_maps(kspace, mask, cropped=kind).numpy())
        np.testing.assert_array_equal(problem.kspace, cropped.kspace)
    known, same = quality.undersample(phantom_volume(1, 48, 3)[0], "random", 4, 0, quality.Scanner(3, true_maps=True))
    assert len(solved) == 3
    np.testing.assert_array_equal(known.kspace, cropped.kspace)
    np.testing.assert_array_equal(known.sens_maps[0], quality.coil_maps((48, 48), 3, 0))
    assert same is known


def test_equal_budget_pairs_slices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import equal_budget

    def scores(by: float) -> dict[str, list[list[float]]]:
        better = [[30.0, 31.0, 32.0], [0.8, 0.9, 0.7]]
        return {"worse": [[29.0 - by, 30.5, 31.5 - by], [0.7, 0.8, 0.6]], "ga_hqs": better}

    found = {name: {"weight": None, "scores": scores(by)} for name, by in (("random 4x", 0.0), ("radial 8x", 1.0))}
    (tmp_path / "quality.json").write_text(json.dumps(found))
    monkeypatch.setattr(sys, "argv", ["equal_budget", f"Brain={tmp_path / 'quality.json'}"])
    equal_budget.main()
    assert capsys.readouterr().out.splitlines() == [
        "| network | Brain | dB to ga_hqs |",
        "|---|---|---|",
        "| ga_hqs | 31.00 / 0.8000 |  |",
        "| worse | 30.00 / 0.7000 | -1.00, behind on 3 of 3, p 0.25 |",
    ]


def test_equal_budget_says_what_is_wrong_with_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import equal_budget

    monkeypatch.chdir(tmp_path)
    slices = [[30.0, 31.0], [0.8, 0.9]]
    for name, content in {
        "good": {"random 4x": {"scores": {"ga_hqs": slices, "dccnn3": slices}}},
        "fewer": {"random 4x": {"scores": {"ga_hqs": slices}}},
        "other": {"random 4x": {"scores": {"dccnn3": slices}}},
        "ragged": {"a": {"scores": {"ga_hqs": slices}}, "b": {"scores": {"ga_hqs": [[1.0], [1.0]]}}},
        "flat": {"a": {"scores": {"ga_hqs": [1.0, 2.0]}}},
        "empty": {},
        "list": [],
        "foreign": {"a": 1},
    }.items():
        Path(f"{name}.json").write_text(json.dumps(content))
    Path("bytes.json").write_bytes(b"\xff{")
    damaged = {f"B={name}.json": "is not what" for name in ("ragged", "flat", "empty", "list", "foreign", "bytes")}
    for word, said in damaged.items() | {
        ("good.json", "good.json: expected NAME=FILE"),
        ("=good.json", "expected NAME=FILE"),
        ("B=none.json", "none.json: No such file"),
        ("B=.", ".: Is a directory"),
        ("B=other.json", "other.json has no ga_hqs, but dccnn3"),
        ("B=fewer.json", "fewer.json has no dccnn3, which the first file has"),
        ("A=fewer.json", "A was named before"),
    }:
        monkeypatch.setattr(sys, "argv", ["equal_budget", "A=good.json", word])
        with pytest.raises(SystemExit) as stopped:
            equal_budget.main()
        text = capsys.readouterr().err
        assert stopped.value.code == 2 and text.count("\n") == 1 and said in text, (word, text)


def test_learning_curves_of_two_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import learning_curves

    for name, gain in (("a", 1.0), ("b", 2.0)):
        logs = tmp_path / name / "csv" / "part_000"
        logs.mkdir(parents=True)
        (tmp_path / name / "run.json").write_text(json.dumps({"name": name}))
        rows = [f"{100 * i - 1},{1 / i},{20 + gain * i if i % 5 == 0 else ''}" for i in range(1, 21)]
        (logs / "metrics.csv").write_text("\n".join(["step,loss_epoch,val_psnr", *rows]) + "\n")
    figure = tmp_path / "new" / "curves.svg"
    runs = [str(tmp_path / name) for name in "ab"]
    monkeypatch.setattr(sys, "argv", ["learning_curves", *runs, "--table", "--out", str(figure)])
    learning_curves.main()
    assert "<svg" in figure.read_text()
    table = capsys.readouterr().out
    assert "| step | a | b |" in table
    assert "| 500 | 25.00 | 30.00 |" in table
    assert "| 2000 | 40.00 | 60.00 |" in table


def test_phantom_statistics_with_and_without_real_slices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slices in a file stand for real ones; the table has their numbers, the figure their name."""
    slices = np.stack([np.abs(phantom(48, seed, anatomy="body")) for seed in (50, 51)])
    (tmp_path / "knees").mkdir()
    np.save(tmp_path / "knees" / "a.npy", slices)
    figure, picture = tmp_path / "new" / "figure.svg", tmp_path / "newer" / "picture.png"
    command = ["phantom_statistics", "--count", "2", "--size", "32"]
    for real in ([], ["--real", str(tmp_path / "knees" / "a.npy"), "--out", str(figure)]):
        monkeypatch.setattr(sys, "argv", [*command, *real])
        phantom_statistics.main()
        rows = capsys.readouterr().out.splitlines()
        assert len(rows) == 2 + len(phantom_statistics.KINDS) + bool(real)
    found = [row for row in rows if row.startswith("| real: knees | 2 |")]
    numbers = mean_statistics([image_statistics(image) for image in slices]).numbers
    assert f"{numbers['grain']:.4f}" in found[0]
    assert ElementTree.parse(figure).getroot().tag.endswith("svg")
    monkeypatch.setattr(sys, "argv", [*command, "--montage", str(picture), "--columns", "3"])
    phantom_statistics.main()
    with Image.open(picture) as image:
        assert image.size == (3 * 32, len(phantom_statistics.KINDS) * 32)
        assert image.getextrema() == (0, 255)


def test_calibration_table(bart_binary: str) -> None:
    done = python(
        "-m", "benchmarks.calibration", "--size", "48", "--phantoms", "1", "--lines", "12,5", "--repetitions", "1"
    )
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:3] == "| e"]
    assert [row[0] for row in rows] == ["espirit", "espirit"]
    assert all(float(row[2]) > 15 for row in rows)
    assert float(rows[1][3]) > 5  # five columns: ecalib cuts the object off, or ends with an error


def test_what_the_stages_of_a_volume_share() -> None:
    spans = {"calibration": [(0.0, 2.0), (2.0, 4.0)], "network": [(2.0, 3.0), (4.0, 6.0)]}
    found = {"whole": 8.0, "peak": 700.4, "spans": {stage: spans.get(stage, []) for stage in whole_volume.STAGES}}
    *_, calibration, network, told = whole_volume.table(found, 2)
    assert calibration == "| calibration | 4.00 | 50 % | 0.00 |"
    assert network == "| network | 3.00 | 38 % | 1.00 |"
    for words in ("8.0 s, 4.00 s a slice", "25 % of reading and calibration", "75 % of the", "700 MB"):
        assert words in told
