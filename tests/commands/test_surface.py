"""One word, one meaning, in every command; what all of them share: help, --quiet, --json, completion."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import read_cfl, write_cfl
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.bridge.result_records import read_record
from csmri_ext.commands import values
from csmri_ext.commands.cli import COMMANDS, main
from csmri_ext.commands.shared_options import add_option
from csmri_ext.progress import is_silent, log, silence


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parser_of(command: str) -> argparse.ArgumentParser:
    return import_module(f"csmri_ext.commands.{command}").argument_parser(f"csmri {command}")


def options(command: str) -> dict[str, argparse.Action]:
    """What the help of a command shows, by word."""
    actions = [action for action in parser_of(command)._actions if action.help != argparse.SUPPRESS]
    return {word: action for action in actions for word in action.option_strings}


def image(seed: int = 0) -> np.ndarray:
    blocks = np.kron(np.random.default_rng(seed).random((1, 4, 4)), np.ones((1, 6, 6)))
    return (blocks + 0.01 * np.random.default_rng(9).random(blocks.shape)).astype(np.complex64)


def shown(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main([*words]) == code
    return tuple(capsys.readouterr())  # type: ignore[return-value]


# words


def test_one_word_has_one_type_in_every_command() -> None:
    """Words that several commands have take the same values; those that a command only narrows are named here."""
    narrower = {
        "--mask": {"reproduce"},  # a file, in place of the table's
        "--acceleration": {"recon"},  # one
        "--center-fraction": {"recon"},
        "--seed": {"train", "search", "reproduce"},  # has a default
        "--steps": set(),
        "--size": {"train", "search", "reproduce", "info"},
    }
    found: dict[str, dict[str, tuple[object, ...]]] = {}
    for command in COMMANDS:
        for word, action in options(command).items():
            if command not in narrower.get(word, set()):
                found.setdefault(word, {})[command] = (action.type, action.choices and tuple(action.choices))
    different = {word: by for word, by in found.items() if len(set(by.values())) > 1}
    different.pop("--tv-weight")  # compare can tune it
    for word in ("--data", "--out"):  # paths or texts
        different.pop(word)
    assert different == {}


def test_words_that_mean_the_same_are_one_word() -> None:
    gone = {"--masks", "--accelerations", "--middle", "--limit", "--networks", "--sizes"}
    for command in COMMANDS:
        assert not gone & set(options(command)), command
    assert {command for command in COMMANDS if "--workers" in options(command)} == {"train", "reproduce"}
    assert {command for command in COMMANDS if "--jobs" in options(command)} == {"recon", "compare"}


@pytest.mark.parametrize(
    ("command", "before", "now"),
    [
        ("train", "--masks random poisson", "--mask random poisson"),
        ("train", "--accelerations 2 3", "--acceleration 2 3"),
        ("train", "--nodes 2", "--nnodes 2"),
        ("train", "--sizes 32 0", "--size 32 0"),
        ("train", "--middle 0.5", "--slices 50%"),
        ("train", "--method dccnn3", "--model dccnn3"),
        ("search", "--masks poisson", "--mask poisson"),
        ("search", "--steps 3", "--steps-per-epoch 3"),
        ("compare", "--method tv --masks random", "--methods tv --mask random"),
        ("compare", "--workers 2", "--jobs 2"),
        ("recon", "a b --methods tv --workers 2", "a b --method tv --jobs 2"),
        ("reproduce", "x --data d --networks unet --limit 3", "x --data d --methods unet --slices 3"),
        ("reproduce", "x --data d --middle 0.25", "x --data d --slices 25%"),
    ],
)
def test_earlier_words_go_on_to_work(command: str, before: str, now: str) -> None:
    parser = parser_of(command)
    assert parser.parse_args(shlex.split(before)) == parser.parse_args(shlex.split(now))
    assert parser.parse_args(shlex.split(now)) != parser.parse_args(
        ["a", "b"] if command == "recon" else ["x", "--data", "d"] if command == "reproduce" else []
    )


def test_an_earlier_word_does_not_undo_the_default() -> None:
    parser = argparse.ArgumentParser()
    add_option(parser.add_argument, "--new", before=["--old"], type=int, default=3)
    assert parser.parse_args([]).new == 3
    assert parser.parse_args(["--old", "4"]).new == 4
    assert "--old" not in parser.format_help()


# help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_one_page_in_words(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for words in ([command, "--help"], ["help", command]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert f"usage: csmri {command}" in printed[0]
    for wrong in ("None)", "default: [", "default: (", "==SUPPRESS=="):
        assert wrong not in printed[0]
    for word, action in options(command).items():
        assert action.help, f"csmri {command} {word} is not explained"
        assert action.nargs == 0 or action.choices or action.metavar, f"csmri {command} {word} needs a metavar"


def test_help_without_a_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    printed = shown(capsys, "help")
    assert printed == shown(capsys)
    assert "help       explain a command" in printed[0]
    assert "unknown command 'recom'; did you mean recon" in shown(capsys, "help", "recom", code=2)[1]


def test_defaults_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(parser_of("search").format_help().split())
    assert "stop after so many epochs (default: 50)" in text
    assert "noise relative to the peak (default: 0.0 0.0)" in text
    assert "accelerations (default: 4.0 8.0)" in " ".join(parser_of("compare").format_help().split())


# --quiet


def test_quiet_writes_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("in.npy", fft2c(image()))
    Path("scans").mkdir()
    np.save("scans/in.npy", fft2c(image()))
    assert "out.npy: zero-filled" in shown(capsys, "recon", "in.npy", "out.npy", "--method", "zero-filled")[0]
    assert shown(capsys, "recon", "in.npy", "q.npy", "--method", "zero-filled", "--quiet") == ("", "")
    np.testing.assert_array_equal(np.load("q.npy"), np.load("out.npy"))
    words = ["in.npy", "--methods", "zero-filled", "--acceleration", "2", "--out", "c"]
    assert shown(capsys, "compare", *words, "-q") == ("", "")
    assert Path("c/report.html").is_file()
    assert shown(capsys, "recon", "scans", "images", "--method", "zero-filled", "-q") == ("", "")
    assert Path("images/in.h5").is_file()
    assert not is_silent()


def test_quiet_still_warns_and_fails_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("in.npy", np.fft.ifftshift(fft2c(image()), axes=(-2, -1)))
    printed, said = shown(capsys, "recon", "in.npy", "out.npy", "--method", "zero-filled", "--quiet")
    assert printed == ""
    assert said.startswith("warning: in.npy: zero frequency: at the corner") and said.count("\n") == 1
    printed, said = shown(capsys, "recon", "none.npy", "other.npy", "--quiet", code=2)
    assert (printed, said) == ("", "error: none.npy: no such file or directory\n")


def test_silence_ends() -> None:
    with silence():
        assert log().quiet
    assert not log().quiet


# --json


@pytest.mark.slow
def test_info_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    entry = json.loads(shown(capsys, "info", "nasn_knee", "--json", "--depth", "1")[0])
    assert (entry["name"], entry["parameters"], entry["size"]) == ("nasn_knee", 142272, [320, 320])
    assert entry["flops"] == 142272 * 320 * 320
    assert sum(layer["parameters"] for layer in entry["layers"]) <= entry["parameters"]
    every = json.loads(shown(capsys, "info", "--json", "--size", "32", "32")[0])
    assert {"nasn_knee", "unet", "ga_hqs"} <= {network["name"] for network in every}
    assert next(n for n in every if n["name"] == "unet")["file"] is None


def test_doctor_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(shown(capsys, "doctor", "--json")[0])["kernels"]["compiled core"].startswith("version")
    np.save("good.npy", fft2c(image()))
    np.save("bad.npy", np.fft.ifftshift(fft2c(image()), axes=(-2, -1)))
    good, bad = json.loads(shown(capsys, "doctor", "good.npy", "bad.npy", "--json", code=1)[0])
    assert (good["file"], bad["file"]) == ("good.npy", "bad.npy")
    assert [f["topic"] for f in bad["findings"] if f["level"] == "problem"] == ["zero frequency"]
    assert "problem" not in {f["level"] for f in good["findings"]}


# completion


def completed(script: Path, line: str) -> set[str]:
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    quoted = " ".join(map(shlex.quote, words))
    program = f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _shtab_csmri; printf '%s\\n' "
    done = subprocess.run(["bash", "-c", program + '"${COMPREPLY[@]}"'], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes_commands_options_and_names(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    script = tmp_path / "csmri.bash"
    script.write_text(shown(capsys, "--print-completion", "bash")[0])
    assert completed(script, "csmri re") == {"recon", "reproduce"}
    assert completed(script, "csmri recon --jo") == {"--jobs"}
    assert completed(script, "csmri compare --device c") == {"cpu", "cuda"}
    assert completed(script, "csmri train --model dccnn") == {"dccnn3", "dccnn11"}
    assert completed(script, "csmri help inf") == {"info"}
    assert completed(script, "csmri train --recipe mea") == {"measured"}
    Path("scan.h5").touch()
    assert "scan.h5" in completed(script, "csmri recon sc")


def test_completion_of_what_is_not_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("shtab")
    assert "unknown shell 'ksh'" in shown(capsys, "--print-completion", "ksh", code=2)[1]
    monkeypatch.setitem(sys.modules, "shtab", None)
    said = shown(capsys, "--print-completion", "bash", code=2)[1]
    assert said == 'error: completion is made by the package shtab: pip install "csmri_ext[completion]"\n'


# names of results


def test_a_name_without_extension_is_a_bart_file(capsys: pytest.CaptureFixture[str]) -> None:
    write_cfl("in", fft2c(image()).transpose(2, 1, 0))
    shown(capsys, "recon", "in", "out", "--method", "zero-filled", "--error-map", "error", "--mask", "random")
    assert {path.name for path in Path().iterdir()} >= {"out.cfl", "out.hdr", "error.cfl", "error.hdr"}
    shown(capsys, "recon", "in", "full", "--method", "zero-filled")
    np.testing.assert_allclose(read_cfl("full").T.reshape(24, 24), image()[0], atol=1e-5)
    assert "folder/ is a folder, and the input is one file" in shown(capsys, "recon", "in", "folder/", code=2)[1]
    Path("there").mkdir()
    assert "there is a folder" in shown(capsys, "recon", "in", "there", code=2)[1]
    assert "unknown type of output '.v2'" in shown(capsys, "recon", "in", "out.v2", code=2)[1]


def test_a_result_of_other_settings_is_not_replaced_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("in.npy", fft2c(image()))
    words = ["recon", "in.npy", "out.png"]
    shown(capsys, *words, "--method", "zero-filled")
    before = Path("out.png").read_bytes()
    said = shown(capsys, *words, "--method", "tv", code=2)[1]
    assert "out.png is there already (method zero-filled then, tv now)" in said
    assert "Choose another OUT, or replace it with --overwrite" in said
    assert Path("out.png").read_bytes() == before
    shown(capsys, *words, "--method", "zero-filled")  # the same command makes it again
    shown(capsys, *words, "--method", "tv", "--overwrite")
    assert read_record("out.png")["method"] == "tv"  # type: ignore[index]
    from PIL import Image

    Image.fromarray(np.zeros((4, 4), np.uint8)).save("photo.png")
    said = shown(capsys, "recon", "in.npy", "photo.png", code=2)[1]
    assert "photo.png is there already (how it was made is not recorded in it)" in said
    Path("cut.npy").write_bytes(b"\x93NUMPY")
    shown(capsys, "recon", "in.npy", "cut.npy", "--method", "zero-filled")  # what is not whole may be replaced
    assert np.load("cut.npy").shape == (1, 24, 24)


def test_numbers_at_their_limits() -> None:
    taken = [
        *(values.seed(text) for text in ("0", str(2**32 - 1))),
        *(values.share(text) for text in ("1", "0.001")),
        *(values.shard(text) for text in ("1/3", "3/3")),
        values.slices("100%"),
        values.positive("1"),
        values.count("0"),
    ]
    assert taken == [0, 2**32 - 1, 1.0, 0.001, (0, 3), (2, 3), 1.0, 1, 0]
    refused = {
        values.seed: ("-1", str(2**32), "1.5"),
        values.share: ("0", "1.001", "nan"),
        values.shard: ("0/3", "4/3", "1", "/"),
        values.slices: ("0", "0%", "101%"),
        values.weight: ("0", "-1", "inf", "nan"),
    }
    for parse, texts in refused.items():
        for text in texts:
            with pytest.raises(argparse.ArgumentTypeError):
                parse(text)
