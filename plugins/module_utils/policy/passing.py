# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which failures may pass by themselves, so that a machine without anybody at it asks again.

Beside the reasons, because it is a statement about them. What is not listed is final: asking again changes nothing, and
repeating a refusal such as ``policy_not_met`` would only hide it.
"""

from __future__ import annotations

import typing as t

from .failure import SkrFailure


class Passing(t.NamedTuple):
    """Why a reason may pass; for how many seconds that is believed (None: for ever); whether it depends on the status."""

    why: str
    at_most: t.Optional[float] = None
    by_status: bool = False


_GRANT = 1800.0  # three times what grants are documented to need

PASSING: t.Dict[str, Passing] = {
    # network
    "network_unreachable": Passing("The network, the name service or the proxy may not be up yet."),
    "imds_unreachable": Passing("The link to the metadata service comes up with the network."),
    "imds_error": Passing("The metadata service is updated now and then.", by_status=True),
    "thim_error": Passing("The host's certificate service is updated now and then."),
    "attestation_unavailable": Passing("The attestation service answers again when its trouble is over."),
    "service_error": Passing("The vault answers again when its trouble is over.", by_status=True),
    # throttling
    "throttled": Passing("The window of the limit passes."),
    # propagation
    "permission_missing": Passing("A new grant takes effect after a while.", _GRANT),
    "identity_not_found": Passing("A new identity is known to the metadata service after a while.", _GRANT),
    "attestation_not_verified": Passing("The vault may not have reached the authority.", 300.0),
    # the machine itself
    "tpm_busy": Passing("Whoever holds the TPM lets go of it."),
    "pcr_changed": Passing("The machine is still starting, and measures what it starts.", 300.0),
    "report_stale": Passing("Others read the report too.", 300.0),
    "vcek_chip": Passing("The VM was just moved to another host.", 1800.0),
    "vcek_tcb": Passing("The host's firmware was just updated.", 1800.0),
    "token_time": Passing("The clock is not set yet.", 600.0),
}
_STATUSES = frozenset({404, 408, 410, 429, 500, 502, 503, 504})


def passes(failure: SkrFailure, waited: float) -> bool:
    """Whether to ask again after this failure, ``waited`` seconds after its reason was first met."""
    known = PASSING.get(failure.reason)
    if known is None or (known.at_most is not None and waited > known.at_most):
        return False
    return not known.by_status or failure.facts.get("status") in _STATUSES
