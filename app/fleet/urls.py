"""The domain's addresses: `router` and `urlpatterns` are mounted by `app.urls` under /api/v1/."""

from django.urls import path

from app.fleet.ingest import UsageViewSet
from app.fleet.placement_views import RepackView, SimulateView
from app.fleet.policy_views import PolicyViewSet
from app.fleet.quotas import QuotaViewSet
from app.fleet.reports import DensityReportView
from app.fleet.rightsizing_report import RightsizingReportView
from app.fleet.views import (
    ContainerViewSet,
    EventViewSet,
    HostViewSet,
    ImageViewSet,
    RevisionViewSet,
    WorkloadViewSet,
)
from app.rest.routers import DefaultRouter

router = DefaultRouter()
router.register("hosts", HostViewSet, basename="host")
router.register("images", ImageViewSet, basename="image")
router.register("workloads", WorkloadViewSet, basename="workload")
router.register("quotas", QuotaViewSet, basename="quota")
router.register("policies", PolicyViewSet, basename="policy")
router.register("revisions", RevisionViewSet, basename="revision")
router.register("containers", ContainerViewSet, basename="container")
router.register("usage", UsageViewSet, basename="usage")
router.register("events", EventViewSet, basename="event")

LIST = {"get": "list"}

urlpatterns = [
    path("hosts/<int:host_id>/containers/", ContainerViewSet.as_view(LIST), name="host-containers"),
    path(
        "workloads/<int:workload_id>/containers/",
        ContainerViewSet.as_view(LIST),
        name="workload-containers",
    ),
    path(
        "workloads/<int:workload_id>/revisions/",
        RevisionViewSet.as_view(LIST),
        name="workload-revisions",
    ),
    path(
        "containers/<int:container_id>/usage/", UsageViewSet.as_view(LIST), name="container-usage"
    ),
    path("placements/simulate/", SimulateView.as_view(), name="placement-simulate"),
    path("placements/repack/", RepackView.as_view(), name="placement-repack"),
    path("reports/density/", DensityReportView.as_view(), name="density-report"),
    path("reports/rightsizing/", RightsizingReportView.as_view(), name="rightsizing-report"),
]
