# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks every internal link and anchor: of the built site (its folder is the argument) and of the Markdown in the repository.

Also that pages of the site load nothing from a network, and that pictures have a title and a description.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

ROOT = Path(__file__).resolve().parents[2]


class Page(HTMLParser):
    """The links, the things that are loaded, and the anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[name] for name in ("id", "name") if name in given and tag != "meta")
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("img", "script", "iframe", "source") and "src" in given:
            self.loads.append(given["src"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "shortcut icon"):
            self.loads.append(given["href"])


def site(root: Path) -> list[str]:
    pages = {path.resolve(): Page(path) for path in root.rglob("*.html")}
    problems = []
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            if urlsplit(link).scheme or link.startswith("//"):
                if link in page.loads and not link.startswith("data:"):
                    problems.append(f"{path.relative_to(root.resolve())} loads {link}")
                continue
            address, anchor = urldefrag(link)
            target = (path.parent / unquote(urlsplit(address).path)).resolve() if address else path
            if not target.is_file():
                problems.append(f"{path.relative_to(root.resolve())}: no file {link}")
            elif anchor and target in pages and unquote(anchor) not in pages[target].anchors:
                problems.append(f"{path.relative_to(root.resolve())}: no anchor {link}")
    if not pages:
        problems.append(f"there is no page in {root}")
    return problems


def slug(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def prose(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.S))


def markdown() -> list[str]:
    problems = []
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md")]
    for path in files:
        for link in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text())):
            if urlsplit(link).scheme:
                continue
            address, anchor = urldefrag(link)
            target = (path.parent / address).resolve() if address else path
            if not target.exists():
                problems.append(f"{path.relative_to(ROOT)}: no file {link}")
            elif anchor and target.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", target.read_text(), flags=re.S), re.M)
                if anchor not in {slug(heading) for heading in headings}:
                    problems.append(f"{path.relative_to(ROOT)}: no anchor {link}")
    return problems


def diagrams() -> list[str]:
    problems = []
    for path in ROOT.glob("docs/diagrams/*.svg"):
        text = path.read_text()
        if not re.search(r"<title[ >].*?</title>.*?<desc[ >].*?</desc>", text, re.S) or 'role="img"' not in text:
            problems.append(f"{path.relative_to(ROOT)}: no title, description or role")
        if not any(path.name in page.read_text() for page in ROOT.glob("docs/*.md")):
            problems.append(f"{path.relative_to(ROOT)}: on no page")
        if re.search(r"(?:href|src)=\"(?!#)|url\((?!#)|<script|<image|<foreignObject", text):
            problems.append(f"{path.relative_to(ROOT)}: loads something")
    return problems


def contents() -> list[str]:
    """Every page of docs/ stands in the index, once."""
    text = (ROOT / "docs/index.md").read_text()
    listed = re.findall(r"^([a-z_-]+)$", "\n".join(re.findall(r"```\{toctree\}(.*?)```", text, re.S)), re.M)
    there = {path.stem for path in ROOT.glob("docs/*.md")} - {"index"}
    problems = [f"docs/index.md: {name} is not listed" for name in sorted(there - set(listed))]
    return problems + [f"docs/index.md: {name} twice" for name in sorted(set(listed)) if listed.count(name) > 1]


def main() -> int:
    problems = [*markdown(), *diagrams(), *contents()]
    for folder in sys.argv[1:]:
        problems += site(Path(folder))
    print("\n".join(sorted(set(problems))) or "every internal link leads somewhere")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
