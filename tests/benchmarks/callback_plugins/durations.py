# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible callback: writes how long each task took to the file named by SKR_DURATIONS, one JSON line a task."""

from __future__ import annotations

DOCUMENTATION = r"""
name: durations
type: aggregate
short_description: Durations of tasks as JSON lines
description:
  - Writes the duration of each task to the file named by the environment variable C(SKR_DURATIONS).
"""

import json
import os
import time

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "durations"

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._name, self._start = task.get_name(), time.monotonic()

    def v2_runner_on_ok(self, result):
        entry = {"task": self._name, "seconds": time.monotonic() - self._start}
        with open(os.environ["SKR_DURATIONS"], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
