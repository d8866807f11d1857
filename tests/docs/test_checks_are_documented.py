from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_check_of_doctor_is_in_its_table() -> None:
    source = "".join((ROOT / "csmri_ext" / "data" / name).read_text() for name in ("checks.py", "examine.py"))
    topics = set(re.findall(r'Finding\(\s*"(?:OK|note|warning|problem)",\s*"([^"]+)"', source))
    assert len(topics) > 15
    page = (ROOT / "docs" / "files_and_axes.md").read_text()
    table = page.partition("## The checks")[2].partition("\n## ")[0]
    documented = {topic.strip() for row in re.findall(r"^\| ([^|]+) \|", table, re.M) for topic in row.split(",")}
    assert not topics - documented
    assert not documented - topics - {"topic"}
