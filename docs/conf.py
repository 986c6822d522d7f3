# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration of the documentation site; tests/tools/docs_site.sh builds it. Nothing is fetched from a network."""

from __future__ import annotations

import pathlib
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

project = "confidential.azure_skr"
copyright = "confidential.azure_skr contributors"  # noqa: A001  the name that Sphinx wants
title = html_title = "Secure Key Release for Azure confidential VMs"
html_short_title = "confidential.azure_skr"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
html_theme = "sphinx_ansible_theme"
html_theme_options = {"documentation_home_url": "https://github.com/confidential-azure/azure_skr", "topbar_links": {}}
html_show_sphinx = False
html_copy_source = False
html_use_index = False
highlight_language = "YAML+Jinja"
pygments_style = "ansible"
nitpicky = True
default_role = "any"
myst_heading_anchors = 4
# Pages for authors, not for the site.
exclude_patterns = ["docsite"]
# Examples are checked by tests/tools/check_examples.py; those with Jinja in YAML are not for this lexer to judge.
suppress_warnings = ["misc.highlighting_failure"]
# The names that other collections' documentation would resolve.
nitpick_ignore_regex = [("ansplugin|envvar|any", r".*")]

PAGES = {
    path.stem.rpartition("_")[0]: f"collection/{path.stem}"
    for kind in ("role", "test", "inventory", "filter", "module")  # a later one wins: the module of several
    for path in (pathlib.Path(__file__).parent / "collection").glob(f"*_{kind}.rst")
}


class LinkNames(SphinxTransform):
    """In the prose pages the first mention of a module, role or filter in a section leads to its page."""

    default_priority = 400

    def apply(self, **_options: Any) -> None:
        if self.env.docname.startswith("collection/"):
            return
        for section in self.document.findall(nodes.section):
            seen = set()
            for literal in list(section.findall(nodes.literal)):
                name = literal.astext().removeprefix("confidential.azure_skr.")
                inside = literal.parent
                while inside is not None and not isinstance(inside, (nodes.section, nodes.reference, nodes.title)):
                    inside = inside.parent
                if name in PAGES and name not in seen and inside is section:
                    seen.add(name)
                    link = addnodes.pending_xref(
                        "", literal.deepcopy(), refdomain="std", reftype="doc", reftarget=f"/{PAGES[name]}",
                        refexplicit=True, refwarn=True,
                    )  # fmt: skip
                    literal.replace_self(link)


# Pages of Ansible's own documentation that generated pages refer to by label.
CORE = {
    "common_return_values": "reference_appendices/common_return_values.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
}


def of_core(_app: Sphinx, _env: Any, node: nodes.Element, content: nodes.Element) -> nodes.reference | None:
    page = CORE.get(str(node.get("reftarget")))
    if page is None:
        return None
    link = nodes.reference("", "", internal=False, refuri=f"https://docs.ansible.com/ansible/latest/{page}")
    link.append(content)
    return link


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(LinkNames)
    app.connect("missing-reference", of_core)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
