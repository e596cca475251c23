"""Fenced blocks of a Markdown file, as the docs' tests take them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r"# (\S+\.\w+)(, at its end|, \w+ lines changed)?\n")


@dataclass(frozen=True)
class Snippet:
    language: str
    text: str

    @property
    def target(self) -> str | None:
        """The file that a first line of comment names."""
        title = TITLE.match(self.text)
        return title.group(1) if title else None

    def apply(self, root: Path) -> None:
        """Do to the file below `root` what the snippet's first line says."""
        title = TITLE.match(self.text)
        assert title
        path, kind, lines = root / title.group(1), title.group(2) or "", self.text.splitlines()[1:]
        if kind.endswith("changed"):
            path.write_text(change(path.read_text(), lines))
        else:
            with path.open("a" if kind else "w") as file:
                file.write("\n".join(["", *lines, ""]) if kind else self.text)

    @property
    def commands(self) -> list[str]:
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


def change(text: str, lines: list[str]) -> str:
    """An import joins the others; an assignment takes the place of the one to the same name."""
    for line in filter(None, lines):
        if line.startswith(("from ", "import ")):
            first = re.search(r"^from app", text, re.MULTILINE)
            assert first
            text = f"{text[: first.start()]}{line}\n{text[first.start() :]}"
        else:
            name = line.partition(" = ")[0]
            text, count = re.subn(rf"^{name} = .*$", line, text, flags=re.MULTILINE)
            assert count == 1, f"{name} is assigned {count} times"
    return text


def snippets(document: str) -> list[Snippet]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [Snippet(*match.groups()) for match in FENCE.finditer(text)]
