"""What schemathesis is told beside the schema (SCHEMATHESIS_HOOKS)."""

from typing import Any

import schemathesis


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    """A dry run deletes nothing, so what it names is still there, which schemathesis would call a
    fault. Its coverage phase sends `dry_run` with DELETE all the same.
    """
    operation = getattr(context, "operation", None)
    if operation is not None and operation.method.upper() == "DELETE" and query:
        query.pop("dry_run", None)
    return query
