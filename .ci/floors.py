"""Print the lowest declared version of every dependency but torch, as pip's requirements: `constraints-floors.txt`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
lines = ["# The declared floors, without torch, whose old CPU builds are not everywhere. Made by .ci/floors.py."]
for requirement in sorted(project["dependencies"]):
    name, floor = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups()
    if name != "torch":
        lines.append(f"{name}=={floor}")
sys.stdout.write("\n".join(lines) + "\n")
