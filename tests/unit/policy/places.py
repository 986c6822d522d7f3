# SPDX-License-Identifier: GPL-3.0-or-later
"""Change one place of a JSON document, named as failures name it: ``anyOf[0].allOf[1].equals``."""

from __future__ import annotations

import copy
import re
from typing import Any


def put(document: Any, place: str, value: Any) -> Any:
    """A copy with another value at the place."""
    made = copy.deepcopy(document)
    steps: list[Any] = [int(step[1:-1]) if step[0] == "[" else step for step in re.findall(r"\[\d+\]|[^.\[\]]+", place)]
    node = made
    for step in steps[:-1]:
        node = node[step]
    if isinstance(node, list) and steps[-1] == len(node):
        node.append(value)
    else:
        node[steps[-1]] = value
    return made
