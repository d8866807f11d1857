"""Sphinx: pages in Markdown, the reference from the docstrings. ``make docs`` builds with warnings as errors."""

from __future__ import annotations

import csmri_ext

project = "csmri_ext"
author = copyright = "The csmri_ext authors"  # noqa: A001  (a name that Sphinx reads)
version = release = csmri_ext.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "myst_parser"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["build"]
templates_path = ["_templates"]
html_theme = "furo"
html_title = "csmri_ext"
default_role = "code"  # `name` in a docstring is a name
nitpicky = False
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_ivar = True  # fields of a dataclass are described once, in its docstring
napoleon_use_rtype = False
myst_heading_anchors = 3
# Pages link to files of the repository, which the site does not hold.
suppress_warnings = ["myst.xref_missing", "ref.python", "misc.highlighting_failure"]
