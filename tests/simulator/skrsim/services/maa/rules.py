# SPDX-License-Identifier: GPL-3.0-or-later
"""Attestation policies as text: the grammar, and a part of the evaluation.

Grammar: Microsoft Learn, "How to author an attestation policy", "Claim rule grammar" and "Attestation policy version
1.0/1.1/1.2". Errors are worded after the troubleshooting guide's PolicyParsingError.

Evaluated are authorization rules alone, and of these only conditions that compare properties of one claim with
literals. What else the service can do (``add``, references between conditions, JmesPath, issuance and configuration
rules) is parsed and kept; an authorization rule that needs it cannot be decided here, which ``Undecided`` says.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

_TOKEN = re.compile(
    r"(?P<skip>\s+|//[^\n]*|/\*.*?\*/)|(?P<text>\"[^\"\n]*\")|(?P<number>\d+)|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>=>|==|!=|<=|>=|&&|\|\||[=<>:;,.\[\]{}()!'+*/?@#$%^&|~`\\-])",
    re.DOTALL,
)
VERSIONS = ("1.0", "1.1", "1.2")
_ACTIONS = {
    "configurationrules": ("issueproperty",),
    "authorizationrules": ("permit", "deny", "add"),
    "issuancerules": ("add", "issue", "issueproperty"),
}
_PROPERTIES = ("type", "value", "valueType", "issuer")
_COMPARE: dict[str, t.Callable[[t.Any, t.Any], bool]] = {
    "==": lambda one, other: bool(one == other),
    "!=": lambda one, other: bool(one != other),
    "<": lambda one, other: bool(one < other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    ">=": lambda one, other: bool(one >= other),
}
_ISSUER = "AttestationService"  # who issued a claim that comes out of the evidence


class GrammarError(Exception):
    """The text is no policy; the message is what the service says."""


class Undecided(Exception):
    """An authorization rule goes beyond what is evaluated here."""


class _Token(t.NamedTuple):
    kind: str
    text: str
    line: int
    column: int


@dataclasses.dataclass
class Rule:
    """``conditions``: one tuple of (property, operator, literal) per bracket; None when they are beyond evaluation."""

    conditions: list[list[tuple[str, str, t.Any]]] | None
    action: str


@dataclasses.dataclass
class Policy:
    version: str
    sections: dict[str, list[Rule]]


def _tokens(text: str) -> list[_Token]:
    found, at, line, start = [], 0, 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _wrong(_Token("", text[at], line, at - start), "token recognition error", "policy")
        if match.lastgroup != "skip":
            found.append(_Token(str(match.lastgroup), match[0], line, at - start))
        if "\n" in match[0]:
            line, start = line + match[0].count("\n"), at + match[0].rindex("\n") + 1
        at = match.end()
    return found


def _wrong(token: _Token, message: str, rule: str) -> GrammarError:
    return GrammarError(
        f"Policy Parser Exception Thrown: Offending symbol: '{token.text}' Line: '{token.line}', Column: "
        f"'{token.column}' Failure message: '{message}' Failing rule: 'policy > {rule}'"
    )


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        last = self._tokens[-1] if self._tokens else _Token("", "", 1, 0)
        self._end = _Token("end", "<EOF>", last.line, last.column + len(last.text))
        self.at = 0

    @property
    def next(self) -> _Token:
        return self._tokens[self.at] if self.at < len(self._tokens) else self._end

    def take(self, *wanted: str, rule: str) -> _Token:
        """The next token, which must be one of these texts or ``<kind>``."""
        token = self.next
        if token.text not in wanted and f"<{token.kind}>" not in wanted:
            raise _wrong(
                token, f"mismatched input '{token.text}' expecting {', '.join(repr(one) for one in wanted)}", rule
            )
        self.at += 1
        return token


def parse(text: str) -> Policy:
    """The policy, or GrammarError."""
    reader = _Reader(text)
    for word in ("version", "="):
        reader.take(word, rule="versionInfo")
    major = reader.take("<number>", rule="versionInfo")
    reader.take(".", rule="versionInfo")
    version = f"{major.text}.{reader.take('<number>', rule='versionInfo').text}"
    if version not in VERSIONS:
        raise _wrong(major, f"version {version} is not supported", "versionInfo")
    reader.take(";", rule="versionInfo")
    order = [name for name in _ACTIONS if version != "1.0" or name != "configurationrules"]
    policy = Policy(version, {})
    while reader.next.kind != "end":
        name = reader.take(*order, rule="policy").text
        order = order[order.index(name) + 1 :]
        policy.sections[name] = _section(reader, name, version)
    if "authorizationrules" not in policy.sections:
        raise _wrong(reader.next, "mismatched input '<EOF>' expecting 'authorizationrules'", "policy")
    return policy


def _section(reader: _Reader, name: str, version: str) -> list[Rule]:
    rules = []
    reader.take("{", rule=name)
    while reader.next.text != "}":
        conditions = _conditions(reader, name, version)
        reader.take("=>", rule=name)
        action = reader.take(*_ACTIONS[name], rule=name).text
        _arguments(reader, name, empty=action in ("permit", "deny"))
        reader.take(";", rule=name)
        rules.append(Rule(conditions, action))
    reader.take("}", rule=name)
    reader.take(";", rule=name)
    return rules


def _arguments(reader: _Reader, name: str, empty: bool) -> None:
    """What is between an action's parentheses; ``permit`` and ``deny`` take nothing."""
    reader.take("(", rule=name)
    depth = 1
    while depth and not empty:
        token = reader.next
        if token.kind == "end" or token.text in ("{", "}", ";"):
            raise _wrong(token, f"mismatched input '{token.text}' expecting ')'", name)
        depth += (token.text == "(") - (token.text == ")")
        reader.at += 1
    if empty:
        reader.take(")", rule=name)


def _conditions(reader: _Reader, name: str, version: str) -> list[list[tuple[str, str, t.Any]]] | None:
    """The conditions of a rule. Later versions know more forms, which are passed over."""
    start = reader.at
    try:
        return _simple(reader, name)
    except GrammarError:
        if version == "1.0":
            raise
    reader.at = start
    while reader.next.text != "=>":
        if reader.next.kind == "end" or reader.next.text in ("{", "}", ";"):
            raise _wrong(reader.next, f"mismatched input '{reader.next.text}' expecting '=>'", name)
        reader.at += 1
    return None


def _simple(reader: _Reader, name: str) -> list[list[tuple[str, str, t.Any]]] | None:
    found: list[list[tuple[str, str, t.Any]]] = []
    literal = True
    while reader.next.text != "=>":
        if found:
            reader.take("&&", rule=name)
        if reader.next.kind == "word":
            reader.at += 1
            reader.take(":", rule=name)
        reader.take("[", rule=name)
        found.append([])
        while not found[-1] or reader.next.text == ",":
            if found[-1]:
                reader.at += 1
            member = reader.take(*_PROPERTIES, rule=name).text
            operator = reader.take(*_COMPARE, rule=name).text
            value, plain = _value(reader, name)
            literal = literal and plain
            found[-1].append((member, operator, value))
        reader.take("]", rule=name)
    return found if literal else None


def _value(reader: _Reader, name: str) -> tuple[t.Any, bool]:
    """A literal, or a reference such as ``F1.value``; and whether it is a literal."""
    token = reader.take("<text>", "<number>", "<word>", "-", rule=name)
    if token.kind == "text":
        return token.text[1:-1], True
    if token.kind == "number":
        return int(token.text), True
    if token.text == "-":
        return -int(reader.take("<number>", rule=name).text), True
    if token.text in ("true", "false"):
        return token.text == "true", True
    reader.take(".", rule=name)
    reader.take(*_PROPERTIES, rule=name)
    return None, False


def permits(policy: Policy, claims: t.Mapping[str, t.Any]) -> bool:
    """Whether the authorization rules let these incoming claims through: something permits, and nothing denies.

    Raises Undecided for rules beyond the simple ones.
    """
    verdicts = set()
    for rule in policy.sections["authorizationrules"]:
        if rule.action == "add" or rule.conditions is None:
            raise Undecided(f"a rule with {rule.action} or with references")
        if all(_holds(condition, claims) for condition in rule.conditions):
            verdicts.add(rule.action)
    return verdicts == {"permit"}


def _holds(condition: list[tuple[str, str, t.Any]], claims: t.Mapping[str, t.Any]) -> bool:
    """Whether some claim has all the properties that one bracket asks for."""
    return any(
        all(_compare(_property(name, value, member), operator, wanted) for member, operator, wanted in condition)
        for name, value in claims.items()
    )


def _property(name: str, value: t.Any, member: str) -> t.Any:
    kind = "Boolean" if isinstance(value, bool) else "Integer" if isinstance(value, int) else "String"
    return {"type": name, "value": value, "valueType": kind, "issuer": _ISSUER}[member]


def _compare(found: t.Any, operator: str, wanted: t.Any) -> bool:
    """Values of different kinds are never equal, and only integers are ordered."""
    if type(found) is not type(wanted):
        return operator == "!="
    if operator not in ("==", "!=") and (isinstance(found, bool) or not isinstance(found, int)):
        return False
    return _COMPARE[operator](found, wanted)
