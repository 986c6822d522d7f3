# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The style sheet: for screens of any width, light and dark, and for paper."""

from __future__ import annotations

import typing as t

from . import palette

# No content-visibility: what it leaves out of the layout, screen readers do not get as tables.
_BASE = """
*{box-sizing:border-box}
html{font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);overflow-wrap:break-word}
a{color:var(--link);text-underline-offset:.15em;text-decoration-thickness:1px}
a:hover{text-decoration-thickness:2px}
:focus-visible{outline:3px solid var(--focus);outline-offset:2px}
.skip{position:absolute;left:-9999px;background:var(--page);padding:.5rem 1rem;z-index:2}
.skip:focus{left:.5rem;top:.5rem}
.out{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.defs{position:absolute;width:0;height:0}
header,.layout,footer{max-width:82rem;margin:0 auto;padding:0 1.5rem}
header{padding-top:2.25rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .35rem;font-weight:650;letter-spacing:-.01em}
h2{font-size:1.4rem;line-height:1.25;margin:0 0 .75rem;font-weight:650}
h3{font-size:1.1rem;line-height:1.3;margin:2rem 0 .5rem;font-weight:650}
h4{font-size:.95rem;margin:1.4rem 0 .4rem;font-weight:650}
h3+h4{margin-top:.6rem}
p{margin:.5rem 0;max-width:48rem}
ul,ol{max-width:50rem;padding-left:1.3rem;margin:.4rem 0}
li{margin:.2rem 0}
.lead{color:var(--soft);font-size:1.02rem}
.soft,small{color:var(--soft)}
small,.small{font-size:.86rem}
code.k,.w{white-space:nowrap}
dd code.k,p code.k,h4 code.k{white-space:normal}
code{font:.86em/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
section{border-top:1px solid var(--line);padding-top:1.75rem;margin-top:2.5rem;scroll-margin-top:.5rem}
section section,article{border-top:0;margin-top:0;padding-top:0}
article{scroll-margin-top:.5rem}
.layout{display:grid;grid-template-columns:13.5rem minmax(0,1fr);gap:2.5rem}
nav.contents{position:sticky;top:0;align-self:start;max-height:100vh;overflow:auto;padding:2.5rem 0 1rem;font-size:.92rem}
nav.contents ul{list-style:none;padding:0;margin:0}
nav.contents li{margin:0}
nav.contents a{display:block;padding:.3rem 0;text-decoration:none;color:var(--ink)}
nav.contents a:hover{text-decoration:underline}
nav.contents .count{color:var(--soft);font-variant-numeric:tabular-nums;margin-left:.35em}
main>section:first-child{border-top:0;margin-top:.75rem}
footer{color:var(--soft);font-size:.86rem;border-top:1px solid var(--line);margin-top:3rem;padding-top:1rem;padding-bottom:2rem}
.verdict{display:flex;gap:.75rem;align-items:baseline;border-left:4px solid;padding:.65rem 1rem;margin:1.1rem 0 0;max-width:62rem}
.verdict p{margin:0;max-width:none}
.verdict.ok{border-color:var(--ok-bar);background:var(--ok-page)}
.verdict.bad{border-color:var(--bad-bar);background:var(--bad-page)}
.verdict.warn{border-color:var(--warn-bar);background:var(--warn-page)}
.verdict.none{border-color:var(--none-bar);background:var(--none-page)}
.verdict .badge{flex:none}
.badge{display:inline-block;font-size:.84rem;line-height:1.4;font-weight:600;padding:.05rem .5rem;border:1px solid;border-radius:3px;white-space:nowrap}
.badge.long{white-space:normal}
.badge.ok{color:var(--ok);background:var(--ok-page)}
.badge.bad{color:var(--bad);background:var(--bad-page)}
.badge.warn{color:var(--warn);background:var(--warn-page)}
.badge.none,.badge.plain{color:var(--none);background:var(--none-page)}
.tiles{display:grid;grid-template-columns:repeat(6,minmax(0,1fr));gap:1px}
.tiles{background:var(--line);border:1px solid var(--line);margin:1.25rem 0;padding:0;list-style:none;max-width:none}
.tiles li{background:var(--page);padding:.8rem 1rem;margin:0}
.tiles b{display:block;font-size:1.55rem;line-height:1.25;font-weight:600;font-variant-numeric:tabular-nums}
.tiles b small{font-size:1rem;font-weight:400}
.tiles span{display:block;font-size:.88rem}
.tiles .soft{font-size:.84rem}
.attention{list-style:none;padding:0;max-width:62rem}
.attention li{display:grid;grid-template-columns:7.2rem minmax(0,1fr);gap:.25rem 1rem;padding:.55rem 0;border-top:1px solid var(--line);margin:0}
.attention li:last-child{border-bottom:1px solid var(--line)}
.attention .badge{justify-self:start;align-self:start}
.scroll{overflow-x:auto;margin:.75rem 0}
table{border-collapse:collapse;width:100%;font-size:.9rem;line-height:1.42}
caption{text-align:left;font-weight:600;padding:.25rem 0 .4rem;font-size:.95rem}
th,td{text-align:left;vertical-align:top;padding:.36rem .75rem .36rem 0;border-bottom:1px solid var(--line)}
th,td{font-weight:400;unicode-bidi:isolate;overflow-wrap:break-word}
th:last-child,td:last-child{padding-right:0}
thead th{font-weight:600;color:var(--soft);font-size:.84rem;vertical-align:bottom;border-bottom:2px solid var(--line)}
tr.group th{font-weight:600;background:var(--panel);padding-left:.6rem;border-bottom:1px solid var(--line)}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
time{font-variant-numeric:tabular-nums}
time{white-space:nowrap}
td.n,th.n{padding-right:1.25rem}
td.n:last-child,th.n:last-child{padding-right:.25rem}
table.narrow{width:auto;min-width:min(100%,24rem)}
.words{margin:.5rem 0;padding:.7rem 1.1rem;background:var(--panel);border-left:3px solid var(--line)}
.words p{margin:.1rem 0;max-width:none}
.words .i0{margin-top:.6rem;font-weight:600}
.words .i0:first-child{margin-top:0;font-weight:400}
.words .i1{margin-left:1.1rem}
.words .i2{margin-left:2.2rem}
.words .i3{margin-left:3.3rem}
.words .b{text-indent:-.9rem;padding-left:.9rem}
tbody th[scope=row]{min-width:5.5rem}
.index th[scope=row]{min-width:8rem;overflow-wrap:anywhere}
dl.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:.1rem 2rem;margin:.6rem 0;font-size:.92rem}
dl.facts .wide{grid-column:1/-1}
dl.facts div{display:grid;grid-template-columns:8.5rem minmax(0,1fr);gap:.75rem;padding:.28rem 0;border-bottom:1px solid var(--line)}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere;unicode-bidi:isolate;font-variant-numeric:tabular-nums}
details{margin:.5rem 0}
summary{cursor:pointer;color:var(--link);font-size:.9rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1.25rem;margin:1rem 0}
figure{margin:0;padding:1rem 1.1rem;border:1px solid var(--line);min-width:0}
figcaption{font-weight:600;margin-bottom:.15rem}
figcaption small{display:block;font-weight:400}
figure svg{display:block;width:100%;max-width:31rem;height:auto;margin:.5rem 0}
svg text{font-size:12.5px;fill:var(--ink);font-variant-numeric:tabular-nums}
svg .axis{fill:var(--soft);font-size:11.5px}
svg .grid{stroke:var(--grid);stroke-width:1}
svg .base{stroke:var(--soft);stroke-width:1}
svg .mark{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3}
svg .ok{fill:var(--ok-bar)}svg .bad{fill:var(--bad-bar)}svg .warn{fill:var(--warn-bar)}svg .none{fill:var(--none-bar)}svg .plain{fill:var(--plain-bar)}
svg .hatch{stroke:var(--page);stroke-width:2.2}
.filter{border:0;padding:0;margin:.75rem 0}
.filter legend{padding:0;font-size:.9rem;color:var(--soft)}
.filter label{display:inline-block;margin:.25rem 1rem .25rem 0;font-size:.92rem}
.filter input{accent-color:var(--link);margin:0 .4em 0 0;vertical-align:-.1em}
article.host{border-top:1px solid var(--line);margin-top:2.75rem;padding-top:.25rem}
article.host>h3{margin-top:1rem;font-size:1.22rem;display:flex;flex-wrap:wrap;gap:.4rem .8rem;align-items:center}
.back{font-size:.86rem}
.event{border-left:3px solid var(--line);padding-left:1rem;margin:1.5rem 0}
.event.bad{border-color:var(--bad-bar)}.event.warn{border-color:var(--warn-bar)}
.event h4{margin:.1rem 0 .3rem}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:0 2.5rem}
.two h3{margin-top:.75rem}
@media (max-width:72rem){
.tiles{grid-template-columns:repeat(3,minmax(0,1fr))}
}
@media (max-width:56rem){
.layout{display:block}
nav.contents{position:static;max-height:none;padding:1.25rem 0 0}
nav.contents ul{columns:2;column-gap:1.5rem}
main>section:first-child{border-top:1px solid var(--line);margin-top:1rem}
}
@media (max-width:34rem){
header,.layout,footer{padding-left:1rem;padding-right:1rem}
header{padding-top:1.25rem}
h1{font-size:1.5rem}
.attention li{grid-template-columns:1fr}
.tiles{grid-template-columns:1fr 1fr}
.tiles li{padding:.6rem .75rem}
.tiles b{font-size:1.3rem}
.verdict{display:block}
.verdict p{margin-top:.35rem}
figure{padding:.75rem}
svg text{font-size:14px}
svg .axis{font-size:13px}
dl.facts div{grid-template-columns:7.5rem minmax(0,1fr)}
.event{padding-left:.75rem}
.scroll>table{min-width:30rem}
.scroll>table.narrow{min-width:0}
.scroll>table.index{min-width:52rem}
}
"""

_PAPER = """
@page{size:A4;margin:17mm 15mm 18mm;
@bottom-right{content:counter(page) " / " counter(pages);font:8.5pt sans-serif;color:#535c67}
@bottom-left{content:"Secure Key Release: evidence report";font:8.5pt sans-serif;color:#535c67}}
@media print{
html{font-size:10.5pt}
body{print-color-adjust:exact;-webkit-print-color-adjust:exact}
header,.layout,footer{max-width:none;padding-left:0;padding-right:0}
header{padding-top:0}
.layout{display:block}
.skip,.filter,.back,nav.contents,summary{display:none}
details::details-content{content-visibility:visible;display:block;height:auto}
a{color:inherit;text-decoration:none}
section{margin-top:1.5rem;padding-top:1rem}
section.fresh{break-before:page;border-top:0;margin-top:0;padding-top:0}
article.host{break-before:page;border-top:0;margin-top:0;padding-top:0}
article.host.first{break-before:auto}
h1,h2,h3,h4,caption,summary{break-after:avoid}
tr,figure,.tiles li,.attention li,.verdict,dl.facts div{break-inside:avoid}
thead{display:table-header-group}
.scroll{overflow:visible}
table{font-size:8.8pt}
.charts{grid-template-columns:1fr 1fr}
.charts details{display:none}
.paper{display:block}
}
"""


def sheet(kinds: t.Tuple[str, ...]) -> str:
    """The whole style sheet; ``kinds`` are the verdicts that the index can be filtered by."""
    filters = "".join(f".pick:has(#only-{kind}:checked) .index tbody:not(.{kind}){{display:none}}\n" for kind in kinds)
    return (
        f":root{{color-scheme:light dark;{palette.variables('light')}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{palette.variables('dark')}}}}}\n"
        f"{_BASE}@media screen{{\n{filters}}}\n{_PAPER}"
    )
