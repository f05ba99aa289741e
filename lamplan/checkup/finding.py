"""`Finding`: one thing that a check-up has to say about a log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was found and where, what was expected, what to do. `trouble` spoils a controller or its limits; a `note` is to be known."""

    severity: Literal["trouble", "note"]
    topic: str
    found: str
    expected: str = ""
    advice: str = ""
    where: str = ""
    step: int | None = None

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.where, "" if self.step is None else f"step {self.step}") if part)
        parts = [self.found.rstrip("."), f"expected {self.expected}" if self.expected else "", self.advice.rstrip(".")]
        return (f"{place}: " if place else "") + "; ".join(part for part in parts if part) + "."


@dataclass
class Section:
    """What one check gives: facts by name, for the summary, and findings."""

    facts: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def trouble(self, topic: str, found: str, expected: str = "", advice: str = "", where: str = "", step: int | None = None) -> None:
        self.findings.append(Finding("trouble", topic, found, expected, advice, where, step))

    def note(self, topic: str, found: str, expected: str = "", advice: str = "", where: str = "", step: int | None = None) -> None:
        self.findings.append(Finding("note", topic, found, expected, advice, where, step))
