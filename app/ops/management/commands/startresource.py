import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from app.accounts.commands import in_one_line
from app.errors import Invalid
from app.ops import scaffolds
from app.ops.resources import FLAGS, KINDS, Resource, parse_resource
from settings import env

EXAMPLE = "crane name:char:100:unique lifts_tonnes:positive host:fk:fleet.Host:optional"


class Command(BaseCommand):
    help = (
        "Write a resource: model, migration, serializer, viewset, URL and tests. "
        f"Example: manage.py startresource {EXAMPLE}. "
        f"Kinds: {', '.join(KINDS)}. Flags: {', '.join(sorted(FLAGS))}."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="What one is called, such as crane.")
        parser.add_argument("fields", metavar="FIELD", nargs="*", help="name:kind:argument:flag")
        parser.add_argument("--plural", help="What several are called; it names the app.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would be written.")

    def handle(self, *args: Any, **options: Any) -> None:
        root = Path(settings.BASE_DIR)
        try:
            resource = parse_resource(options["name"], options["fields"], options["plural"])
            new, changed = scaffolds.new_files(resource), scaffolds.changed_files(resource, root)
        except Invalid as error:
            raise CommandError(in_one_line(error)) from error
        standing = [path for path in new if (root / path).exists()]
        if standing:
            raise CommandError(f"{standing[0]} exists. Remove it, or choose another name.")
        for path, text in (new | changed).items():
            self.stdout.write(f"{'change' if path in changed else 'write '} {path}")
            if not options["dry_run"]:
                _write(root / path, text)
        if not options["dry_run"]:
            self._finish(resource, root, [path for path in new | changed if path.endswith(".py")])

    def _finish(self, resource: Resource, root: Path, paths: list[str]) -> None:
        """What other programs do: the migration, the API's description, the format."""
        manage = [sys.executable, "manage.py"]
        _run(root, *manage, "makemigrations", resource.plural, "--verbosity", "0")
        self.stdout.write(f"write  app/{resource.plural}/migrations/0001_initial.py")
        if settings.OPENAPI:
            _run(root, *manage, "spectacular", "--file", "docs/openapi.yaml")
            self.stdout.write("change docs/openapi.yaml")
        ruff = Path(sys.executable).with_name("ruff")
        if ruff.exists():
            _run(root, str(ruff), "check", "-q", "--select", "I", "--fix", *paths)
            _run(root, str(ruff), "format", "-q", *paths, f"app/{resource.plural}")
        address = f"/api/v1/{resource.plural.replace('_', '-')}/"
        self.stdout.write(f"Start it with `make up`, and see {address}")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _run(root: Path, *command: str) -> None:
    done = subprocess.run(
        command, cwd=root, env=env.inherited(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CommandError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
