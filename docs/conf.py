"""Sphinx configuration. One page per public module of the package is written into docs/api (never committed)."""

from __future__ import annotations

from pathlib import Path

import bitprop

project = "bitprop"
author = "the bitprop contributors"
copyright = "the bitprop contributors"
version = release = bitprop.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"bitprop {release}"
html_show_copyright = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    # pydantic's machinery
    "exclude-members": "model_config, model_fields, model_computed_fields, model_post_init",
}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # "Attributes:" sections describe fields that autodoc lists too
# Short names that several modules use (two `Result` classes, say) are not worth a warning.
suppress_warnings = ["ref.python"]

DOCS = Path(__file__).resolve().parent
SOURCE = DOCS.parent / "src"


def public_modules(source: Path = SOURCE) -> list[str]:
    """Dotted names of the package's public modules: no part of a public name starts with an underscore."""
    names = []
    for file in source.glob("bitprop/**/*.py"):
        parts = file.relative_to(source).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            names.append(".".join(parts))
    return sorted(names)


def write_api_pages(source: Path = SOURCE, folder: Path = DOCS / "api") -> list[str]:
    """Write a page per public module and their index; unchanged files are left alone, stale ones removed."""
    modules = public_modules(source)
    pages = {".gitignore": "*\n"}
    for name in modules:
        # A package's page leaves out what its __init__ only passes on: that has a page of its own.
        is_package = (source / name.replace(".", "/")).is_dir()
        option = "   :ignore-module-all:\n" if is_package else ""
        pages[f"{name}.rst"] = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n{option}"
    listing = "".join(f"   {name}\n" for name in modules)
    pages["index.rst"] = f"Modules\n=======\n\n.. toctree::\n   :maxdepth: 1\n\n{listing}"
    folder.mkdir(exist_ok=True)
    for stale in {path.name for path in folder.iterdir() if path.is_file()} - set(pages):
        (folder / stale).unlink()
    for name, text in pages.items():
        page = folder / name
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
    return modules


write_api_pages()
