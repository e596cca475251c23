"""The files of a new resource, and what the project's own gain by it. Nothing is written here."""

import re
from pathlib import Path
from string import Template
from typing import Any

from django.db.models import NOT_PROVIDED, Model

from app.db import models
from app.errors import Invalid
from app.ops.resources import KINDS, Field, Resource

TEMPLATES = Path(__file__).parent / "resource_templates"

# The kinds that a list is filtered by; text is searched.
FILTERED = {"BooleanField", "ForeignKey", "IntegerField", "PositiveIntegerField"}


def new_files(resource: Resource) -> dict[str, str]:
    """The text of each new file, by its path in the project. Django makes the migration."""
    words = _code_words(resource) | _test_words(resource)
    app, tests = f"app/{resource.plural}", f"tests/{resource.plural}"
    empty = (f"{app}/__init__.py", f"{app}/migrations/__init__.py", f"{tests}/__init__.py")
    return {
        **dict.fromkeys(empty, ""),
        **{
            f"{app}/{name}.py": _render(name, words)
            for name in ("models", "serializers", "views", "urls")
        },
        f"{tests}/test_{resource.plural}.py": _render("tests", words),
    }


def changed_files(resource: Resource, root: Path) -> dict[str, str]:
    """The new text of the files that name every app. Raises Invalid where one has no place for
    another.
    """
    app, texts = f"app.{resource.plural}", {}
    for path, change in (
        ("app/urls.py", _in_urls),
        ("settings/base.py", _in_settings),
        ("pyproject.toml", _in_layers),
    ):
        try:
            texts[path] = change((root / path).read_text(encoding="utf-8"), app, resource.plural)
        except FileNotFoundError:
            raise Invalid(
                f"There is no {path} here. Run the command in the project's folder."
            ) from None
        except LookupError:
            raise Invalid(
                f"Found no place for {app} in {path}. Add it as the README shows."
            ) from None
    return texts


def _in_urls(text: str, app: str, name: str) -> str:
    lines = text.splitlines(keepends=True)
    new = f"from {app} import urls as {name}\n"
    own = [number for number, line in enumerate(lines) if line.startswith("from app.")]
    place = next((number for number in own if lines[number] > new), own[-1] + 1)
    text = "".join([*lines[:place], new, *lines[place:]])
    return _insert(text, r"^ROUTERS = \[[^\]]*?(?=,?\s*\])", f", {name}.router")


def _in_settings(text: str, app: str, name: str) -> str:
    return _insert(text, r'^INSTALLED_APPS = \[[^\]]*",(?=\s*\])', f'\n    "{app}",')


def _in_layers(text: str, app: str, name: str) -> str:
    text = _insert(text, r'^layers = \["urls \| agent", "ops", "fleet[^"]*', f" | {name}")
    return text.replace('"app.fleet", "app.accounts"', f'"app.fleet", "{app}", "app.accounts"')


def _insert(text: str, after: str, addition: str) -> str:
    match = re.search(after, text, re.MULTILINE)
    if match is None:
        raise LookupError(after)
    return f"{text[: match.end()]}{addition}{text[match.end() :]}"


def _render(name: str, words: dict[str, str]) -> str:
    template = (TEMPLATES / f"{name}.py-tpl").read_text(encoding="utf-8")
    return Template(template).substitute(words)


def _code_words(resource: Resource) -> dict[str, str]:
    names = ["id", *(one.name for one in resource.fields)]
    searched = [one.name for one in resource.fields if one.kind.is_text]
    filtered = [one.name for one in resource.fields if one.kind.field in FILTERED]
    attributes = {
        "search_fields": searched,
        "filterset_fields": filtered,
        "ordering_fields": names,
    }
    title = resource.title
    return {
        "model": resource.model,
        "plural": resource.plural,
        "path": resource.plural.replace("_", "-"),
        "declarations": "\n    ".join(one.declaration(resource.plural) for one in resource.fields),
        "shown": f"self.{title.name}" if title else f'f"{_spaced(resource.name)} {{self.pk}}"',
        "fields": _listed(names),
        "attributes": "\n    ".join(
            f"{name} = {_listed(values)}" for name, values in attributes.items() if values
        ),
    }


def _test_words(resource: Resource) -> dict[str, str]:
    fields = resource.fields
    targets = [one.target for one in fields if one.target is not None]
    changed = next((one for one in fields if one.target is None), fields[0])
    required = [one.name for one in fields if not (one.is_optional or one.kind.sample is True)]
    wrong = [(one.name, one.kind.wrong) for one in fields if one.kind.wrong is not None]
    unique = next((one.name for one in fields if "unique" in one.flags), None)
    return {
        "name": resource.name,
        "nouns": _spaced(resource.plural),
        "constant": resource.plural.upper(),
        "imports": "".join(sorted({f"{line}\n" for each in targets for line in _imports(each)})),
        "bodies": _bodies(fields),
        "changed": changed.name,
        "wrong": f"[{', '.join(_quoted(pair) for pair in wrong)}]",
        "required": _quoted(["no_such_field", *required])[1:-1],
        "unique": "" if unique is None else _render("unique_test", {
            "name": resource.name, "constant": resource.plural.upper(), "unique": unique,
        }),
    }  # fmt: skip


def _bodies(fields: tuple[Field, ...]) -> str:
    made = [f"{one.name} = await {_creation(one.target)}" for one in fields if one.target]
    bodies = [
        ", ".join(
            f'"{one.name}": {f"{one.name}.pk" if one.target else _quoted(one.sample(number))}'
            for one in fields
        )
        for number in (1, 2)
    ]
    return "\n    ".join([*made, f"return [{{{bodies[0]}}}, {{{bodies[1]}}}]"])


def _creation(model: type[Model]) -> str:
    """An expression that creates a row of `model` with a value for each column that needs one."""
    values = []
    column: Any
    for column in model._meta.concrete_fields:
        has_default = column.default is not NOT_PROVIDED or column.db_default is not NOT_PROVIDED
        if has_default or column.null or column.blank or column.primary_key:
            continue
        if column.related_model is not None:
            values.append(f"{column.name}=await {_creation(column.related_model)}")
        else:
            values.append(f"{column.name}={_quoted(_value_for(column))}")
    return f"{_manager(model)}.acreate({', '.join(values)})"


def _value_for(column: Any) -> Any:
    if column.choices:
        return column.choices[0][0]
    kinds = [kind for kind in KINDS.values() if kind.field == column.get_internal_type()]
    sample = kinds[0].sample if kinds else None
    return sample.format(n=1) if isinstance(sample, str) else sample


def _manager(model: type[Model]) -> str:
    """Where the rows of `model` are awaited: its own manager, or `db.objects` for a stock model."""
    return f"{model.__name__}.objects" if _is_awaited(model) else f"db.objects({model.__name__})"


def _is_awaited(model: Any) -> bool:
    return issubclass(model, models.Model)


def _imports(model: type[Model]) -> set[str]:
    lines = {f"from {model.__module__} import {model.__name__}"}
    if not _is_awaited(model):
        lines.add("from app import db")
    column: Any
    for column in model._meta.concrete_fields:
        is_needed = not (column.null or column.blank) and column.default is NOT_PROVIDED
        if column.related_model is not None and is_needed:
            lines |= _imports(column.related_model)
    return lines


def _listed(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def _quoted(value: Any) -> str:
    """As Python writes it, with the project's quotation marks."""
    return repr(value).replace("'", '"')


def _spaced(name: str) -> str:
    return name.replace("_", " ")
