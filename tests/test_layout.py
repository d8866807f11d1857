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
# `csmri_ext.errors`, `csmri_ext.stopping` and `csmri_ext.progress` serve every room above the operators.
BASE = {"numpy", "csmri_ext.errors", "csmri_ext.stopping"}
ROOMS = {
    "csmri_ext": {"csmri_ext.*"},  # __init__ names every room, lazily
    "csmri_ext.errors": {"csmri_ext.bridge"},
    "csmri_ext.progress": {"rich"},
    "csmri_ext.stopping": set(),
    "csmri_ext.config": {"numpy", "torch", "csmri_ext", "csmri_ext._core", "csmri_ext.bridge"},
    "csmri_ext.metrics": {"numpy", "skimage"},
    "csmri_ext.complexity": {"torch"},
    "csmri_ext.ops": {"torch", "csmri_ext._core"},
    "csmri_ext.physics": {"torch", "numpy", "csmri_ext.ops"},
    "csmri_ext.nn": {"torch", "csmri_ext.ops", "csmri_ext.physics"},
    "csmri_ext.models": {"torch", "safetensors", "csmri_ext.nn", "csmri_ext.ops", "csmri_ext.errors"},
    "csmri_ext.bridge": {"numpy", "h5py"},
    "csmri_ext.phantom": BASE | {"scipy", "csmri_ext.bridge", "csmri_ext.physics"},
    "csmri_ext.data": BASE | {"torch", "csmri_ext.bridge", "csmri_ext.physics", "csmri_ext.phantom"},
    "csmri_ext.iterative": BASE | {"scipy"},
    "csmri_ext.training": BASE
    | {"lightning", "torch", "csmri_ext.models", "csmri_ext.data", "csmri_ext.bridge", "csmri_ext.physics"},
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
        "csmri_ext.bridge",
        "csmri_ext.metrics",
        "csmri_ext.physics",
        "csmri_ext.phantom",
        "csmri_ext.data",
        "csmri_ext.iterative",
        "csmri_ext.models",
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
    "baselines": {"torch", "numpy", "csmri_ext.nn", "csmri_ext.ops", "csmri_ext.models", "csmri_ext.errors"},
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
    "csmri_ext.bridge": {"nibabel", "PIL"},
    "csmri_ext.training": {"matplotlib"},
    "csmri_ext.metrics": {"torch", "csmri_ext.complexity"},
    "csmri_ext.recon": {"torch", "cupy"},
    "csmri_ext.report": {"torch", "csmri_ext", "csmri_ext.config"},
    "csmri_ext.experiments": {"torch"},
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


def test_core_is_torch_free() -> None:
    for path in [*ROOT.glob("csrc/**/*.[ch]pp"), *ROOT.glob("csrc/**/*.cu*")]:
        includes = re.findall(r'#\s*include\s*[<"]([^>"]+)[>"]', path.read_text())
        rooms = {name.split("/")[0] for name in includes if "/" in name}
        assert not {"torch", "ATen", "c10"} & rooms, f"{path.name} includes torch"
        if path.stem not in {"bindings", "bindings_separable"}:
            assert not {"pybind11"} & rooms, f"{path.name} includes pybind11"
            own = path.relative_to(ROOT / "csrc").parts[0]
            outside = {room for room in rooms if (ROOT / "csrc" / room).is_dir()} - {"core", own}
            assert not outside, f"{path} includes {outside}: a room includes itself and core only"


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
