"""The rooms of the house: who may import whom, where torch and pybind11 may appear, how long a file may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# room -> rooms and outside packages it may import (standard library and itself always). Longest prefix wins.
# `csmri_ext.errors`, `outputs`, `stopping`, `plugins` and `progress` serve every room above the ops.
BASE = {"numpy", "csmri_ext.errors", "csmri_ext.outputs", "csmri_ext.stopping"}
ROOMS = {
    "csmri_ext": {"csmri_ext.*"},  # __init__ names every room, lazily
    "csmri_ext.errors": {"csmri_ext.bridge"},
    "csmri_ext.outputs": {"csmri_ext.bridge", "csmri_ext.errors"},
    "csmri_ext.progress": {"rich"},
    "csmri_ext.stopping": set(),
    "csmri_ext.plugins": {"csmri_ext.errors"},
    "csmri_ext.registration": {"csmri_ext.ops"},
    "csmri_ext.config": {"numpy", "torch", "csmri_ext", "csmri_ext._core", "csmri_ext.bridge"},
    "csmri_ext.metrics": {"numpy", "skimage"},
    "csmri_ext.complexity": {"torch"},
    "csmri_ext.ops": {"torch", "csmri_ext._core"},
    "csmri_ext.physics": {"torch", "numpy", "csmri_ext.ops", "csmri_ext.stopping"},
    "csmri_ext.nn": {"torch", "csmri_ext.ops", "csmri_ext.physics"},
    "csmri_ext.models": {
        "torch",
        "safetensors",
        "csmri_ext",  # its version
        "csmri_ext.nn",
        "csmri_ext.ops",
        "csmri_ext.physics",
        "csmri_ext.errors",
        "csmri_ext.plugins",
    },
    "csmri_ext.bridge": {"numpy", "h5py"},
    "csmri_ext.phantom": BASE | {"scipy", "csmri_ext.bridge", "csmri_ext.physics"},
    "csmri_ext.data": BASE
    | {"torch", "csmri_ext.bridge", "csmri_ext.physics", "csmri_ext.phantom", "csmri_ext.progress"},
    "csmri_ext.iterative": BASE | {"scipy"},
    "csmri_ext.training": BASE
    | {
        "lightning",
        "torch",
        "csmri_ext.models",
        "csmri_ext.data",
        "csmri_ext.bridge",
        "csmri_ext.physics",
        "csmri_ext.progress",
    },
    "csmri_ext.search": BASE
    | {
        "torch",
        "scipy",
        "matplotlib",
        "csmri_ext.data",
        "csmri_ext.models",
        "csmri_ext.nn",
        "csmri_ext.ops",
        "csmri_ext.physics",
        "csmri_ext.bridge",
    },
    "csmri_ext.report": BASE
    | {"scipy", "matplotlib", "jinja2", "markupsafe", "rich", "PIL", "csmri_ext.metrics", "csmri_ext.bridge"},
    "csmri_ext.recon": BASE
    | {
        "rich",
        "scipy",
        "csmri_ext.bridge",
        "csmri_ext.metrics",
        "csmri_ext.physics",
        "csmri_ext.phantom",
        "csmri_ext.data",
        "csmri_ext.iterative",
        "csmri_ext.models",
        "csmri_ext.plugins",
        "csmri_ext.progress",
        "csmri_ext.report",
    },
    "csmri_ext.experiments": BASE
    | {
        "matplotlib",
        "rich",
        "csmri_ext.bridge",
        "csmri_ext.data",
        "csmri_ext.models",
        "csmri_ext.recon",
        "csmri_ext.report",
        "csmri_ext.training",
    },
    "csmri_ext.commands": {"*"},
    "csmri_ext.__main__": {"csmri_ext.commands"},
    "baselines": {
        "torch",
        "numpy",
        "csmri_ext.nn",
        "csmri_ext.ops",
        "csmri_ext.physics",
        "csmri_ext.models",
        "csmri_ext.errors",
    },
    "baselines.networks": {
        "torch",
        "numpy",
        "safetensors",
        "csmri_ext.nn",
        "csmri_ext.ops",
        "csmri_ext.physics",
        "csmri_ext.models",
        "csmri_ext.errors",
        "csmri_ext.recon",
    },
    "baselines.experiments": {"csmri_ext.experiments"},
    "baselines.compare": {"csmri_ext.commands"},
}
ENTRY_POINT_GROUPS = {"csmri_ext.methods", "csmri_ext.experiments"}
# Optional packages, and rooms, that a room may import inside a function, where the format or the reader needs them.
LAZY = {
    "csmri_ext.bridge": {"nibabel", "PIL", "ismrmrd", "hdf5plugin"},
    "csmri_ext.training": {"matplotlib"},
    "csmri_ext.metrics": {"torch", "csmri_ext.complexity"},
    "csmri_ext.recon": {"torch", "cupy", "scipy"},
    "csmri_ext.report": {"torch", "csmri_ext", "csmri_ext.config"},
    "csmri_ext.experiments": {"torch", "csmri_ext.complexity"},
}


def modules() -> list[tuple[str, Path]]:
    files = [*ROOT.glob("csmri_ext/**/*.py"), *ROOT.glob("baselines/**/*.py")]
    return [(".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), f) for f in sorted(files)]


def room_of(module: str) -> str:
    return max((room for room in ROOMS if module == room or module.startswith(room + ".")), key=len)


def imports(tree: ast.Module) -> list[tuple[str, bool]]:
    """Every imported module, and whether the import runs when the file is loaded."""
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    in_function = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in in_function) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name, id(node) not in in_function) for name in names]
    return found


def allowed(name: str, rules: set[str]) -> bool:
    return any(
        rule == "*" or name == rule.removesuffix(".*") or name.startswith(rule.removesuffix(".*") + ".")
        for rule in rules
    )


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name for name, _ in modules()])
def test_imports_point_one_way(module: str, path: Path) -> None:
    room = room_of(module)
    for name, at_load in imports(ast.parse(path.read_text())):
        top = name.split(".")[0]
        if top in sys.stdlib_module_names or name.startswith(room + ".") or name == room:
            continue
        rules = ROOMS[room] | (set() if at_load else LAZY.get(room, set()))
        assert allowed(name, rules), f"{module} (room {room}) imports {name}"


def named_modules(tree: ast.Module) -> list[str]:
    """Every string that is the dotted name of a module of ours, docstrings and annotations aside."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    strings = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    pattern = re.compile(r"(?:csmri_ext|baselines)(?:\.\w+)+|baselines")
    return [name for node in strings if id(node) not in docstrings for name in pattern.findall(node.value)]


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name for name, _ in modules()])
def test_no_string_names_a_room_above(module: str, path: Path) -> None:
    room = room_of(module)
    rules = ROOMS[room] | LAZY.get(room, set())
    for name in named_modules(ast.parse(path.read_text())):
        if module.startswith("csmri_ext"):
            assert not name.startswith("baselines"), f"{module} names {name}: csmri_ext does not know the baselines"
        known = name.startswith(room) or name in ENTRY_POINT_GROUPS or allowed(name, rules)
        assert known or not (ROOT / name.replace(".", "/")).with_suffix(".py").exists(), f"{module} names {name}"


# room of csrc -> rooms that it may include; "op": the rooms of the ops
CSRC_ROOMS = {
    "core": set(),
    "fft": {"core"},
    "rows": {"core"},
    "op": {"core", "fft", "rows"},
    "bindings": {"core", "fft", "rows", "op"},
}


def csrc_kind(room: str) -> str:
    return room if room in CSRC_ROOMS else "op"


def csrc_faults(csrc: Path) -> list[str]:
    """What in a tree of kernel sources includes what it may not."""
    faults = []
    for path in sorted(f for f in csrc.rglob("*") if f.suffix in {".cpp", ".hpp", ".cu", ".cuh", ".h"}):
        name, room = str(path.relative_to(csrc)), path.relative_to(csrc).parts[0]
        if room == path.name:
            faults.append(f"{name} is in no room")
        for include in re.findall(r'#\s*include\s*[<"]([^>"]+)[>"]', path.read_text()):
            first = include.split("/")[0]
            if first in {"torch", "ATen", "c10", "c10d"} or include == "Python.h":
                faults.append(f"{name} includes {include}: the core knows no torch")
            elif first == "pybind11" and room != "bindings":
                faults.append(f"{name} includes {include}: only bindings know Python")
            elif (csrc / first).is_dir() and first != room and csrc_kind(first) not in CSRC_ROOMS[csrc_kind(room)]:
                faults.append(f"{name} includes {include}")
    return faults


def test_rooms_of_csrc_include_one_way() -> None:
    assert {path.name for path in (ROOT / "csrc").iterdir() if path.is_dir()} > {"core", "fft", "rows", "bindings"}
    assert csrc_faults(ROOT / "csrc") == []


@pytest.mark.parametrize(
    ("file", "include"),
    [
        ("core/vec.hpp", "fft/lines.hpp"),
        ("fft/lines.hpp", "rows/pixel_rows.hpp"),
        ("rows/pixel_rows.hpp", "nasn/schedule.hpp"),
        ("nasn/schedule.hpp", "hsab/gelu.hpp"),
        ("nasn/schedule.hpp", "bindings/binding.hpp"),
        ("nasn/schedule.hpp", "pybind11/pybind11.h"),
        ("bindings/nasn.cpp", "torch/torch.h"),
        ("lost.hpp", "cstdint"),
    ],
)
def test_an_include_that_points_back_is_found(tmp_path: Path, file: str, include: str) -> None:
    for room in ("core", "fft", "rows", "nasn", "hsab", "bindings"):
        (tmp_path / room).mkdir()
    (tmp_path / "bindings" / "module.cpp").write_text('#include <pybind11/stl.h>\n#include "nasn/schedule.hpp"\n')
    assert csrc_faults(tmp_path) == []
    (tmp_path / file).write_text(f'#include "{include}"\n')
    assert len(csrc_faults(tmp_path)) == 1


def test_an_op_is_entered_where_the_pages_say() -> None:
    """csrc/README.md and CONTRIBUTING.md count the files that an op touches: five with its stem, four that name it."""
    op, room = "split_depthwise", "split_depthwise"
    stem = {
        f"csrc/{room}/{op}.hpp",
        f"csrc/{room}/{op}_cpu.cpp",
        f"csrc/{room}/{op}_cuda.cu",
        f"csmri_ext/ops/{op}.py",
        f"tests/ops/test_{op}.py",
    }
    entered = {
        f"csrc/bindings/{room}.cpp",
        "csmri_ext/ops/reference.py",
        "csmri_ext/ops/__init__.py",
        "tests/op_samples.py",
    }
    assert all((ROOT / name).exists() for name in stem | entered)
    places = [ROOT / "CMakeLists.txt", *ROOT.glob("cmake/*"), *ROOT.glob("csrc/**/*"), *ROOT.glob("csmri_ext/ops/*.py")]
    naming = {
        str(f.relative_to(ROOT)) for f in places if f.suffix in {".txt", ".cmake", ".cpp", ".cu", ".hpp", ".cuh", ".py"}
        and op in f.read_text() and f.parent.name != room
    }  # fmt: skip
    assert naming == {name for name in stem | entered if name.startswith(("csrc/b", "csmri_ext"))}


def test_the_newest_op_is_as_many_files_as_the_page_says() -> None:
    """docs/extending.md: fifteen files, without its layer, the speed table, planted faults and what is generated."""
    op = "hsab_feed_forward"
    files = [f for room in ("csrc", "csmri_ext", "tests", "cmake") for f in (ROOT / room).rglob("*") if f.is_file()]
    readable = {".py", ".cpp", ".hpp", ".cu", ".cuh", ".toml", ".cmake", ".txt"}
    naming = {str(f.relative_to(ROOT)) for f in [*files, ROOT / "CMakeLists.txt"] if f.suffix in readable and (
        op in f.name or op in f.read_text()
    )}  # fmt: skip
    counted = {x for x in naming if "/nn/" not in x and not x.startswith(("tests/mutants/", "tests/test_layout.py"))}
    assert len(counted) == 15, sorted(counted)
    assert "fifteen in today's tree" in (ROOT / "docs" / "extending.md").read_text()


def test_no_long_file_and_no_catch_all_name() -> None:
    files = [f for f in ROOT.glob("**/*.*") if f.suffix in {".py", ".cpp", ".hpp", ".cu", ".cuh", ".h"}]
    files = [f for f in files if not {".venv", "build"} & set(f.relative_to(ROOT).parts)]
    assert len(files) > 20
    for path in files:
        assert path.stem not in {"utils", "helpers", "common", "misc"}, path
        lines = len(path.read_text().splitlines())
        assert lines <= 420, f"{path.relative_to(ROOT)} has {lines} lines: does it hold one idea?"


def test_reading_a_file_does_not_import_torch() -> None:
    code = "import csmri_ext, sys; csmri_ext.bridge.read_cfl; assert 'torch' not in sys.modules; print('ok')"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == "ok\n", result.stderr
