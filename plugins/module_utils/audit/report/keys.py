# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Section "who could get which key": policy in plain words, holders of the permission, and who has both."""

from __future__ import annotations

import typing as t

from . import access, common, markup, model
from .access import Key, Principal, Standing
from .fleet import newest_version
from .markup import Child, Column, Markup, Table, badge, bdi, code, el, table

_FEW = 60  # hosts that are named at once; more are folded on screen


def section(keys: t.List[Key]) -> Markup:
    intro = (
        "A key leaves the vault only for somebody who holds the release permission on it and whose VM meets its release "
        "policy at that moment. Either alone is not enough."
    )
    body = [_key(key) for key in keys] or [el("p", "The bundle names no key.", class_="soft")]
    return el("section", el("h2", "Who could get which key"), el("p", intro, class_="lead"), body,
              id="keys", class_="fresh")  # fmt: skip


def _key(key: Key) -> Markup:
    uri = model.text(key.raw, "vault_uri") or model.text(key.raw, "hsm_uri") or key.id[0]
    return el(
        "article",
        el("h3", "Key ", bdi(key.name), id=key.anchor),
        None if key.listed else el("p", "Nobody asked the vault about this key; the records alone speak of it. Its policy is "
                                   "that of a record, and who holds the permission is not known.", class_="soft"),
        markup.facts([
            ("Vault", code(uri) if uri else None),
            ("Kind", model.text(key.raw, "key_type")),
            ("Release policy", _immutable(key)),
            ("Policy digest", code(key.sha256) if key.sha256 else None),
        ]),
        el("h4", "The policy in plain words"),
        _words(key.explained) if key.explained else el("p", "The policy is not known.", class_="soft"),
        _differs(key),
        _lint(key),
        _principals(key),
        _standings(key.standings),
        _versions(key),
    )  # fmt: skip


def _immutable(key: Key) -> Child:
    if key.immutable is None:
        return "not known whether it can be changed"
    return "immutable: it can never be changed" if key.immutable else "can be changed by whoever may update the key"


def _words(lines: t.List[str]) -> Markup:
    """A policy's explanation, whose indentation says what belongs to what."""
    made = []
    for line in lines:
        told = line.lstrip(" ")
        if told:
            deep, point = min(3, (len(line) - len(told)) // 2), told.startswith("- ")
            made.append(el("p", f"\u2022 {told[2:]}" if point else told, class_=f"i{deep} b" if point else f"i{deep}"))
    return el("div", made, class_="words")


def _differs(key: Key) -> t.Optional[Markup]:
    told = model.text(key.raw, "policy_sha256")
    if not key.policy or not told or told == key.sha256:
        return None
    return el(
        "p", badge("bad", "differs"), " The bundle gives the digest ", code(told), ", but the policy in it has another."
    )


def _lint(key: Key) -> t.Optional[Markup]:
    """What the lint says of the policy, and why it was accepted."""
    accepted = key.accepted
    lines: t.List[t.Sequence[Child]] = []
    for finding in key.lint:
        state: Child = badge("plain", "information")
        if finding.code in accepted:
            state = [badge("ok", "accepted"), ": ", bdi(accepted[finding.code])]
        elif finding.severity != "info":
            state = badge("bad" if finding.severity == "error" else "warn", "not accepted")
        place = [el("br"), code(finding.path)] if finding.path else None
        lines.append([code(finding.code), [finding.message, place], state])
    known = {finding.code for finding in key.lint}
    lines += [
        [code(name), "Accepted, but not found in the policy as it is now.", bdi(why)]
        for name, why in sorted(accepted.items())
        if name not in known
    ]
    heading = [Column("Finding"), Column("What it says"), Column("Accepted, and why")]
    return table(Table("Findings on the policy", heading, lines, wide=True)) if lines else None


def _principals(key: Key) -> Markup:
    heading = [Column("Whose"), Column("Identity"), Column("By"), Column("Scope")]
    if not key.access:
        return el("div", el("h4", "Who holds the release permission"),
                  el("p", "The bundle names nobody." if key.listed else "Not known.", class_="soft"))  # fmt: skip
    merged: t.Dict[t.Tuple[str, str, str], Principal] = {}
    for principal in key.access:
        merged.setdefault((principal.id, principal.via, principal.scope), principal)
    strangers = [principal for principal in merged.values() if principal.stranger]
    own = [principal for principal in merged.values() if not principal.stranger]
    own.sort(key=lambda principal: principal.hosts[0].name)
    groups = [
        (f"{title} ({len(found)})", "", [_principal(principal) for principal in found])
        for title, found in (("No VM of the inventory", strangers), ("VMs of the inventory", own))
        if found
    ]
    made = table(Table("Who holds the release permission", heading, groups=groups, wide=True))
    return _folded(f"Who holds the release permission: {len(merged)} entries", made) if len(merged) > _FEW else made


def _principal(principal: Principal) -> t.List[Child]:
    whose: t.List[Child] = []
    for number, host in enumerate(principal.hosts):
        whose += [", " if number else None, common.link(host)]
    if principal.stranger:
        named = f", VM {', '.join(principal.vms)}" if principal.vms else ""
        kind = f"{principal.kind or 'kind not known'}{named}"
        whose = [badge("bad", "stranger"), " ", bdi(kind)]
        if principal.kind.lower() == "group":
            whose.append("; its members are not in the bundle, and each of them holds the permission")
    by = access.VIA.get(principal.via, principal.via or "not known")
    return [whose, code(principal.id), by, code(_scope(principal.scope))]


def _scope(scope: str) -> str:
    """The end of a resource id, which tells what it reaches."""
    parts = scope.strip("/").split("/")
    if len(parts) > 4 and parts[0].lower() == "subscriptions":
        tail = parts[parts.index("providers") + 2 :] if "providers" in parts else parts[2:]
        return "/".join(tail)
    return scope or "not known"


def _folded(title: str, content: Markup) -> Markup:
    return el("details", el("summary", title), content)


def _standings(standings: t.List[Standing]) -> Markup:
    """Hosts by what they have of the two."""
    lines: t.List[t.Sequence[Child]] = []
    for kind, title in access.STANDINGS.items():
        found = [standing for standing in standings if standing.kind == kind]
        if found:
            style = {access.BOTH: "ok", access.PERMISSION: "warn", access.POLICY: "plain"}.get(kind, "plain")
            lines.append([badge(style, title, long=True), str(len(found)), _hosts(found)])
    heading = [Column("Permission and policy"), Column("Hosts", "n"), Column("Which")]
    made = table(Table("The fleet's VMs against permission and policy", heading, lines, wide=True))
    unknown = sum(standing.meets is None for standing in standings)
    doubt = f" Of {markup.plural(unknown, 'host')} nothing is known." if unknown else ""
    note = (
        "Whether a VM meets the policy was evaluated anew from the claims it last recorded; where there are none, it is what "
        f"the VM's own record says. A VM in another state, after an update for instance, may meet it no longer.{doubt}"
    )
    return el("div", made, el("p", note, class_="soft small"))


def _hosts(found: t.List[Standing]) -> Child:
    named: t.List[Child] = []
    for number, standing in enumerate(found):
        mark = "" if standing.meets is not None else " (policy: not known)"
        named += [", " if number else None, common.link(standing.host), mark]
    return _folded(f"{len(found)} hosts", el("p", named, class_="small")) if len(found) > _FEW else named


def _versions(key: Key) -> t.Optional[Markup]:
    if not key.versions:
        return None
    newest, users = newest_version(key), _users(key)
    lines = []
    for one in key.versions:
        version = model.text(one, "version")
        enabled = model.flag(one, "enabled")
        state: Child = badge("none", "not known") if enabled is None else badge("plain", "disabled")
        if enabled:
            state = badge("ok", "enabled, newest") if version == newest else badge("warn", "enabled, older")
        lines.append([code(version), state, *(_date(one.get(name)) for name in ("created", "not_before", "expires_on")),
                      str(users.get(version, 0))])  # fmt: skip
    heading = [Column("Version"), Column("State"), Column("Made (UTC)"), Column("Valid from"), Column("Expires"),
               Column("Hosts", "n")]  # fmt: skip
    return table(Table("Versions, and on how many hosts each was released last", heading, lines, wide=True))


def _users(key: Key) -> t.Dict[str, int]:
    found: t.Dict[str, int] = {}
    for host in key.hosts:
        record = host.latest.get(key.id)
        if record is not None and record.released:
            found[record.version] = found.get(record.version, 0) + 1
    return found


def _date(value: t.Any) -> Child:
    return markup.utc(value) if value is not None else "no date"
