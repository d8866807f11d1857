"""The faults of `make mutants` fit the sources, and the program that plants them tells caught ones from survivors."""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from mutants.run import (
    CAUGHT,
    DOES_NOT_BUILD,
    NO_LONGER_APPLIES,
    NOT_JUDGED,
    ROOT,
    SURVIVED,
    Core,
    Mutant,
    judge_all,
    mutants,
)

ALL = mutants()
FEWEST = 100
# room -> the fewest faults that are planted in it
ROOMS = {
    "csmri_ext/bridge": 20,
    "csmri_ext/commands": 5,
    "csmri_ext/data": 5,
    "csmri_ext/iterative": 5,
    "csmri_ext/metrics.py": 3,
    "csmri_ext/models": 3,
    "csmri_ext/nn": 5,
    "csmri_ext/ops": 5,
    "csmri_ext/phantom": 3,
    "csmri_ext/physics": 15,
    "csmri_ext/recon": 10,
    "csmri_ext/report": 10,
    "csmri_ext/search": 5,
    "csmri_ext/training": 5,
    "baselines": 2,
    "csrc": 15,
}


def names_in(path: Path) -> set[str]:
    """Names of the tests of a file, as pytest has them, without parameters."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        before = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {before + each.name for each in inside if isinstance(each, ast.FunctionDef)}
    return found


def test_there_are_faults_enough_in_every_room() -> None:
    assert len(ALL) >= FEWEST
    for room, fewest in ROOMS.items():
        assert sum(mutant.file.startswith(room) for mutant in ALL) >= fewest, room
    assert len({(mutant.file, mutant.find) for mutant in ALL}) == len({(m.file, m.find, m.replace) for m in ALL})
    assert len({str(mutant) for mutant in ALL}) == len(ALL), "two faults have one name"


def test_every_fault_fits_its_file() -> None:
    for mutant in ALL:
        text = (ROOT / mutant.file).read_text()
        assert text.count(mutant.find) == 1, f"{mutant}: {mutant.find!r} occurs {text.count(mutant.find)} times"
        edited = mutant.applied_to(text)
        assert edited not in (None, text), mutant
        if mutant.file.endswith(".py"):
            ast.parse(edited or "")  # caught by its test, not by Python's parser


def test_the_tests_of_every_fault_exist() -> None:
    known: dict[str, set[str]] = {}
    for mutant in ALL:
        assert mutant.tests, mutant
        for test in mutant.tests:
            file, _, name = test.partition("::")
            if file not in known:
                known[file] = names_in(ROOT / file)
            assert name.partition("[")[0] in known[file], f"{mutant}: {test}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of one module and one test, under git, with what is ignored and what is not committed."""
    (tmp_path / "module.py").write_text("def double(x):\n    return 2 * x\n\n\ndef triple(x):\n    return 3 * x\n")
    (tmp_path / "test_module.py").write_text(
        "import module\nimport pytest\n\n\ndef test_double():\n    assert module.double(2) == 4\n\n\n"
        "@pytest.mark.skip\ndef test_skipped():\n    assert module.double(2) == 4\n"
    )
    (tmp_path / ".gitignore").write_text("left_out\n")
    (tmp_path / "left_out").write_text("")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    return tmp_path


def test_what_the_program_says(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    double, skipped = ("test_module.py::test_double",), ("test_module.py::test_skipped",)
    planted = {
        CAUGHT: Mutant("module.py", "2 * x", "3 * x", double, "a wrong factor"),
        SURVIVED: Mutant("module.py", "3 * x", "4 * x", double, "a factor that nobody looks at"),
        NOT_JUDGED: Mutant("module.py", "2 * x", "3 * x", skipped, "a test that is skipped"),
        NO_LONGER_APPLIES: Mutant("module.py", "return", "yield", double, "an edit that fits twice"),
    }
    before = {path.name: path.read_bytes() for path in tree.glob("*.py")}
    assert judge_all(tree, list(planted.values())) == Counter(planted.keys())
    told = capfd.readouterr().out
    assert "SURVIVED" in told
    assert "module.py: a factor that nobody looks at" in told
    assert {path.name: path.read_bytes() for path in tree.glob("*.py")} == before, "the user's tree stays as it is"
    assert DOES_NOT_BUILD not in told


def test_tests_that_fail_without_a_fault_judge_nothing(tree: Path) -> None:
    (tree / "test_module.py").write_text("def test_double():\n    assert False\n")
    with pytest.raises(SystemExit, match="without any fault these tests fail already"):
        judge_all(tree, [Mutant("module.py", "2 * x", "3 * x", ("test_module.py::test_double",), "any")])


def test_faults_of_the_compiled_core_are_built_where_they_are_planted(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With several copies of the tree, only one of which has a build."""

    def build(core: Core) -> bool:
        (core.tree / "module.py").write_text((core.tree / "csrc/module.py").read_text())
        shutil.rmtree(core.tree / "__pycache__", ignore_errors=True)  # as old and as long as the text before it
        return True

    monkeypatch.setattr(Core, "build", build)
    (tree / "csrc").mkdir()
    (tree / "csrc/module.py").write_text((tree / "module.py").read_text())
    test = ("test_module.py::test_double",)
    faults = [Mutant("csrc/module.py", "2 * x", f"{factor} * x", test, f"factor {factor}") for factor in (3, 4, 5)]
    assert judge_all(tree, faults, jobs=2) == Counter({CAUGHT: 3})
