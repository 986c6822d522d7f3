# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report proves and what it does not, in plain sentences; and the head, which says of what it is a report."""

from __future__ import annotations

import typing as t

from . import markup, model
from .facts import Host
from .markup import Child, Markup, badge, bdi, code, el
from .model import View

PROVES = (
    "Each record that is marked as verified holds a token that the attestation service signed with a key stored in the "
    "bundle. So the service saw that VM in that state at that time.",
    "The claims shown are those of the signed token. The digest of the policy and the result of every condition were "
    "computed again from them.",
    "The files of the bundle are those whose digests the manifest lists. A valid signature shows also that the holder of the "
    "signing key vouched for that list.",
    "A release with a request id can be compared with the vault's own log, which neither the VM nor this report can change.",
)
NOT = (
    "A copy of a key that was released once cannot be recalled. Disabling a version or narrowing a policy stops later "
    "releases, and nothing else.",
    "What a VM did with a key after its release is not recorded. The attestation speaks of the moment of the release, not of "
    "what ran afterwards.",
    "Hosts that were not reached, and hosts without records, are unknown. They are neither good nor bad.",
    "Records are written by the VMs themselves. A VM whose root user is hostile can leave records out; it cannot make up a "
    "token of another state. The vault's log is the complete list of releases.",
    "Request ids, times, key versions and messages of a record are what the VM says; the token covers the claims only.",
    "Permissions, policies and versions are as the control plane told them when the bundle was made. Who can change them can "
    "get the key later; owners of the vault and of the subscription are not listed.",
    "Signatures are checked against keys that lie in the bundle. That these are the attestation service's own has to be "
    "compared with what the service publishes.",
)


def section() -> Markup:
    two = el(
        "div",
        el("div", el("h3", "It proves, where it says verified"), markup.listing(PROVES)),
        el("div", el("h3", "It does not prove"), markup.listing(NOT)),
        class_="two",
    )
    return el("section", el("h2", "What this report proves, and what it does not"), two, id="proof")


def head(view: View, hosts: t.List[Host]) -> Markup:
    """Title, of what and when, and the verdict over the bundle."""
    tool = view.manifest.get("tool")
    version = model.text(view.manifest, "tool") or " ".join(
        part
        for part in (model.text(tool, "collection") or model.text(tool, "name"), model.text(tool, "version"))
        if part
    )
    files = model.mapping(view.manifest, "files")
    times = sorted(record.time for record in view.all_records if record.time)
    span: Child = [markup.utc(times[0]), " to ", markup.utc(times[-1]), " UTC"] if times else None
    made = view.manifest.get("created")
    return el(
        "header",
        el("h1", "Secure Key Release: evidence report"),
        el("p", _fleet(view, hosts), class_="lead"),
        markup.facts(
            [
                ("Bundle made", [markup.utc(made), " UTC"] if model.moment(made) else "not known"),
                ("Tool", bdi(version) if version else "not known"),
                ("Signature", _signature(view)),
                ("Bundle", code(view.name) if view.name else None),
                ("Files", markup.plural(len(files), "file") + " listed with their digests" if files else None),
                ("Records from", span),
                ("SHA-256", code(view.sha256) if view.sha256 else "of the archive: not known here"),
            ],
            wide=("SHA-256",),
        ),
        _verdict(view),
    )  # fmt: skip


def _fleet(view: View, hosts: t.List[Host]) -> str:
    vaults = sorted({record.key[0] for record in view.all_records if record.key[0]})
    vaults = vaults or sorted({model.address(model.text(key, "vault_uri")) for key in view.keys} - {""})
    where = f", keys of {', '.join(vaults[:4])}" if vaults else ""
    more = f" and {len(vaults) - 4} more vaults" if len(vaults) > 4 else ""
    told = markup.plural(len(hosts), "host"), markup.plural(len(view.all_records), "record")
    return f"{told[0]}, {told[1]}{where}{more}."


def _signature(view: View) -> Child:
    state, key = model.text(view.signature, "state"), model.text(view.signature, "key")
    words = {
        "valid": ("ok", "valid"),
        "hash": ("plain", "not compared; the SHA-256 is that of a list"),
        "invalid": ("bad", "does not verify"),
        "absent": ("none", "the bundle is not signed"),
        "unchecked": ("none", "not checked"),
    }
    kind, told = words.get(state, ("none", "not known here"))
    by = [" by " if state == "valid" else ": ", bdi(key)] if key else None
    return [badge(kind, told, long=True), by]


def _verdict(view: View) -> Markup:
    """One sentence on the verification of the whole bundle."""
    records = view.all_records
    good = sum(record.checked is True for record in records)
    bad = sum(record.checked is False for record in records)
    known = {(record.host, record.id) for record in records}
    loose = [one for one in view.findings if (one.host, one.record_id) not in known and one.message]
    wrong, open_ = ([one.message for one in loose if one.ok is state] for state in (False, None))
    left, all_ = len(records) - good - bad, markup.plural(len(records), "record")
    if not view.verified:
        return _banner("warn", "not verified", "Nobody verified this bundle. What follows is what it says of itself.")
    if bad or wrong or model.text(view.signature, "state") == "invalid":
        told = f"{bad} of {all_} do not verify. Do not rely on this bundle as evidence."
        return _banner("bad", "does not verify", " ".join([told, *wrong]))
    if left or open_ or not records:
        unchecked = f"; {left} could not be checked" if left else ""
        return _banner("warn", "verified in part", " ".join([f"{good} of {all_} verified{unchecked}.", *open_]))
    return _banner("ok", "verified", f"All {all_} verified, and nothing failed.")


def _banner(kind: str, word: str, told: Child) -> Markup:
    return el("div", badge(kind, word), el("p", el("b", "Verification: "), told), class_=f"verdict {kind}")
