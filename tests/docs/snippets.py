"""Fenced blocks of a Markdown file, as the docs' tests take them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r"# (\S+\.\w+)(, at its end)?\n")


@dataclass(frozen=True)
class Snippet:
    language: str
    text: str

    @property
    def target(self) -> str | None:
        """The file that a first line of comment names."""
        title = TITLE.match(self.text)
        return title.group(1) if title else None

    @property
    def is_addition(self) -> bool:
        title = TITLE.match(self.text)
        return bool(title and title.group(2))

    @property
    def commands(self) -> list[str]:
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


def snippets(document: str) -> list[Snippet]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [Snippet(*match.groups()) for match in FENCE.finditer(text)]
