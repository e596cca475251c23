from app.rest import serializers
from load.bench.stowage.models import Host, Sample, Team


class TeamSerializer(serializers.ModelSerializer):
    class Meta:
        model = Team
        fields = ["id", "name"]


class HostSerializer(serializers.ModelSerializer):
    team = TeamSerializer(read_only=True)
    team_id = serializers.PrimaryKeyRelatedField(
        source="team", queryset=Team.objects.all(), write_only=True
    )
    labels = serializers.DictField(child=serializers.CharField(max_length=100), default=dict)

    class Meta:
        model = Host
        fields = [
            *("id", "name", "cpus", "memory_bytes", "team", "team_id"),
            *("version", "labels", "created_at"),
        ]
        read_only_fields = ["version"]
        extra_kwargs = {"cpus": {"min_value": 0}, "memory_bytes": {"min_value": 0}}


class SampleSerializer(serializers.ModelSerializer):
    class Meta:
        model = Sample
        fields = ["id", "host", "at", "cpu", "memory_bytes"]
        extra_kwargs = {"cpu": {"min_value": 0}, "memory_bytes": {"min_value": 0}}
