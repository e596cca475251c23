"""Models of every kind of relation and of every field, for the conformance tables."""

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.contrib.postgres import fields as postgres

from app.db import models


class Stamped(models.Model):
    made_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class Author(models.Model):
    name = models.CharField(max_length=60)
    age = models.IntegerField(null=True)
    email = models.EmailField(blank=True)
    rating = models.FloatField(default=0)
    joined = models.DateField(null=True)
    active = models.BooleanField(default=True)
    mentor = models.ForeignKey("self", models.SET_NULL, null=True, related_name="pupils")
    awarded = models.ManyToManyField(  # type: ignore[var-annotated]
        "Book", through="Award", related_name="winners"
    )


class ActiveManager(models.Manager["ActiveAuthor"]):
    def get_queryset(self) -> "models.QuerySet[ActiveAuthor]":
        return super().get_queryset().filter(active=True)


class ActiveAuthor(Author):
    objects = ActiveManager()  # type: ignore[assignment,misc]

    class Meta:
        proxy = True


class Publisher(Stamped):
    name = models.CharField(max_length=60, unique=True)
    country = models.CharField(max_length=2)


class Book(Stamped):
    title = models.CharField(max_length=100)
    publisher = models.ForeignKey(Publisher, models.CASCADE, related_name="books")
    authors = models.ManyToManyField(Author, related_name="books")
    price = models.DecimalField(max_digits=8, decimal_places=2)
    pages = models.PositiveIntegerField()
    published = models.DateField()
    tags = postgres.ArrayField(models.CharField(max_length=20), default=list)
    details = models.JSONField(default=dict)
    sequel = models.OneToOneField("self", models.SET_NULL, null=True, related_name="prequel")
    marks = GenericRelation("Mark")

    class Meta:
        constraints = (models.UniqueConstraint("title", "publisher", name="conformance_title"),)


class Award(models.Model):
    author = models.ForeignKey(Author, models.CASCADE)
    book = models.ForeignKey(Book, models.PROTECT)
    year = models.SmallIntegerField()


class Profile(models.Model):
    author = models.OneToOneField(Author, models.CASCADE, primary_key=True)
    site = models.URLField(null=True)


class Place(models.Model):
    name = models.CharField(max_length=50)
    city = models.CharField(max_length=50)


class Restaurant(Place):
    stars = models.IntegerField(default=0)
    owner = models.ForeignKey(Author, models.RESTRICT, null=True)


class Bistro(Restaurant):
    terrace = models.BooleanField(default=False)


class Mark(models.Model):
    text = models.CharField(max_length=20)
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.BigIntegerField()
    subject = GenericForeignKey()


class Reading(models.Model):
    pk = models.CompositePrimaryKey("sensor_id", "hour")
    sensor = models.ForeignKey(Place, models.CASCADE)
    hour = models.IntegerField()
    value = models.FloatField(null=True)


class Happening(models.Model):
    name = models.CharField(max_length=30)
    starts_at = models.DateTimeField()
    lasts = models.DurationField(null=True)
    daily_at = models.TimeField(null=True)
    day = models.DateField(null=True)
    period = postgres.DateTimeRangeField(null=True)
    seats = postgres.IntegerRangeField(null=True)
    prices = postgres.DecimalRangeField(null=True)


class Specimen(models.Model):
    """One nullable column of every type."""

    auto = models.BigAutoField(primary_key=True)
    big_integer = models.BigIntegerField(null=True)
    binary = models.BinaryField(null=True)
    boolean = models.BooleanField(null=True)
    char = models.CharField(max_length=200, null=True)
    date = models.DateField(null=True)
    datetime = models.DateTimeField(null=True)
    decimal = models.DecimalField(max_digits=1000, decimal_places=20, null=True)
    duration = models.DurationField(null=True)
    email = models.EmailField(null=True)
    file = models.FileField(null=True)
    file_path = models.FilePathField(null=True)
    float = models.FloatField(null=True)
    integer = models.IntegerField(null=True)
    ip = models.GenericIPAddressField(null=True)
    json = models.JSONField(null=True)
    positive_big = models.PositiveBigIntegerField(null=True)
    positive = models.PositiveIntegerField(null=True)
    positive_small = models.PositiveSmallIntegerField(null=True)
    slug = models.SlugField(null=True)
    small = models.SmallIntegerField(null=True)
    text = models.TextField(null=True)
    time = models.TimeField(null=True)
    url = models.URLField(null=True)
    uuid = models.UUIDField(null=True)
    integers = postgres.ArrayField(models.IntegerField(null=True), null=True)
    texts = postgres.ArrayField(models.TextField(), null=True)
    matrix = postgres.ArrayField(postgres.ArrayField(models.BigIntegerField()), null=True)
    uuids = postgres.ArrayField(models.UUIDField(), null=True)
    jsons = postgres.ArrayField(models.JSONField(), null=True)
    datetimes = postgres.ArrayField(models.DateTimeField(), null=True)
    decimals = postgres.ArrayField(models.DecimalField(max_digits=20, decimal_places=4), null=True)
    integer_range = postgres.IntegerRangeField(null=True)
    big_range = postgres.BigIntegerRangeField(null=True)
    decimal_range = postgres.DecimalRangeField(null=True)
    date_range = postgres.DateRangeField(null=True)
    datetime_range = postgres.DateTimeRangeField(null=True)


class Berth(models.Model):
    """Every rule of uniqueness that Django has, and options that serializers read."""

    quay = models.CharField("the quay", max_length=10, help_text="Its name.")
    number = models.IntegerField(default=1, db_index=True)
    kind = models.CharField(max_length=4, choices=[("ro", "Ro-ro"), ("co", "Container")])
    vessel = models.CharField(max_length=20, blank=True)
    taken = models.BooleanField(default=False)
    day = models.DateField()
    pilot = models.SlugField(unique_for_date="day", unique_for_month="day", null=True)
    mark = models.UUIDField(null=True, unique=True, editable=False)
    depth = models.DecimalField(max_digits=5, decimal_places=2, null=True)
    owner = models.ForeignKey(Author, models.CASCADE, null=True, blank=True, related_name="+")

    class Meta:
        unique_together = (("quay", "number"),)
        constraints = (
            models.UniqueConstraint(
                fields=["vessel"], condition=models.Q(taken=True), name="conformance_vessel"
            ),
            models.UniqueConstraint(
                fields=["quay", "depth"],
                condition=models.Q(depth__gt=5, taken=True),
                name="conformance_depth",
                violation_error_message="That deep a place is taken there.",
            ),
            models.UniqueConstraint("kind", "owner", name="conformance_expressions"),
        )


class Picture(models.Model):
    """An image whose size is kept in columns of its own."""

    photo = models.ImageField(width_field="width", height_field="height")
    width = models.IntegerField(null=True, editable=False)
    height = models.IntegerField(null=True, editable=False)
