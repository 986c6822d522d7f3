# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in a real browser: opened from disk without any network, looked at in every way a reader would."""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration import chromium
from unit.audit import samples

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import report

pytestmark = pytest.mark.skipif(
    chromium.PROGRAM is None, reason="Chromium is not installed (environment.sh test installs it)"
)
ROOT = Path(__file__).resolve().parents[2]
HOSTS = 12
# In a network namespace of its own not even the loopback interface is up. Others than root may not make one.
ALONE = ("unshare", "-n") if os.geteuid() == 0 else ()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = samples.bundle(HOSTS, 2)
    made["hosts"].append(
        {"host": "web-\u202e<script>alert(1)</script>", "reachable": False, "reason": "\"><img src='x'>"}
    )
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(report.html(made, samples.findings(made)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def browser(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    """A browser without network that has opened the report."""
    started = chromium.Browser(tmp_path_factory.mktemp("browser"), ALONE)
    try:
        started.open(path.as_uri())
        yield started
    finally:
        started.close()


@pytest.fixture(scope="module")
def tree(browser: chromium.Browser) -> list[dict[str, Any]]:
    """The accessibility tree, as screen readers get it."""
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    return [node for node in nodes if not node.get("ignored")]


def named(tree: list[dict[str, Any]], role: str) -> list[str]:
    return [str(node.get("name", {}).get("value", "")) for node in tree if node["role"]["value"] == role]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")
def test_the_browser_has_no_network(browser: chromium.Browser) -> None:
    inside = Path(f"/proc/{browser.process.pid}/ns/net").readlink()
    assert inside != Path("/proc/self/ns/net").readlink()


def test_it_opens_from_disk_without_a_complaint(browser: chromium.Browser, path: Path) -> None:
    assert browser.value("document.title") == "Secure Key Release: evidence report, 2026-11-20 06:30 UTC"
    assert browser.value("document.compatMode") == "CSS1Compat"
    assert browser.told("Log.entryAdded") == [] and browser.told("Runtime.consoleAPICalled") == []
    assert browser.told("Runtime.exceptionThrown") == []
    assert "ERROR:CONSOLE" not in (browser.folder / "stderr").read_text(errors="replace")
    # The style sheet passes the report's own content security policy, which names it by its digest.
    assert browser.value("getComputedStyle(document.querySelector('.tiles')).display") == "grid"


def test_hostile_text_is_text(browser: chromium.Browser) -> None:
    assert browser.value("document.querySelectorAll('script, img, iframe, object, embed, link').length") == 0
    shown = browser.value("document.getElementById('lost').textContent")
    assert "web-[U+202E]<script>alert(1)</script>" in shown and "\"><img src='x'>" in shown


@pytest.mark.parametrize("width", [1280, 700, 400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_every_screen_in_both_themes(browser: chromium.Browser, tmp_path: Path, theme: str, width: int) -> None:
    image = browser.look(width, theme, height=360, whole=False)
    (tmp_path / f"{theme}-{width}.png").write_bytes(image)
    assert (
        browser.value("document.documentElement.scrollWidth") <= width
    )  # nothing sticks out but within its own scroller
    size, colours = pixels(image)
    assert size == (width, 360) and len(colours) > 20
    background = colours.most_common(1)[0][0]
    assert background == ((255, 255, 255) if theme == "light" else (0x15, 0x18, 0x1C))


def pixels(image: bytes) -> tuple[tuple[int, int], Counter[tuple[int, int, int]]]:
    """Size of a PNG and how often each colour is in it (8 bit, RGB or RGBA, not interlaced)."""
    place, data, width, height, channels = 8, b"", 0, 0, 3
    while place < len(image):
        length, kind = struct.unpack(">I4s", image[place : place + 8])
        content = image[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", content)
            assert depth == 8 and colour in (2, 6) and not interlaced
            channels = 3 if colour == 2 else 4
        elif kind == b"IDAT":
            data += content
        place += length + 12
    raw, stride = zlib.decompress(data), width * channels
    before, found = bytearray(stride), Counter[tuple[int, int, int]]()
    for row in range(height):
        kind_, line = raw[row * (stride + 1)], bytearray(raw[row * (stride + 1) + 1 : (row + 1) * (stride + 1)])
        for index in range(stride):
            left = line[index - channels] if index >= channels else 0
            corner = before[index - channels] if index >= channels else 0
            line[index] = (line[index] + _predicted(kind_, left, before[index], corner)) & 255
        found.update((line[at], line[at + 1], line[at + 2]) for at in range(0, stride, channels * 4))
        before = line
    return (width, height), found


def _predicted(kind: int, left: int, above: int, corner: int) -> int:
    """The filters of PNG, 9.2."""
    if kind == 4:
        guess = left + above - corner
        return min((left, above, corner), key=lambda value: abs(guess - value))
    return (0, left, above, (left + above) // 2)[kind]


def test_screen_readers_get_landmarks_headings_and_pictures_with_names(tree: list[dict[str, Any]]) -> None:
    roles = Counter(node["role"]["value"] for node in tree)
    assert roles["banner"] == roles["main"] == roles["contentinfo"] == roles["navigation"] == 1
    assert named(tree, "navigation") == ["Contents"]
    assert "Who could get which key" in named(tree, "heading")
    pictures = [name for role in ("image", "img") for name in named(tree, role)]
    assert len(pictures) == 6 and pictures[0].startswith("Verdicts by reason released: ")


def test_screen_readers_get_the_headers_of_tables(browser: chromium.Browser, tree: list[dict[str, Any]]) -> None:
    roles = Counter(node["role"]["value"] for node in tree)
    shown = browser.value("[...document.querySelectorAll('table')].filter(t => t.checkVisibility()).length")
    assert roles["table"] == shown > 40
    columns, rows = named(tree, "columnheader"), named(tree, "rowheader")
    assert {"Host", "Verdict", "Claim", "Wanted", "Found", "Result", "Identity", "Scope"} <= set(columns)
    assert all(columns) and len(rows) > 100
    tables = [node for node in tree if node["role"]["value"] == "table"]
    assert all(node["name"]["value"] for node in tables)


def test_the_index_is_filtered_without_a_script(browser: chromium.Browser) -> None:
    visible = (
        "[...document.querySelectorAll('.index tbody')].filter(t => t.checkVisibility()).map(t => t.className).join()"
    )
    everything = str(browser.value(visible)).split(",")
    assert {"bad", "lost", "ok"} <= set(everything)
    browser.value("document.getElementById('only-bad').click()")
    assert browser.value(visible) == "bad"
    browser.value("document.getElementById('only-all').click()")
    assert str(browser.value(visible)).split(",") == everything


def test_links_of_the_index_lead_to_the_hosts(browser: chromium.Browser) -> None:
    browser.look(1280, whole=False)
    browser.value("document.querySelector('.index tbody a').click()")
    browser.listen(0.5)
    target = browser.value("location.hash")
    place = browser.value(f"document.querySelector('{target}').getBoundingClientRect().top")
    assert target.startswith("#host-") and -5 <= place <= 100


def test_it_prints_a_page_for_each_host(browser: chromium.Browser, tmp_path: Path) -> None:
    printed = browser.paper()
    (tmp_path / "report.pdf").write_bytes(printed)
    assert printed.startswith(b"%PDF-") and printed.rstrip().endswith(b"%%EOF")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") + printed.count(b"/Type /Page/") > HOSTS
    browser.send(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    # Paper is white in every theme, shows what is folded on the screen, and begins a page with every host.
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    breaks = browser.value(
        "[...document.querySelectorAll('article.host')].slice(1).every(a => getComputedStyle(a).breakBefore === 'page')"
    )
    assert breaks is True
    folded = "[...document.querySelectorAll('article.host details table')].map(t => t.getBoundingClientRect().height)"
    heights = browser.value(folded)
    assert len(heights) > 3 and min(heights) > 40
    browser.send("Emulation.setEmulatedMedia", media="", features=[])


def test_nothing_was_asked_of_any_network(path: Path, tmp_path: Path) -> None:
    """The page's requests, as the debugger and the browser's own log of its network tell them; a control shows that both would."""
    control = tmp_path / "control.html"
    control.write_text(
        '<!DOCTYPE html><title>c</title><img src="http://192.0.2.1/x.png"><script>console.error("x")</script>'
    )
    asked: dict[str, list[str]] = {}
    for name, page in (("report", path), ("control", control)):
        folder = tmp_path / name
        folder.mkdir()
        started = chromium.Browser(folder, ALONE)
        try:
            started.open(page.as_uri())
            started.look(400, "dark", whole=False)
            started.paper()
            asked[f"{name}, debugger"] = [one["request"]["url"] for one in started.told("Network.requestWillBeSent")]
            complaints = len(started.told("Log.entryAdded")) + len(started.told("Runtime.consoleAPICalled"))
            assert (complaints == 0) == (name == "report")
        finally:
            started.close()
        asked[f"{name}, log"] = chromium.requests(started.log)
    assert asked["control, debugger"] == [control.as_uri(), "http://192.0.2.1/x.png"]
    assert set(asked["control, log"]) == {"http://192.0.2.1/x.png"}
    assert asked["report, debugger"] == [path.as_uri()]
    assert asked["report, log"] == []


def test_the_sample_for_the_documentation_is_made_by_its_tool(tmp_path: Path) -> None:
    import subprocess
    import sys

    made = [tmp_path / "one.html", tmp_path / "two.html"]
    for file in made:
        subprocess.run([sys.executable, str(ROOT / "tests/tools/sample_report.py"), str(file), "8"], check=True)
    assert made[0].read_bytes() == made[1].read_bytes() and b"8 hosts" in made[0].read_bytes()
