"""Python that the oldest declared torch, 2.7, does not compile and newer ones do: not in what models run.

CI has one torch. These are the forms at which ``torch.compile(fullgraph=True)`` and `torch.export` of 2.7.0 stopped.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("csmri_ext/ops", "csmri_ext/physics", "csmri_ext/nn", "csmri_ext/models", "baselines/networks")


def refused_by_2_7(node: ast.Call) -> str | None:
    """Return what is wrong with a call, None where nothing is."""
    called = ast.unparse(node.func)
    if called == "zip" and any(k.arg == "strict" and ast.unparse(k.value) == "False" for k in node.keywords):
        return "zip(strict=False) takes no different lengths"
    if called == "next" and len(node.args) > 1:
        return "next has no default"
    if called == "copy.copy" or called.endswith("._replace"):
        return f"{called} is not traced"
    return None


def found_in(text: str) -> list[str]:
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return [f"line {node.lineno}: {why}" for node in calls if (why := refused_by_2_7(node))]


@pytest.mark.parametrize("room", ROOMS)
def test_no_form_that_the_oldest_torch_refuses(room: str) -> None:
    found = {path.name: found_in(path.read_text()) for path in ROOT.glob(f"{room}/**/*.py")}
    assert found and not {name: lines for name, lines in found.items() if lines}


def test_every_form_is_seen() -> None:
    forms = ["zip(a, b, strict=False)", "next(x, None)", "copy.copy(x)", "x._replace(a=1)"]
    assert all(len(found_in(form)) == 1 for form in forms)
    assert not found_in("zip(a, b, strict=True), next(x), copy.deepcopy(x), x.replace(a, b)")
