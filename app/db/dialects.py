"""Django's PostgreSQL backend, as far as compiling needs it, without psycopg: 8 MiB of a worker.

Django's modules import psycopg where they are defined, and use it where they connect, which
`app.db` never does with them. So they are imported here a second time, as copies of its own, with
stand-ins in psycopg's place. Who asks for Django's own backend (`postgresql/base.py`) gets it as
ever, and psycopg with it.

What values are wrapped in on their way to the server is defined here (`Jsonb`, `Binary`) or comes
from the one file of psycopg's that needs no other (`Int2` to `Oid`).
"""

import importlib
import importlib.util
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

BACKEND = "django.db.backends.postgresql"
DRIVER = "psycopg"
WRAPPERS = f"{DRIVER}._wrappers"


class Jsonb:
    """A value to be sent as jsonb."""

    __slots__ = ("dumps", "obj")

    def __init__(self, obj: Any, dumps: Any = None) -> None:
        self.obj = obj
        self.dumps = dumps


class Binary:
    """Bytes to be sent as bytea."""

    __slots__ = ("obj",)

    def __init__(self, obj: Any) -> None:
        self.obj = obj


class StandIn(ModuleType):
    """A module of psycopg's with the few names that Django's modules use while they are imported.
    Any other is the real one's, which is imported then.
    """

    def __init__(self, name: str, **names: Any) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        vars(self).update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def _load_wrappers() -> Any:
    """psycopg's wrappers of numbers, without the rest of it. Its other modules find them here."""
    if WRAPPERS not in sys.modules:
        package = importlib.util.find_spec(DRIVER)
        assert package is not None
        assert package.origin is not None
        spec = importlib.util.spec_from_file_location(
            WRAPPERS, Path(package.origin).with_name("_wrappers.py")
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[WRAPPERS] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[WRAPPERS])
    return sys.modules[WRAPPERS]


numeric = _load_wrappers()


def _bases(*names: str) -> dict[str, type]:
    """Classes to inherit from, for classes that nobody makes instances of."""
    return {name: type(name, (), {}) for name in names}


def _stand_ins() -> dict[str, ModuleType]:
    types: Any = defaultdict(lambda: SimpleNamespace(oid=0))  # asked for OIDs of time stamps
    mixin = StandIn(f"{DRIVER}.client_cursor", **_bases("ClientCursorMixin"))
    modules = [
        StandIn(
            DRIVER,
            __version__="3.2",  # of what Django asks whether it is new enough
            sql=StandIn(f"{DRIVER}.sql"),
            errors=StandIn(f"{DRIVER}.errors"),
            adapt=StandIn(f"{DRIVER}.adapt"),
            adapters=SimpleNamespace(types=types),
            client_cursor=mixin,
            Binary=Binary,
            **_bases("ClientCursor", "Cursor", "IsolationLevel", "ServerCursor"),
        ),
        StandIn(f"{DRIVER}.pq", **_bases("Format")),
        StandIn(f"{DRIVER}.postgres", types=types),
        StandIn(f"{DRIVER}.types", numeric=numeric),
        StandIn(f"{DRIVER}.types.datetime", **_bases("TimestamptzLoader")),
        StandIn(f"{DRIVER}.types.json", Jsonb=Jsonb),
        StandIn(f"{DRIVER}.types.range", **_bases("Range", "RangeDumper")),
        StandIn(f"{DRIVER}.types.string", **_bases("TextLoader")),
    ]
    return {module.__name__: module for module in modules}


@contextmanager
def _set_aside(*packages: str) -> Iterator[None]:
    """The modules of these packages are not there inside; those made inside are gone afterwards."""

    def taken() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.startswith(packages) and name != WRAPPERS]
        return {name: sys.modules.pop(name) for name in names}

    before = taken()
    try:
        yield
    finally:
        taken()
        sys.modules.update(before)


def _copies(*names: str) -> list[Any]:
    """Modules of Django's backend that know the stand-ins."""
    package = importlib.import_module(BACKEND)
    compiler = importlib.import_module(f"{BACKEND}.compiler")  # needs no psycopg: there is one
    attributes = dict(vars(package))
    with _set_aside(f"{BACKEND}.", DRIVER):
        sys.modules |= _stand_ins() | {compiler.__name__: compiler}
        made = [importlib.import_module(f"{BACKEND}.{name}") for name in names]
    vars(package).clear()  # or `from package import module` would find the copies
    vars(package).update(attributes)
    return made


if TYPE_CHECKING:
    from django.db.backends.postgresql import base, features, operations
else:
    base, features, operations = _copies("base", "features", "operations")

__all__ = ["Binary", "Jsonb", "base", "features", "numeric", "operations"]
