"""`pip install .` in an empty environment: isolated, without torch, and the wheel holds both packages and the core."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pybind11
import pytest

import csmri_ext
from csmri_ext import _core

ROOT = Path(__file__).parents[1]


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert csmri_ext.__version__ == version == _core.build_info()["version"]
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_floors_are_those_of_the_declaration() -> None:
    """`make floors` installs what `pyproject.toml` promises."""
    made = subprocess.run([sys.executable, ROOT / ".ci" / "floors.py"], capture_output=True, text=True, check=True)
    assert made.stdout == (ROOT / "constraints-floors.txt").read_text()
    assert made.stdout.count("==") == 9


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        d for extra in ("test", "lint", "nifti") for d in project["optional-dependencies"][extra]
    ]
    pinned = {
        line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    names = {re.split(r"[<>=\[ ]", d)[0].lower() for d in wanted}
    assert names <= pinned, f"constraints.txt lacks {sorted(names - pinned)}"
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()


def test_every_source_is_built() -> None:
    """CMake finds sources by their names: what it would not find must not exist."""
    patterns = ("csrc/*/*_cuda.cu", "csrc/*/*.cpp")  # *_cpu.cpp among the latter
    assert all(pattern in cmake_lists() for pattern in (*patterns, "csrc/*/*_cpu.cpp"))
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    assert found == {*ROOT.glob("csrc/**/*.cpp"), *ROOT.glob("csrc/**/*.cu")}
    named = re.findall(r"csrc/[\w/]+\.\w+", cmake_lists())  # for an option of its own
    assert named and all((ROOT / name).exists() for name in named)


@pytest.mark.parametrize(
    ("known", "chosen"),
    [
        ("80 90 100 120", "80-real;90-real;100"),
        ("50 52 75 80 86 87 89 90", "75-real;80-real;86-real;90"),  # CUDA 12.0
        ("75 80 86 87 88 89 90 100 110 103 120 121", "75-real;80-real;86-real;90-real;100"),  # CUDA 13.0
        ("35 37 75", "75"),
        ("103 750", None),
    ],
)
def test_architectures_are_those_that_nvcc_knows(tmp_path: Path, known: str, chosen: str | None) -> None:
    script = tmp_path / "choose.cmake"
    listed = "\\n".join(f"compute_{name}" for name in known.split())
    script.write_text(
        f'include("{ROOT}/cmake/cuda_architectures.cmake")\n'
        f'csmri_cuda_architectures("{listed}\\n" result)\nmessage(STATUS "chosen ${{result}}")\n'
    )
    done = subprocess.run([tool("cmake"), "-P", script], capture_output=True, text=True)
    if chosen is None:
        assert done.returncode != 0 and "-DCMAKE_CUDA_ARCHITECTURES" in " ".join(done.stderr.split())
    else:
        assert done.stdout.strip() == f"-- chosen {chosen}", done.stderr


def cmake_lists() -> str:
    return re.sub(r"#.*", "", (ROOT / "CMakeLists.txt").read_text())


def test_every_symbol_of_the_core_is_bound() -> None:
    ctypes.CDLL(_core.__file__, mode=os.RTLD_NOW)


# --- configuring: seconds, nothing is compiled ----------------------------------------------------------------------


def tool(name: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return shutil.which(name, path=path) or name


def configure(build: Path, *definitions: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [tool("cmake"), "-S", ROOT, "-B", build, "-G", "Ninja"]
    command += [f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}", f"-DPython_EXECUTABLE={sys.executable}"]
    command += [f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", *[f"-D{definition}" for definition in definitions]]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def test_cuda_architectures_of_choice(tmp_path: Path) -> None:
    assert configured_architectures(tmp_path, "CMAKE_CUDA_ARCHITECTURES=90a-real") == {"compute_90a,code=[sm_90a]"}
    environment = {"CUDAARCHS": "80-real"}
    assert configured_architectures(tmp_path / "environment", **environment) == {"compute_80,code=[sm_80]"}


def test_cuda_architectures_of_an_older_nvcc(tmp_path: Path) -> None:
    """One that stops at sm_90, as that of CUDA 12.0 does: configuring does not ask for sm_100."""
    older = tmp_path / "nvcc"
    older.write_text(
        '#!/bin/sh\nfor a in "$@"; do\n  [ "$a" = --list-gpu-arch ] && echo compute_80 && echo compute_90 && exit\n'
        f'done\nexec {shutil.which("nvcc")} "$@"\n'
    )
    older.chmod(0o755)
    found = configured_architectures(tmp_path / "build", CUDACXX=str(older))
    assert found == {"compute_80,code=[sm_80]", "compute_90,code=[compute_90,sm_90]"}


def configured_architectures(build: Path, *definitions: str, **environment: str) -> set[str]:
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    done = configure(build, "CSMRI_CUDA=ON", *definitions, **environment)
    assert done.returncode == 0, done.stderr
    flags = (build / "build.ninja").read_text()
    assert "libcudart_static.a" in flags
    assert "libcudart.so" not in flags
    return set(re.findall(r"--generate-code=arch=(\S+?\])", flags))


def test_without_nvcc(tmp_path: Path) -> None:
    done = configure(tmp_path / "auto", CUDACXX="/bin/false")
    assert done.returncode == 0, done.stderr
    assert "csmri_ext: CUDA OFF" in done.stdout
    done = configure(tmp_path / "on", "CSMRI_CUDA=ON", CUDACXX="/bin/false")
    assert done.returncode != 0
    assert "CSMRI_CUDA=ON, but no working nvcc was found" in " ".join(done.stderr.split())


# --- the package as others get it -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    code = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, check=True, capture_output=True)
    (archive,) = folder.glob("csmri_ext-*.tar.gz")
    return archive


def test_sdist_holds_the_sources_and_nothing_else(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"CMakeLists.txt", "pyproject.toml", "LICENSE", "README.md", "csrc/bindings/module.cpp", "Makefile"} <= names
    here = {str(path.relative_to(ROOT)) for room in ("csrc", "csmri_ext", "baselines") for path in files(ROOT / room)}
    assert here <= names
    assert not [name for name in names if name.startswith((".venv", "build/", ".git/", "comparison")) or "pyc" in name]


def files(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.glob("**/*")
        if path.is_file() and path.suffix != ".so" and "__pycache__" not in path.parts
    ]


@pytest.mark.slow
def test_wheel_from_the_sdist(sdist: Path, tmp_path: Path) -> None:
    """Isolated: the build environment holds scikit-build-core and pybind11, nothing of ours and no torch.

    Without OpenMP, because that build has to work too: the operators then equal their twins on one thread.
    """
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    options = ["--config-settings=cmake.define.CSMRI_CUDA=OFF", "--config-settings=cmake.define.CSMRI_OPENMP=OFF"]
    command = [python, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, sdist, "-v", *options]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-4000:]
    assert not re.search(r"(Collecting|Downloading) torch", done.stdout)
    (wheel,) = tmp_path.glob("csmri_ext-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert any(n.startswith("csmri_ext/_core") and n.endswith(".so") for n in names)
    with tarfile.open(sdist) as archive:
        sources = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    packages = {name for name in sources if name.startswith(("csmri_ext/", "baselines/"))}
    assert {
        "csmri_ext/py.typed",
        "csmri_ext/commands/compare.py",
        "csmri_ext/report/templates/report.html.j2",
    } <= packages
    assert packages <= names, "python files, templates, weights and their cards"
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", "csrc/"))]
    # The core loads where there is no torch.
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], env=environment, check=True)
    code = "import csmri_ext._core as c; print(c.build_info()['cuda'], c.build_info()['openmp'])"
    run = subprocess.run([python, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.stdout.strip() == "None None", run.stderr
    zipfile.ZipFile(wheel).extractall(tmp_path / "unpacked")
    environment["PYTHONPATH"] = str(tmp_path / "unpacked")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ROOT / "tests" / "ops"]
    command += ["-k", "agrees_with_reference or every_shape or every_size"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.parametrize("level", _core.build_info()["simd_levels"])
def test_instruction_set_can_be_forced(level: str) -> None:
    code = "from csmri_ext import _core; print(_core.simd_level())"
    environment = {**os.environ, "CSMRI_SIMD": level}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    levels = _core.build_info()["simd_levels"]
    if levels.index(level) <= levels.index(_core.build_info()["simd_of_machine"]):
        assert run.stdout.strip() == level, run.stderr
    else:
        assert f"CSMRI_SIMD={level}, but this machine has only" in run.stderr


def test_console_script_is_installed() -> None:
    run = subprocess.run([Path(sys.executable).parent / "csmri", "--help"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert {"recon", "compare", "doctor"} <= set(re.findall(r"\w+", run.stdout))
