"""Every option of every command with hostile words: it works, or one line says what is wrong and the exit code is 2."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_words import WORDS, lines_with, make_files, options_with_words, parser_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csmri_ext.commands.cli import COMMANDS, main
from csmri_ext.errors import InputError
from csmri_ext.models import build, save_weights

pytest.importorskip("lightning")

SMALL = {
    "recon": "good.npy {out}.npy --method zero-filled",
    "compare": "good.npy --methods zero-filled --acceleration 4 --out {out}",
    "train": "--model dccnn3 --data scans --out {out} --size 16",
    "search": "--data scans --out {out} --nodes 1 --cells 1 --channels 2 --size 16",
    "reproduce": "nasn-nodes --data scans --size 32 --out {out}",
    "info": "dccnn3 --size 16 16",
    "doctor": "good.npy",
}
OPTIONS = options_with_words()
Run = Callable[[Sequence[str]], tuple[int, str]]


@pytest.fixture(scope="module", autouse=True)
def in_folder_with_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("hostile")
        make_files(folder)
        patch.chdir(folder)
        yield folder


@pytest.fixture
def without_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything runs up to the moment at which the long part begins."""

    def nothing(*_: Any, **__: Any) -> str:
        return ""

    parts = ("compare.choose_weights", "compare.run", "compare.publish", "reproduce.run", "reproduce.publish")
    for name in (*parts, "reproduce._estimate", "train.after_training"):
        module, function = name.split(".")
        monkeypatch.setattr(import_module(f"csmri_ext.commands.{module}"), function, nothing)
    monkeypatch.setattr("csmri_ext.commands.search.run", lambda *_, **__: ((("skip", 0),),))
    monkeypatch.setattr("csmri_ext.training.fit", nothing)
    monkeypatch.setattr("csmri_ext.commands.image_options.phantom_shards", nothing)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A command that ends in exit code 0, in 1 of doctor, or in 2 with one line; what it said."""

    def run(words: Sequence[str]) -> tuple[int, str]:
        capsys.readouterr()
        code = main(words)
        said = capsys.readouterr().err
        assert code in ((0, 1, 2) if words[0] == "doctor" else (0, 2)), (words, said)
        assert "Traceback" not in said
        if code == 2:
            *told, last = said.splitlines()
            assert last.startswith(("error: ", "failed: ")), (words, said)
            assert not [line for line in told if line.startswith("error: ")], (words, said)
        return code, said

    return run


@cache
def accepted(command: str, option: str) -> list[list[str]]:
    """The lines with hostile words that the parser takes; the values that it makes of them are sound."""
    parser, (action,) = parser_of(command), [a for a in parser_of(command)._actions if option in a.option_strings]
    needed = {"recon": ["a", "b"], "reproduce": ["nasn-nodes", "--data", "scans"]}.get(command, [])
    taken = []
    for word in WORDS:
        for line in lines_with(command, option, word):
            try:
                value = getattr(parser.parse_args([*needed, *line]), action.dest)
            except InputError as error:
                assert str(error)
                continue
            for one in value if isinstance(value, (list, tuple)) else [value]:
                assert not isinstance(one, float) or math.isfinite(one), (line, one)
                assert not isinstance(one, int) or abs(one) <= 2**32, (line, one)
                assert one != "", line
            taken.append(line)
    return taken


def test_every_number_has_a_range() -> None:
    """``int`` and ``float`` take NaN, infinity and sizes of any length."""
    for command in COMMANDS:
        for action in parser_of(command)._actions:
            assert action.type not in (int, float), f"csmri {command} {action.option_strings or action.dest}"


@pytest.mark.parametrize("command", COMMANDS)
def test_what_the_parser_takes_is_sound(command: str) -> None:
    for option in (option for name, option in OPTIONS if name == command):
        accepted(command, option)


def run_lines(command: str, most: int | None, run: Run) -> None:
    for option in (option for name, option in OPTIONS if name == command):
        lines = accepted(command, option)
        random.Random(f"{command} {option}").shuffle(lines)
        for number, line in enumerate(lines[:most]):
            run([command, *SMALL[command].format(out=f"{option}_{number}").split(), *line])


@pytest.mark.parametrize("command", COMMANDS)
def test_some_words_that_the_parser_takes(command: str, without_work: None, run: Run) -> None:
    run_lines(command, 2, run)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_all_words_that_the_parser_takes(command: str, without_work: None, run: Run) -> None:
    run_lines(command, None, run)


words = st.one_of(st.sampled_from(WORDS), st.text(st.characters(blacklist_characters="\0"), max_size=8))


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(OPTIONS), words)
def test_any_text(option: tuple[str, str], word: str) -> None:
    command, name = option
    for line in lines_with(command, name, word):
        try:
            parser_of(command).parse_args(["a", "b", *line] if command == "recon" else line)
        except InputError:
            continue


GENOTYPES = {
    "no list": '{"nodes": 3}',
    "no operation": '[[["sep_conv_3x4", 0]]]',
    "a list as operation": '[[[["skip"], 0]]]',
    "an input that is not there": '[[["skip", 7]]]',
    "deep": "[" * 100_000,
    "not text": "\udcff",
}


@pytest.mark.parametrize("case", GENOTYPES)
def test_genotypes(case: str, run: Run) -> None:
    Path("cell.json").write_text(GENOTYPES[case], errors="surrogateescape")
    code, said = run(["train", "--genotype", "cell.json", "--data", "scans", "--out", "g"])
    assert code == 2
    assert "cell.json" in said


LINES = {
    "train": {
        "--device cuda": "--device cuda",
        "--learning-rate nan": "'nan' is not a positive number",
        "--learning-rate=-1e-3": "'-1e-3' is not a positive number",
        "--ema 2": "'2' is not a number of at least 0 and below 1",
        "--ema 1": "below 1",
        "--ema nan": "below 1",
        "--precision foo": "invalid choice: 'foo'",
        "--workers=-1": "'-1' is not a whole number of at least 0",
        "--size=-32": "'-32' is not a whole number of at least 0",
        "--size 3": "training images of 3 rows",
        "--strip=-1": "'-1' is not a whole number of at least 0",
        "--acceleration nan": "acceleration nan: it must be at least 1",
        "--acceleration 100 --mask equispaced": "mask equispaced 100x for images of",
        "--seed=-1": "'-1' is not a whole number from 0",
        "--genotype damaged.json": "leave out --model",
        "--init folder": "folder: is a directory",
        "--init damaged.safetensors": "not a whole safetensors file",
        "--init no/such.ckpt": "no/such.ckpt: no such file",
        "--batch-size 3 --devices 2": "--batch-size 3 cannot be shared by 2 processes",
        "--set channels=-1": "dccnn3 ",
        "--noise nan nan": "'nan' is not a number",
        "--validation folder": "folder",
        "--plugin nothing": "expected MODULE:FUNCTION",
        "--threads 1000000": "is too large",
        "--data=": "after --data: an empty file name",
    },
    "search": {
        "--device cuda": "--device cuda",
        "--learning-rate nan": "'nan' is not a positive number",
        "--alpha-weight-decay=-1": "'-1' is not a number of at least 0",
        "--acceleration 100 --mask equispaced": "mask equispaced 100x for images of 16 x 16",
        "--size=-16": "'-16' is not a whole number",
        "--seed=-1": "'-1' is not a whole number",
        "--nodes 0": "'0' is not a positive whole number",
        "--set momentum=nan": "momentum nan",
        "--set seed=-1": "seed -1",
    },
    "reproduce": {
        "--device cuda": "--device cuda",
        "--size 6": "'6' is not a whole number of at least 16",
        "--seed=-1": "'-1' is not a whole number",
        "--workers=-1": "'-1' is not a whole number of at least 0",
        "--mask damaged.npy": "damaged.npy",
        "--mask folder": "--mask folder",
        "--mask random": "unknown mask of this experiment 'random'",
        "--methods foo": "unknown network of this experiment 'foo'",
    },
}


@pytest.mark.parametrize(("command", "line"), [(command, line) for command, cases in LINES.items() for line in cases])
def test_lines_that_had_ended_in_a_traceback(command: str, line: str, run: Run) -> None:
    if "cuda" in line and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    code, said = run([command, *SMALL[command].format(out="pinned").split(), *line.split()])
    assert code == 2
    assert LINES[command][line] in said


TRAIN = "train --model dccnn3 --data scans --size 16 --steps 1 --batch-size 1 --device cpu --out run"


def damaged(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.write_bytes({"cut": content[:200], "empty": b"", "other": b"\x80\x02}q\0.", "text": b"[1, 2]"}[how])


@pytest.mark.parametrize("how", ["cut", "empty", "other", "text"])
def test_damaged_files_of_a_training(how: str, run: Run) -> None:
    folder = Path("run")
    if not (folder / "last.ckpt").is_file():
        assert run(TRAIN.split())[0] == 0
    for name, advice in (("last.ckpt", "the same command begins anew"), ("run.json", "choose another folder")):
        whole = (folder / name).read_bytes()
        damaged(folder / name, how)
        code, said = run(TRAIN.split())
        assert code == 2
        assert f"run/{name}" in said and advice in said
        (folder / name).write_bytes(whole)
    torch.save({"global_step": 0, "state_dict": {}}, folder / "search.ckpt")
    assert (
        "search.ckpt is not the checkpoint of a search"
        in run(["search", *SMALL["search"].format(out="run").split()])[1]
    )
    settings = json.loads((folder / "run.json").read_text())
    assert settings["name"] == "dccnn3", "a refused run changes nothing"


def test_a_checkpoint_of_another_network(run: Run) -> None:
    folder = Path("other_network")
    folder.mkdir()
    save_weights(build("dccnn3"), folder / "w.safetensors")
    state = {"network.first": torch.zeros(2)}
    content = {"optimizer_states": [], "lr_schedulers": [], "callbacks": {}, "global_step": 0, "state_dict": state}
    torch.save(content, folder / "last.ckpt")
    code, said = run([*TRAIN.replace("--out run", "--out other_network").split()])
    assert code == 2
    assert "is the checkpoint of another network" in said
