# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host certifies for its VMs: the chain above an SNP report, and the quote of a TD report; true, or false by a fault."""

from __future__ import annotations

import dataclasses
import typing as t

from .intel import Intel

if t.TYPE_CHECKING:
    from .platform import Platform

CHAIN_FAULTS = frozenset({"stale_tcb", "foreign_vcek", "foreign_root"})
QUOTE_FAULTS = frozenset({"other_report_data", "foreign_root", "unbound_key", "bad_signature", "truncated"})


class Thim:
    """Its faults are in the table under the service "thim", operations "certification" and "td_quote"."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def _fault(self, operation: str, vm: str, actions: frozenset[str]) -> str:
        fault = self._platform.world.faults.fire("thim", operation, vm, actions)
        return fault.action if fault else ""

    def certification(self, vm: str) -> dict[str, str]:
        """VCEK and chain; on a host whose reports the provider's key signs, that key's."""
        platform = self._platform
        chip = platform.chip(vm)
        hierarchy, tcb = chip.hierarchy, chip.tcb
        action = self._fault("certification", vm, CHAIN_FAULTS)
        leaf, chain = chip.vcek_pem, hierarchy.chain_pem
        if platform.option(vm).vlek:
            leaf, chain = chip.vlek_pem, hierarchy.vlek_chain_pem
        if action == "stale_tcb":
            tcb = dataclasses.replace(chip.tcb, microcode=chip.tcb.microcode - 1)
            leaf = chip.vcek_for(tcb)
        if action == "foreign_vcek":
            leaf = platform.new_chip(hierarchy.product).vcek_pem
        if action == "foreign_root":
            foreign = platform.foreign_hierarchy(hierarchy.product)
            leaf, chain = chip.vcek_under(foreign), foreign.chain_pem
        return {
            "vcekCert": leaf,
            "tcbm": tcb.encode(hierarchy.product)[::-1].hex().upper(),
            "certificateChain": chain,
            "cacheControl": "86400",
        }

    def td_quote(self, vm: str, report: bytes) -> bytes:
        """The quote of a VM's TD report. Raises tdx.BadReport."""
        host, version = self._platform.td_host(vm), self._platform.option(vm).quote_version
        quote = bytearray(host.quote(report, version))
        start = 48 if version == 4 else 54
        action = self._fault("td_quote", vm, QUOTE_FAULTS)
        if action == "other_report_data":
            data = quote[: start + 584]
            data[start + 520] ^= 1
            quote = bytearray(host.signed(bytes(data)))
        if action == "foreign_root":
            quote = bytearray(host.signed(bytes(quote[: start + 584]), Intel()))
        if action == "unbound_key":
            quote = bytearray(host.signed(bytes(quote[: start + 584]), bound=False))
        if action == "bad_signature":
            quote[start + 588] ^= 1
        return bytes(quote[:-100] if action == "truncated" else quote)
