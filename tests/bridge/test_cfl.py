from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import CflError, read_cfl, read_multi_cfl, read_ra, write_cfl
from csmri_ext.bridge.bart_files.header import parse_header

# id: header, and the dimensions that BART 0.8 reads from it without trailing ones; None: BART refuses the file.
HEADERS: dict[str, tuple[bytes, tuple[int, ...] | None]] = {
    "as BART writes it": (
        b"# Dimensions\n2 3 4 " + b"1 " * 13 + b"\n# Command\nx\n# Creator\nBART v0.8.00\n",
        (2, 3, 4),
    ),
    "two dimensions": (b"# Dimensions\n2 3\n", (2, 3)),
    "five dimensions": (b"# Dimensions\n1 4 5 1 1 \n", (1, 4, 5)),
    "coils and maps": (b"# Dimensions\n4 3 1 8 2 1 1\n", (4, 3, 1, 8, 2)),
    "no final newline": (b"# Dimensions\n2 3", (2, 3)),
    "CRLF": (b"# Dimensions\r\n2 3 \r\n# Creator\r\nx\r\n", (2, 3)),
    "several lines": (b"# Dimensions\n2\n3\n\n4\n# Creator\nx\n", (2, 3, 4)),
    "on the line of the keyword": (b"# Dimensions 2 3\n", (2, 3)),
    "no space after #": (b"#Dimensions\n2 3\n", (2, 3)),
    "tabs": (b"#\tDimensions\n2\t3\n", (2, 3)),
    "17 dimensions, last is 1": (b"# Dimensions\n2 3" + b" 1" * 15 + b"\n", (2, 3)),
    "unknown sections": (b"# Foo\nbar\n# Dimensions\n2 3\n# Baz\n4 5\n", (2, 3)),
    "text before": (b"some text\n# Dimensions\n2 3\n", (2, 3)),
    "UTF-8": ("# Command\nMünchen → Zürich\n# Dimensions\n2 3\n".encode(), (2, 3)),
    "not UTF-8": (b"# Command\n\xff\xfe\n# Dimensions\n2 3\n", (2, 3)),
    "long text after": (b"# Dimensions\n2 3\n# Command\n" + b"x" * 9000 + b"\n", (2, 3)),
    "text after the numbers": (b"# Dimensions\n2 3 x 4\n", (2, 3)),
    "fraction": (b"# Dimensions\n2 3.5\n", (2, 3)),
    "plus sign": (b"# Dimensions\n+2 3\n", (2, 3)),
    "no numbers": (b"# Dimensions\n# Creator\nx\n", (1,)),
    "after a NUL": (b"# Dimensions\n2 3\n\0# Dimensions\n4 5\n", (2, 3)),
    "long keyword": (b"# " + b"k" * 60 + b"\n# Dimensions\n2 3\n", (2, 3)),
    "multi-array": (b"# Dimensions\n10 \n# SizesDimensions\n2 1 \n# MultiDimensions\n2 3 \n4 \n", (10,)),
    "17th dimension is 2": (b"# Dimensions\n2 3" + b" 1" * 14 + b" 2\n", None),
    "twice": (b"# Dimensions\n2 3\n# Dimensions\n2 3\n", None),
    "lower case": (b"# dimensions\n2 3\n", None),
    "empty": (b"", None),
    "blank first line": (b"\n# Dimensions\n2 3\n", None),
    "no dimensions": (b"# Creator\nBART v0.8.00\n", None),
    "after byte 4096": (b"x" * 4090 + b"\n# Dimensions\n2 3\n", None),
    "zero": (b"# Dimensions\n2 0\n", None),
    "negative": (b"# Dimensions\n-2 3\n", None),
    "two negative": (b"# Dimensions\n-2 -3\n", None),
    "overflow of 64 bits": (b"# Dimensions\n4294967296 4294967296 4294967296\n", None),
    "beyond 64 bits": (b"# Dimensions\n99999999999999999999999\n", None),
    "5000 digits": (b"# Dimensions\n" + b"9" * 3000 + b"\n", None),
    "NUL first": (b"\0# Dimensions\n2 3\n", None),
    "data without a name": (b"# Dimensions\n2 3\n# Data\n", None),
}

RA = struct.Struct("<6Q")
MAGIC = 0x7961727261776172


def ra_file(dims: tuple[int, ...] = (2, 3), *, values: int | None = None, **changes: int) -> bytes:
    n = int(np.prod(dims, dtype=object))
    fields = {"magic": MAGIC, "flags": 0, "type": 4, "element": 8, "size": 8 * n, "n_dims": len(dims)} | changes
    data = np.arange(n if values is None else values, dtype="<c8").tobytes()
    return RA.pack(*fields.values()) + struct.pack(f"<{len(dims)}Q", *dims) + data


RA_FILES: dict[str, tuple[bytes, tuple[int, ...] | None]] = {
    "plain": (ra_file(), (2, 3)),
    "16 dimensions": (ra_file((2, 3) + (1,) * 14), (2, 3)),
    "more dimensions of 1": (ra_file((2, 3) + (1,) * 60), (2, 3)),
    "no dimensions": (ra_file(()), (1,)),
    "bytes after the data": (ra_file() + b"more", (2, 3)),
    "other flags": (ra_file(flags=2), (2, 3)),
    "big-endian": (ra_file(flags=1), None),
    "float": (ra_file(type=3), None),
    "complex128": (ra_file(element=16), None),
    "other magic": (ra_file(magic=1), None),
    "size differs": (ra_file(size=8), None),
    "17th dimension is 3": (ra_file((2,) + (1,) * 15 + (3,)), None),
    "101 dimensions": (ra_file((2,) + (1,) * 100), None),
    "zero": (ra_file((2, 0)), None),
    "too short": (ra_file(values=5), None),
    "absurd": (ra_file((2**32, 2**32), values=0, size=0), None),
    "cut in the sizes": (ra_file()[:56], None),
    "cut in the header": (ra_file()[:40], None),
    "empty": (b"", None),
}


@pytest.mark.parametrize("sizes", [b"0", b"2 0", b"0 3 4", b"2 3 0 1", b"-1"])
def test_sizes_start_at_one(sizes: bytes) -> None:
    """By the header alone: no file of data, which could be empty as well, has to tell."""
    with pytest.raises(CflError, match=r"dimension \d is (0|-1): sizes must be at least 1"):
        parse_header(b"# Dimensions\n" + sizes + b"\n")


def random_array(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def write_raw(path: Path, header: bytes, dims: tuple[int, ...] | None) -> np.ndarray:
    Path(f"{path}.hdr").write_bytes(header)
    values = np.arange(int(np.prod(dims or (2, 3))), dtype=np.complex64)
    Path(f"{path}.cfl").write_bytes(values.tobytes())
    return values


def bart_dims(program: str, path: Path) -> tuple[int, ...] | None:
    """Dimensions that BART itself reads, None if it refuses the file."""
    result = subprocess.run([program, "show", "-m", path], capture_output=True, text=True)
    if result.returncode != 0:
        return None
    found = re.search(r"^AoD:(.*)$", result.stdout, re.MULTILINE)
    assert found, result.stdout
    return tuple(int(size) for size in found[1].split())


def full(dims: tuple[int, ...]) -> tuple[int, ...]:
    return (*dims, *[1] * (16 - len(dims)))


@pytest.mark.parametrize("case", HEADERS)
def test_header(case: str, tmp_path: Path) -> None:
    header, dims = HEADERS[case]
    values = write_raw(tmp_path / "x", header, dims)
    if dims is None:
        with pytest.raises(CflError, match=re.escape(str(tmp_path / "x"))):
            read_cfl(tmp_path / "x")
    else:
        array = read_cfl(tmp_path / "x")
        assert array.shape == full(dims)
        np.testing.assert_array_equal(array.ravel(order="F"), values)


@pytest.mark.parametrize("case", HEADERS)
def test_bart_agrees_on_header(case: str, tmp_path: Path, bart_binary: str) -> None:
    header, dims = HEADERS[case]
    write_raw(tmp_path / "x", header, dims)
    assert bart_dims(bart_binary, tmp_path / "x") == (None if dims is None else full(dims))


@pytest.mark.parametrize("case", RA_FILES)
def test_ra(case: str, tmp_path: Path) -> None:
    content, dims = RA_FILES[case]
    path = tmp_path / "x.ra"
    path.write_bytes(content)
    if dims is None:
        with pytest.raises(CflError, match=re.escape(str(path))):
            read_ra(path)
    else:
        array = read_cfl(path)
        assert array.shape == full(dims)
        np.testing.assert_array_equal(array.ravel(order="F"), np.arange(np.prod(dims)))
        assert read_cfl(path, squeeze=True).shape == dims


@pytest.mark.parametrize("case", RA_FILES)
def test_bart_agrees_on_ra(case: str, tmp_path: Path, bart_binary: str) -> None:
    content, dims = RA_FILES[case]
    (tmp_path / "x.ra").write_bytes(content)
    assert bart_dims(bart_binary, tmp_path / "x.ra") == (None if dims is None else full(dims))


def test_reads_ra_of_bart(tmp_path: Path, bart_binary: str) -> None:
    array = random_array(4, 3, 1, 2)
    write_cfl(tmp_path / "x", array)
    subprocess.run([bart_binary, "copy", tmp_path / "x", tmp_path / "x.ra"], check=True)
    np.testing.assert_array_equal(read_cfl(tmp_path / "x.ra", squeeze=True), array)


@pytest.mark.parametrize("change", [-8, -1, 1, 8])
def test_size_of_data_must_match(change: int, tmp_path: Path) -> None:
    write_cfl(tmp_path / "x", random_array(4, 5))
    os.truncate(tmp_path / "x.cfl", 160 + change)
    with pytest.raises(CflError, match=rf"{160 + change} bytes, but dimensions \(4, 5\) .* need 160"):
        read_cfl(tmp_path / "x")


@pytest.mark.parametrize("change", [-8, -1, 1, 8])
def test_bart_refuses_other_sizes_too(change: int, tmp_path: Path, bart_binary: str) -> None:
    write_cfl(tmp_path / "x", random_array(4, 5))
    os.truncate(tmp_path / "x.cfl", 160 + change)
    assert bart_dims(bart_binary, tmp_path / "x") is None


def test_data_section_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = random_array(4, 5)
    write_cfl(tmp_path / "data", array)
    (tmp_path / "x.hdr").write_bytes(b"# Dimensions\n4 5\n# Data\n%s\n" % os.fsencode(tmp_path / "data.cfl"))
    np.testing.assert_array_equal(read_cfl(tmp_path / "x", squeeze=True), array)
    (tmp_path / "y.hdr").write_bytes(b"# Dimensions\n4 5\n# Data\ndata.cfl\n")
    with pytest.raises(CflError, match=r"data\.cfl: no such file, which .*y\.hdr names"):
        read_cfl(tmp_path / "y")
    monkeypatch.chdir(tmp_path)  # as in BART, relative to the current folder
    np.testing.assert_array_equal(read_cfl("y", squeeze=True), array)


def test_bart_agrees_on_data_section(tmp_path: Path, bart_binary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cfl(tmp_path / "data", random_array(4, 5))
    (tmp_path / "y.hdr").write_bytes(b"# Dimensions\n4 5\n# Data\ndata.cfl\n")
    assert bart_dims(bart_binary, tmp_path / "y") is None
    monkeypatch.chdir(tmp_path)
    assert bart_dims(bart_binary, Path("y")) == full((4, 5))


def test_multi_cfl_of_bart(tmp_path: Path, bart_binary: str) -> None:
    arrays = [random_array(4, 5, 1, 3), random_array(7, seed=1), random_array(2, 1, 2, 1, 2, seed=2)]
    for i, array in enumerate(arrays):
        write_cfl(tmp_path / str(i), array)
    names = [tmp_path / str(i) for i in range(3)]
    subprocess.run([bart_binary, "multicfl", *names, tmp_path / "all"], check=True)
    for read, array in zip(read_multi_cfl(tmp_path / "all", squeeze=True), arrays, strict=True):
        np.testing.assert_array_equal(read, array)
    assert [array.shape for array in read_multi_cfl(tmp_path / "all")] == [full(array.shape) for array in arrays]
    assert read_cfl(tmp_path / "all", squeeze=True).shape == (sum(array.size for array in arrays),)


@pytest.mark.parametrize(
    "sections",
    [
        b"# SizesDimensions\n2 1\n# MultiDimensions\n2 3\n5\n",
        b"# SizesDimensions\n2 1\n# MultiDimensions\n2 3\n",
        b"# SizesDimensions\n0 1\n# MultiDimensions\n10\n",
        b"# SizesDimensions\n99999999999\n# MultiDimensions\n10\n",
        b"# SizesDimensions\n2\n# MultiDimensions\n-5 -2\n",
        b"# SizesDimensions\n2\n",
        b"# SizesDimensions\n1\n# MultiDimensions\n10 1\n",
        b"# MultiDimensions\n10\n",
    ],
)
def test_damaged_multi_cfl(sections: bytes, tmp_path: Path) -> None:
    write_raw(tmp_path / "x", b"# Dimensions\n10\n" + sections, (10,))
    with pytest.raises(CflError, match=r"Dimensions|at least 1"):
        read_multi_cfl(tmp_path / "x")


def test_multi_cfl_with_one_array(tmp_path: Path) -> None:
    write_cfl(tmp_path / "x", random_array(4))
    with pytest.raises(CflError, match="holds one array"):
        read_multi_cfl(tmp_path / "x")


def test_five_dimensional_header_of_bart(tmp_path: Path, bart_binary: str) -> None:
    command = ["poisson", "-Y", "32", "-Z", "24", "-y", "2", "-z", "2", tmp_path / "pattern"]
    subprocess.run([bart_binary, *command], check=True, capture_output=True)
    assert len((tmp_path / "pattern.hdr").read_text().splitlines()[1].split()) == 5
    pattern = read_cfl(tmp_path / "pattern")
    assert pattern.shape == full((1, 32, 24))
    assert set(np.unique(pattern)) == {0, 1}


@pytest.mark.parametrize("name", ["img", "img.cfl", "img.hdr"])
def test_name_with_and_without_extension(name: str, tmp_path: Path) -> None:
    array = random_array(3, 4)
    write_cfl(tmp_path / name, array)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["img.cfl", "img.hdr"]
    np.testing.assert_array_equal(read_cfl(tmp_path / name, squeeze=True), array)
    np.testing.assert_array_equal(read_cfl(str(tmp_path / "img"), squeeze=True), array)


def test_dots_in_the_name(tmp_path: Path, bart_binary: str) -> None:
    array = random_array(3, 4)
    write_cfl(tmp_path / "na.me.v1", array)
    assert bart_dims(bart_binary, tmp_path / "na.me.v1") == full((3, 4))
    np.testing.assert_array_equal(read_cfl(tmp_path / "na.me.v1.cfl", squeeze=True), array)


@pytest.mark.parametrize("suffix", [".ra", ".coo", ".shm", ".mem", ".fifo"])
def test_names_of_other_formats(suffix: str, tmp_path: Path) -> None:
    for name in (f"x{suffix}", f"x{suffix}.cfl"):
        with pytest.raises(CflError, match="other formats"):
            write_cfl(tmp_path / name, np.ones(3))
    with pytest.raises(CflError, match="no such file" if suffix == ".ra" else "other formats"):
        read_cfl(tmp_path / f"x{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(CflError, match=r"x\.hdr: no such file; a \.cfl file needs its \.hdr"):
        read_cfl(tmp_path / "x.cfl")
    write_cfl(tmp_path / "x", np.ones(3))
    (tmp_path / "x.cfl").unlink()
    with pytest.raises(CflError, match=r"x\.cfl: no such file"):
        read_cfl(tmp_path / "x")


def test_absurd_dimensions_allocate_nothing(tmp_path: Path) -> None:
    write_raw(tmp_path / "x", b"# Dimensions\n1000000 1000000 1000\n", None)
    tracemalloc.start()
    with pytest.raises(CflError, match=r"48 bytes, but dimensions \(1000000, 1000000, 1000\)"):
        read_cfl(tmp_path / "x")
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_file_that_cannot_be_mapped_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.hdr").write_bytes(b"# Dimensions\n100000 100000\n")
    with (tmp_path / "x.cfl").open("wb") as file:
        file.truncate(8 * 10**10)  # a sparse file
    code = f"""
import resource
from csmri_ext.bridge import read_cfl
resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
try:
    read_cfl({str(tmp_path / "x")!r})
except OSError as error:
    print(error.filename)
"""
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert result.stdout == f"{tmp_path / 'x.cfl'}\n", result.stderr


def test_reading_maps_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.hdr").write_bytes(b"# Dimensions\n1000 1000 1000\n")
    with (tmp_path / "x.cfl").open("wb") as file:
        file.truncate(8 * 10**9)  # a sparse file
    tracemalloc.start()
    array = read_cfl(tmp_path / "x")
    assert array[999, 999, 999].item() == 0
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    assert not array.flags.writeable
