"""People who sign in. Roles are groups; what a role may do is in archive/access.py."""

import uuid

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models.base import Custodial


class UserManager(BaseUserManager):
    """Finds people; adding one is `people.add`, which records it."""

    def get_by_natural_key(self, username: str) -> "User":
        """Sign-in names are compared without regard to case."""
        return self.get(username__iexact=username)


class User(AbstractBaseUser, PermissionsMixin, Custodial):
    """A person with a sign-in. Never deleted: history names them by id."""

    recorded = ("is_active",)
    private = ("username", "name")
    derived = (
        "id",
        "password",
        "last_login",
        "is_superuser",
        "language",
        "must_change_password",
        "created_at",
    )

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = models.CharField(_("sign-in name"), max_length=80, unique=True)
    name = models.CharField(_("name"), max_length=200)
    language = models.CharField(max_length=8, blank=True)
    is_active = models.BooleanField(default=True)
    must_change_password = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = UserManager()
    USERNAME_FIELD = "username"
    REQUIRED_FIELDS = ["name"]

    def __str__(self) -> str:
        return self.name

    def custody_subject(self) -> str:
        return "system:main"

    def roles(self) -> frozenset[str]:
        """Names of the groups that this person is in, read once per instance."""
        if not hasattr(self, "_roles"):
            self._roles = frozenset(self.groups.values_list("name", flat=True))
        return self._roles

    def role_names(self) -> str:
        """The roles as one word for an event."""
        return "+".join(sorted(self.roles())) or "none"

    def get_full_name(self) -> str:
        return self.name


class SignInLink(models.Model):
    """A link that signs one person in once. Only its hash is kept."""

    token_hash = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
