"""Case, grant and source."""

import uuid

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
from guardian.models import UserObjectPermissionBase

from archive.models.base import Custodial
from archive.models.people import User

CODE = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z", _("Letters, digits, dot, dash and underscore; at most 40.")
)


class CaseQuerySet(models.QuerySet):
    """Questions about cases."""

    def visible_to(self, user: User) -> "CaseQuerySet":
        """Cases that were shared with this person and whose grant has not ended."""
        from archive import access

        return self.filter(pk__in=access.shared_case_ids(user))


class Case(Custodial):
    """An investigation: the unit of sharing."""

    class Status(models.TextChoices):
        OPEN = "open", _("open")
        SUSPENDED = "suspended", _("suspended")
        CLOSED = "closed", _("closed")

    class Sensitivity(models.TextChoices):
        ORDINARY = "ordinary", _("ordinary")
        SENSITIVE = "sensitive", _("sensitive")
        VERY_SENSITIVE = "very_sensitive", _("very sensitive")

    recorded = ("code", "status", "sensitivity", "retain_until", "is_demo", "created_at")
    private = ("title", "mandate", "retention")
    derived = ("id",)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    code = models.CharField(_("code"), max_length=40, unique=True, validators=[CODE])
    title = models.CharField(_("title"), max_length=200)
    mandate = models.TextField(_("mandate"), blank=True, max_length=4000)
    status = models.CharField(_("status"), max_length=12, choices=Status, default=Status.OPEN)
    sensitivity = models.CharField(
        _("sensitivity"), max_length=16, choices=Sensitivity, default=Sensitivity.SENSITIVE
    )
    retention = models.CharField(_("retention rule"), max_length=400, blank=True)
    retain_until = models.DateField(_("keep at least until"), null=True, blank=True)
    is_demo = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    objects = CaseQuerySet.as_manager()

    class Meta:
        ordering = ["code"]
        permissions = [
            ("export_case", "Can export from this case"),
            ("see_identity", "Can see the identity of this case's sources"),
            ("manage_case", "Can share and change this case"),
        ]

    def __str__(self) -> str:
        return self.code

    def custody_subject(self) -> str:
        return f"case:{self.pk}"


class CaseCounter(models.Model):
    """The next free item number of a case."""

    case = models.OneToOneField(Case, on_delete=models.PROTECT, primary_key=True)
    next_item = models.PositiveIntegerField(default=1)


class CaseGrant(UserObjectPermissionBase, Custodial):
    """One permission of one person on one case (guardian's direct foreign-key form), with an optional end."""

    recorded = ("user", "permission", "content_object", "ends_at", "granted_at")
    derived = ("id",)

    content_object = models.ForeignKey(Case, on_delete=models.PROTECT)
    ends_at = models.DateTimeField(_("ends"), null=True, blank=True)
    granted_at = models.DateTimeField()

    class Meta(UserObjectPermissionBase.Meta):
        indexes = [models.Index(fields=["user", "permission", "content_object"], name="grant_by_user")]

    def custody_subject(self) -> str:
        return f"case:{self.content_object_id}"


class Source(Custodial):
    """Who or where material came from: a pseudonym; the identity is sealed with a key of its own."""

    class Kind(models.TextChoices):
        WITNESS = "witness", _("witness")
        SURVIVOR = "survivor", _("survivor")
        COLLECTOR = "collector", _("collector")
        PARTNER = "partner", _("partner organisation")
        ONLINE = "online", _("online account or site")
        DEVICE = "device", _("device or card")
        UNKNOWN = "unknown", _("unknown")

    class Answer(models.TextChoices):
        YES = "yes", _("yes")
        NO = "no", _("no")
        UNKNOWN = "unknown", _("unknown")

    recorded = (
        "case",
        "code",
        "kind",
        "reliability",
        "consent_informed",
        "consent_date",
        "consent_ends",
        "may_be_public",
        "may_go_to_courts",
        "identity_version",
        "identity_destroyed_at",
        "created_at",
    )
    private = ("pseudonym", "consent_scope", "legal_basis")
    derived = ("id", "identity_key", "identity_sealed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="sources")
    code = models.CharField(_("code"), max_length=40, validators=[CODE])
    pseudonym = models.CharField(_("pseudonym"), max_length=200, blank=True)
    kind = models.CharField(_("kind"), max_length=12, choices=Kind, default=Kind.UNKNOWN)
    reliability = models.PositiveSmallIntegerField(
        _("reliability, 0 to 100"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
    )
    consent_informed = models.CharField(
        _("informed consent"), max_length=8, choices=Answer, default=Answer.UNKNOWN
    )
    consent_scope = models.TextField(_("what the consent covers"), blank=True, max_length=4000)
    consent_date = models.DateField(_("given on"), null=True, blank=True)
    consent_ends = models.DateField(_("ends on"), null=True, blank=True)
    may_be_public = models.CharField(
        _("may be shown in public"), max_length=8, choices=Answer, default=Answer.UNKNOWN
    )
    may_go_to_courts = models.CharField(
        _("may be handed to courts"), max_length=8, choices=Answer, default=Answer.UNKNOWN
    )
    legal_basis = models.CharField(_("legal basis"), max_length=400, blank=True)
    identity_key = models.BinaryField(null=True, editable=False)
    identity_sealed = models.BinaryField(null=True, editable=False)
    identity_version = models.PositiveIntegerField(default=0, editable=False)
    identity_destroyed_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["code"]
        constraints = [models.UniqueConstraint(fields=["case", "code"], name="source_code_once_per_case")]

    def __str__(self) -> str:
        return self.code

    def custody_subject(self) -> str:
        return f"source:{self.pk}"
