"""The documentation site: ``make docs`` builds it into build/docs."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests")]

import activations_ext  # noqa: E402

project = "activations_ext"
author = "the activations_ext developers"
copyright = f"2026, {author}"
release = version = activations_ext.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "reference",  # docs/reference.py writes a page for each function
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["README.md"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"activations_ext {release}"
html_copy_source = False

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_type_aliases = {"Tensor": "torch.Tensor"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
add_module_names = False
python_use_unqualified_type_names = True
copybutton_prompt_text = ">>> "

# Without a network, only links within the site and to files of the repository are checked.
linkcheck_ignore = [r"https?://.*"]
