from __future__ import annotations

import math
import subprocess
import tempfile
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from csmri_ext.bridge import CflError, from_bart, read_cfl, read_cfl_header, read_multi_cfl, read_ra, to_bart, write_cfl
from csmri_ext.bridge.bart_files.header import parse_header

PIECES = [
    b"# Dimensions", b"#Dimensions", b"# dimensions", b"# SizesDimensions\n", b"# MultiDimensions\n", b"# Data",
    b"# Command", b"# csmri_ext\n{", b"# ", b"##", b"2 3", b"4", b"1 " * 15, b"1 " * 17, b"-2", b"0", b"+3", b"0x3",
    b"2.5", b"1e3", b"9" * 25, b"-", b"\n", b"\n", b" ", b"\t", b"\r\n", b"\v", b"\0", b"foo", b"\xff\xfe",
    b"# " + b"k" * 35, b"x" * 4070, b"# Dimensions\n2 3 4\n", b"# Dimensions\n2 3\n", b"# Creator\nBART v0.8\n",
]  # fmt: skip
HEADERS = st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=10).map(b"".join)
DIMS = st.lists(st.integers(1, 4), min_size=1, max_size=16).filter(lambda dims: math.prod(dims) <= 4096).map(tuple)


@settings(deadline=None, max_examples=500)
@given(st.binary() | HEADERS)
def test_parser_raises_only_cfl_error(text: bytes) -> None:
    try:
        header = parse_header(text)
    except CflError:
        return
    assert len(header.dims) == 16
    assert min(header.dims) >= 1
    assert isinstance(header.provenance, dict)
    assert sum(math.prod(dims) for dims in header.multi_dims) in (0, math.prod(header.dims))


@settings(deadline=None, max_examples=100)
@given(HEADERS | st.binary(), st.binary(max_size=100))
def test_readers_raise_only_cfl_error(header: bytes, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "x.hdr").write_bytes(header)
        Path(folder, "x.cfl").write_bytes(data)
        Path(folder, "x.ra").write_bytes(data)
        for read in (read_cfl, read_cfl_header, read_multi_cfl):
            try:
                read(Path(folder, "x"))
            except CflError as error:
                assert folder in str(error) or "no such file" in str(error)
        try:
            read_ra(Path(folder, "x.ra"))
        except CflError as error:
            assert folder in str(error)


@settings(deadline=None, max_examples=150)
@given(HEADERS)
def test_bart_reads_the_same_from_any_header(bart_binary: str, header: bytes) -> None:
    header = header.replace(b"# Data", b"# data")  # other files are in test_cfl.py
    try:
        dims: tuple[int, ...] | None = parse_header(header).dims
    except CflError:
        dims = None
    n = math.prod(dims or (2, 3))
    if n > 10**6:  # would need a file of that size
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "x.hdr").write_bytes(header)
        Path(folder, "x.cfl").write_bytes(bytes(8 * n))
        result = subprocess.run([bart_binary, "show", "-m", f"{folder}/x"], capture_output=True, text=True)
    sizes = [line.split()[1:] for line in result.stdout.splitlines() if line.startswith("AoD:")]
    assert sizes == ([] if dims is None else [[str(size) for size in dims]])


@settings(deadline=None, max_examples=100)
@given(hnp.arrays(np.complex64, DIMS), st.booleans())
def test_round_trip_is_exact(array: np.ndarray, transpose: bool) -> None:
    array = array.T if transpose else array
    with tempfile.TemporaryDirectory() as folder:
        write_cfl(Path(folder, "x"), array)
        read = read_cfl(Path(folder, "x"))
        assert read.shape == (*array.shape, *[1] * (16 - array.ndim))
        assert read.tobytes("F") == array.tobytes("F")  # bit for bit, NaN and -0.0 too


@settings(deadline=None, max_examples=15)
@given(hnp.arrays(np.complex64, DIMS, elements=st.complex_numbers(max_magnitude=1e3, allow_subnormal=False, width=64)))
def test_round_trip_through_bart_is_exact(bart_binary: str, array: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_cfl(Path(folder, "x"), array)
        subprocess.run([bart_binary, "copy", f"{folder}/x", f"{folder}/y"], check=True)
        assert read_cfl(Path(folder, "y")).tobytes("F") == array.tobytes("F")


@settings(deadline=None, max_examples=15)
@given(DIMS, st.booleans())
def test_reads_what_bart_writes(bart_binary: str, dims: tuple[int, ...], as_ra: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        name = f"{folder}/x.ra" if as_ra else f"{folder}/x"
        sizes = [str(size) for size in dims]
        subprocess.run([bart_binary, "ones", str(len(dims)), *sizes, name], check=True)
        array = read_cfl(name)
        assert array.shape == (*dims, *[1] * (16 - len(dims)))
        assert (array == 1).all()


@given(hnp.arrays(np.complex64, hnp.array_shapes(min_dims=2, max_dims=5, max_side=4)))
def test_bart_dimensions_round_trip_without_a_copy(array: np.ndarray) -> None:
    stored = to_bart(array)
    assert stored.ndim == 16
    assert stored.flags.f_contiguous
    assert np.shares_memory(stored, array)
    back = from_bart(stored, ndim=array.ndim)
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
