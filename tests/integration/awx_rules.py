# SPDX-License-Identifier: GPL-3.0-or-later
"""AWX's own rules for surveys and credential types, as its API enforces them; and what it makes of a credential."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

SURVEY_TYPES: dict[str, Any] = {
    "text": str, "textarea": str, "password": str, "multiplechoice": str, "multiselect": str,
    "integer": int, "float": (float, int),
}  # fmt: skip
# What AWX keeps for itself among the environment; besides everything that begins with ANSIBLE_.
BLOCKED = {"VIRTUAL_ENV", "PATH", "PYTHONPATH", "JOB_ID", "INVENTORY_ID", "INVENTORY_UPDATE_ID", "AWX_HOST"}


def survey_problems(spec: dict[str, Any]) -> list[str]:
    """Why AWX would refuse a survey; also what it accepts and later stumbles over."""
    found = [f"{name} is no {kind.__name__}" for name, kind in (("name", str), ("description", str), ("spec", list))
             if not isinstance(spec.get(name), kind)]  # fmt: skip
    if found or not spec["spec"]:
        return found or ["the spec is empty"]
    seen = set()
    for question in spec["spec"]:
        variable = question.get("variable")
        found += [f"{variable}: {problem}" for problem in _question(question)]
        if variable in seen:
            found.append(f"{variable}: asked twice")
        seen.add(variable)
    return found


def _question(question: dict[str, Any]) -> list[str]:
    for member, kind in (("type", str), ("question_name", str), ("variable", str), ("required", bool)):
        if not isinstance(question.get(member), kind):
            return [f"{member} is no {kind.__name__}"]
    kind = question["type"]
    if kind not in SURVEY_TYPES:
        return [f"{kind} is no type of question"]
    found = []
    limits = {name: question[name] for name in ("min", "max") if question.get(name) is not None}
    found += [f"{name} is no integer" for name, value in limits.items() if type(value) is not int]
    if found:
        return found
    if kind in ("multiplechoice", "multiselect"):
        choices = question.get("choices")
        if not isinstance(choices, list) or not choices or not all(isinstance(one, str) and one for one in choices):
            return ["choices are no list of texts"]
        if question.get("default") is not None and question["default"] not in choices:
            found.append("the default is none of the choices")
        if not question["required"]:
            found.append("a choice that is left open arrives as empty text, which is none of the choices")
    elif "choices" in question:
        found.append("choices without a choice")
    default = question.get("default")
    if default not in (None, ""):
        if not isinstance(default, SURVEY_TYPES[kind]) or isinstance(default, bool):
            found.append("the default is of another type")
        elif kind in ("integer", "float"):
            if not limits.get("min", default) <= default <= limits.get("max", default):
                found.append("the default is out of range")
    if kind in ("text", "textarea") and not question["required"] and limits.get("min", 0) > 0:
        found.append("empty text is shorter than min")
    if question["required"] and kind in ("text", "textarea") and limits.get("min", 0) < 1:
        found.append("empty text is an answer")
    if kind in ("integer", "float") and set(limits) != {"min", "max"}:
        found.append("a number without limits")
    if kind in ("text", "textarea") and "max" not in limits:
        found.append("a text without limit")
    return found


def credential_type_problems(inputs: dict[str, Any], injectors: dict[str, Any]) -> list[str]:
    """Why AWX would refuse a credential type."""
    found = [f"{name} is no member of inputs" for name in set(inputs) - {"fields", "required"}]
    fields = [field.get("id", "") for field in inputs.get("fields", [])]
    for field in inputs.get("fields", []):
        unknown = set(field) - {"type", "format", "choices", "id", "label", "help_text", "multiline", "secret",
                                "ask_at_runtime", "default"}  # fmt: skip
        found += [f"{name} is no member of a field" for name in unknown]
        if not re.fullmatch("[a-zA-Z_]+[a-zA-Z0-9_]*", field.get("id", "")) or field["id"] == "tower":
            found.append(f"{field.get('id')} is no name of a field")
        if not isinstance(field.get("label"), str) or field.get("type", "string") not in ("string", "boolean"):
            found.append(f"{field['id']}: no label, or a type that is none")
    if len(set(fields)) != len(fields):
        found.append("a field is there twice")
    found += [f"{name} is required and no field" for name in set(inputs.get("required", [])) - set(fields)]
    found += [f"{name} is no kind of injector" for name in set(injectors) - {"file", "env", "extra_vars"}]
    for name in injectors.get("env", {}):
        if name.startswith("ANSIBLE_") or name in BLOCKED:
            found.append(f"{name} is not allowed in the environment")
    files = injectors.get("file", {})
    if "template" in files and len(files) > 1:
        found.append("one file and several")
    values: dict[str, Any] = dict.fromkeys(fields, "EXAMPLE")
    values["tower"] = {"filename": "EXAMPLE"} if files else {}
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    for kind, members in injectors.items():
        for name, template in members.items():
            try:
                environment.from_string(template).render(values)
            except Exception as error:  # whatever it is, AWX refuses the type
                found.append(f"{kind} {name}: {error}")
    return found


def inject(injectors: dict[str, Any], inputs: dict[str, str]) -> dict[str, dict[str, str]]:
    """What a job gets of a credential: files by label, environment, variables. Fields nobody filled do not exist."""
    environment = ImmutableSandboxedEnvironment()
    values: dict[str, Any] = {name: value for name, value in inputs.items() if value}
    files = {name: environment.from_string(text).render(values) for name, text in injectors.get("file", {}).items()}
    values["tower"] = {"filename": "/runner/env/tmpfile"} if files else {}
    rendered = {
        kind: {name: environment.from_string(text).render(values) for name, text in injectors.get(kind, {}).items()}
        for kind in ("env", "extra_vars")
    }
    return {"file": files, **rendered}
