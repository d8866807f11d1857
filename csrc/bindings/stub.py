"""Write csmri_ext/_core.pyi, the types of the compiled module, from the signatures that pybind11 gives its functions.

Run ``python csrc/bindings/stub.py`` after a change of csrc/bindings with the module built from it importable;
tests/csrc/test_stub.py fails until then.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

STUB = Path(__file__).parents[2] / "csmri_ext" / "_core.pyi"
HEADER = '''"""The compiled module, built from csrc/. Called from csmri_ext.ops only. Written by csrc/bindings/stub.py.

A kernel has one name for each device and dtype. Here are those of the CPU, which every build has; a build with CUDA has
``<name>_cuda_f32``, ``f64`` and, for real tensors, ``bf16`` and ``f16`` too, with the same arguments. Addresses are
integers, 0 for none; fields are explained in the headers of csrc. Structs are made from all their fields, by name.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

'''
DECORATOR = [
    '_T = TypeVar("_T")\n',
    "@dataclass_transform(kw_only_default=True, frozen_default=True)",
    "def _struct(cls: type[_T]) -> type[_T]: ...\n",
]
CUDA_KERNEL = re.compile(r"_cuda_(f32|f64|bf16|f16)$")


def stub(module: ModuleType) -> str:
    """Return the text of the stub of a module of pybind11."""
    values, classes, functions = [], [], []
    for name, thing in sorted(vars(module).items()):
        if name.startswith("_") or CUDA_KERNEL.search(name):
            continue
        if isinstance(thing, type):
            classes.append(_enum(thing) if hasattr(thing, "__members__") else _struct(thing))
        elif callable(thing):
            functions.append(_function(thing))
        else:
            values.append(f"{name}: Final[{'tuple[int, ...]' if isinstance(thing, tuple) else type(thing).__name__}]")
    return HEADER + "\n".join([*DECORATOR, *values]) + "\n\n" + "\n".join(classes) + "\n" + "\n".join(functions) + "\n"


def _type(text: str, given: bool = True) -> str:
    """Return a type of a pybind11 signature as a stub has it, whatever the version of pybind11."""
    text = re.sub(r"typing\.SupportsInt( \| typing\.SupportsIndex)?", "int", text)
    text = re.sub(r"typing\.SupportsFloat( \| typing\.SupportsIndex)?", "float", text)
    text = re.sub(r"(csmri_ext\.)?_core\.", "", text).replace("collections.abc.", "")
    text = re.sub(r"\bdict\b(?!\[)", "dict[str, Any]", text)
    return re.sub(r"\blist\[", "Sequence[", text) if given else text


def _signature(doc: str | None) -> tuple[list[tuple[str, str]], str]:
    """Return the parameters, (name, type) each, and the type of the result."""
    found = re.match(r"\w*\((.*)\) -> (.+)", (doc or "").strip())
    assert found, f"no signature of pybind11: {doc!r}"
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(found[1] + ","):
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            parts.append(found[1][start:i].strip())
            start = i + 1
    pairs = [(part.split(":", 1) if ":" in part else (part, "")) for part in parts if part]
    return [(name.strip(), _type(kind.strip())) for name, kind in pairs], _type(found[2].strip(), given=False)


def _function(function: Any) -> str:
    parameters, result = _signature(function.__doc__)
    given = ", ".join(f"{name}: {kind}" for name, kind in parameters)
    line = f"def {function.__name__}({given}) -> {result}: ..."
    return line if len(line) <= 120 else f"def {function.__name__}(\n    {given}\n) -> {result}: ..."


def _struct(cls: type) -> str:
    fields = [(name, kind) for name, kind in _signature(cls.__init__.__doc__)[0] if name not in {"self", "*"}]  # type: ignore[misc]
    lines = ["@_struct", f"class {cls.__name__}:"]
    lines += [f"    {name}: {kind}" for name, kind in fields]
    methods = [thing for name, thing in sorted(vars(cls).items()) if not name.startswith("_") and callable(thing)]
    return "\n".join([*lines, *map(_method, methods), ""])


def _method(method: Any) -> str:
    parameters, result = _signature(method.__doc__)
    given = ", ".join(["self", *[f"{name}: {kind}" for name, kind in parameters[1:]]])
    return f"    def {method.__name__}({given}) -> {result}: ..."


def _enum(cls: Any) -> str:
    name = cls.__name__
    lines = [f"class {name}:", f"    __members__: ClassVar[dict[str, {name}]]"]
    return "\n".join([*lines, *[f"    {member}: ClassVar[{name}]" for member in cls.__members__], ""])


if __name__ == "__main__":
    from csmri_ext import _core

    STUB.write_text(stub(_core))
