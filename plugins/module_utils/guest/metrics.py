# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of an instance for node_exporter's textfile collector, in Prometheus' text format, from its status.

Every metric carries the label ``name``; a gauge whose value is not known is left out.
"""

from __future__ import annotations

import typing as t

from . import status as states

Sample = t.Tuple[t.Dict[str, str], t.Optional[float]]


def text(name: str, status: t.Mapping[str, t.Any]) -> str:
    """The whole file."""
    counts = status.get("counts") or {}
    last, at = status.get("last_success"), float(status.get("time") or 0)
    gauges: t.List[t.Tuple[str, str, t.Optional[float]]] = [
        ("last_run_timestamp_seconds", "When the last release ended.", at),
        ("last_run_success", "Whether the last release worked.", float(status.get("outcome") == states.RELEASED)),
        ("last_success_timestamp_seconds", "When a release last worked.", last),
        ("last_success_age_seconds", "How long ago that was when this was written.", at - last if last else None),
        ("ak_certificate_days_left", "Days until the TPM's attestation key certificate expires.", status.get("ak_cert_days_left")),
        ("duration_seconds", "How long the last release took, its waiting included.", status.get("duration_s")),
        ("attempts", "How often the last release was tried.", status.get("attempts")),
        ("http_requests", "HTTP requests of the last release that worked.", counts.get("http_requests")),
        ("tpm_commands", "TPM commands of the last release that worked.", counts.get("tpm_commands")),
    ]  # fmt: skip
    lines: t.List[str] = []
    for metric, meaning, value in gauges:
        lines += _metric(metric, "gauge", meaning, [({"name": name}, value)])
    version = {"name": name, "kid": str(status.get("kid")), "version": str(status.get("key_version"))}
    lines += _metric("key_info", "gauge", "The key that is in place.", [(version, 1.0 if status.get("kid") else None)])
    outcomes: t.List[Sample] = [
        ({"name": name, "reason": reason}, float(number))
        for reason, number in sorted((status.get("outcomes") or {}).items())
    ]
    lines += _metric("outcomes_total", "counter", "Releases since this machine started, by reason.", outcomes)
    return "\n".join(lines) + "\n"


def write(path: str, name: str, status: t.Mapping[str, t.Any]) -> None:
    """Replace the file. Raises SkrFailure ``invalid_input``."""
    states.replace(path, text(name, status), "metrics_path")


def _metric(name: str, kind: str, meaning: str, samples: t.Sequence[Sample]) -> t.List[str]:
    known = [(labels, value) for labels, value in samples if value is not None]
    if not known:
        return []
    head = [f"# HELP azure_skr_{name} {meaning}", f"# TYPE azure_skr_{name} {kind}"]
    return head + [f"azure_skr_{name}{{{_labels(labels)}}} {_number(value)}" for labels, value in known]


def _labels(labels: t.Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{float(value):.3f}"
