"""Bytecode of libraries without what only people read, so that each worker holds less.

    python -m app.ops.bytecode DIRECTORY...                  every module below
    python -m app.ops.bytecode --imported-by asgi,app.urls   the libraries that these import

A docstring stays in memory for as long as its module, and no worker reads a library's. The code is
compiled without them; assertions stay, which `python -OO` would leave out as well. With
`PYTHONNODEBUGRANGES=1` tracebacks through libraries tell the line, and not the columns.

It is written where Python looks for it (`PYTHONPYCACHEPREFIX` moves that place), and Python won't
compare it with the source: it is for an image, whose files never change. Modules of Stowage and of
projects that start from it keep their docstrings: views' are in the OpenAPI document.
"""

import argparse
import ast
import importlib
import marshal
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.machinery import PathFinder
from importlib.util import MAGIC_NUMBER, cache_from_source, decode_source, source_hash
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
UNCHECKED_HASH = (0b01).to_bytes(4, "little")
"""Flags of PEP 552: a hash of the source, which is not looked at."""
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m app.ops.bytecode", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("directories", nargs="*", type=Path)
    parser.add_argument("--imported-by", default="", metavar="MODULE,...")
    options = parser.parse_args(arguments)
    for directory in options.directories:
        if not directory.is_dir():
            parser.error(f"{directory} is not a directory")
    sources = {path for directory in options.directories for path in directory.rglob("*.py")}
    sources.update(imported_by([name for name in options.imported_by.split(",") if name]))
    with ProcessPoolExecutor() as pool:
        written = sum(pool.map(write, sorted(sources), chunksize=64))
    print(f"{written} of {len(sources)} modules compiled without their docstrings.")
    return 0


def imported_by(names: list[str]) -> Iterator[Path]:
    """The sources of the libraries that are imported when the modules named are: packages whole,
    for modules of one may make docstrings out of each other's, as the standard library's email.
    """
    for name in names:
        importlib.import_module(name)
    libraries = {name.partition(".")[0] for name in sys.modules}
    for name in libraries:
        spec = PathFinder.find_spec(name)
        if not spec:  # part of the interpreter
            continue
        places = [Path(place) for place in spec.submodule_search_locations or ()]
        sources = [path for place in places for path in place.rglob("*.py")]
        if not places and spec.origin:
            sources = [Path(spec.origin)]
        yield from (path for path in sources if path.suffix == ".py" and not is_own(path))


def is_own(source: Path) -> bool:
    """Whether it is the project's: below its root, and no library that was installed there."""
    return source.is_relative_to(ROOT) and "site-packages" not in source.parts


def write(source: Path) -> bool:
    """Write a module's bytecode; whether there was anything to do. What can't be compiled (a
    template, code for another Python) is left as it is.
    """
    content = source.read_bytes()
    target = Path(cache_from_source(str(source)))
    head = MAGIC_NUMBER + UNCHECKED_HASH + source_hash(content)
    if target.exists() and target.read_bytes().startswith(head):
        return False
    try:
        code = compile(
            without_docstrings(decode_source(content)), str(source), "exec", dont_inherit=True
        )
    except (SyntaxError, UnicodeDecodeError):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(head + marshal.dumps(code))
    unfinished.replace(target)
    return True


def without_docstrings(text: str) -> ast.Module:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body.pop(0)
            if not node.body and not isinstance(node, ast.Module):
                node.body.append(ast.copy_location(ast.Pass(), docstring))
    return tree


if __name__ == "__main__":
    sys.exit(main())
