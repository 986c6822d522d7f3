# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work begun ahead of its turn, beside work that waits for something else: the network while the TPM makes a key."""

from __future__ import annotations

import threading
import typing as t

T = t.TypeVar("T")


class Ahead(t.Generic[T]):
    """Runs a function in a thread; ``result`` waits for it and returns, or raises, what it did.

    Nobody has to ask for the result: the thread does not keep the process from ending.
    """

    def __init__(self, function: t.Callable[[], T]) -> None:
        self._function = function
        self._value: t.List[T] = []
        self._error: t.Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value.append(self._function())
        except BaseException as error:  # whoever asks for the result is told
            self._error = error

    def result(self) -> T:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value[0]
