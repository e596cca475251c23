"""The writes of the domain: keyword-only coroutines, each one transaction, each with its events."""

from app.fleet.services.hosts import delete_host, register_host, update_host
from app.fleet.services.labels import LabelChange, label_hosts, label_workloads
from app.fleet.services.observation import Observed, observe_host
from app.fleet.services.policies import create_policy, delete_policy, update_policy
from app.fleet.services.quotas import create_quota, delete_quota, update_quota
from app.fleet.services.usage import (
    Recorded,
    Sample,
    UnknownContainersError,
    record_usage,
)
from app.fleet.services.workloads import (
    create_workload,
    delete_workload,
    roll_back_workload,
    update_workload,
)

__all__ = [
    "LabelChange",
    "Observed",
    "Recorded",
    "Sample",
    "UnknownContainersError",
    "create_policy",
    "create_quota",
    "create_workload",
    "delete_host",
    "delete_policy",
    "delete_quota",
    "delete_workload",
    "label_hosts",
    "label_workloads",
    "observe_host",
    "record_usage",
    "register_host",
    "roll_back_workload",
    "update_host",
    "update_policy",
    "update_quota",
    "update_workload",
]
