"""A pytest plugin, loaded before any settings are read: every test runs on a real PostgreSQL.

The one that DATABASE_URL names, or the embedded one, kept under var/test/ so that the next run is
quick.
"""

import os
from pathlib import Path

from app.ops import embedded

VAR = Path(__file__).resolve().parent.parent / "var"

if "DATABASE_URL" not in os.environ:
    os.environ["DATABASE_URL"] = embedded.start(VAR / "test" / "postgres")
