"""One table of rules: what is absent and what is not shared look alike, and nobody sees a case by their role alone."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from archive import access
from archive.custody import Actor
from archive.errors import BadInput, NotAllowed, NotFound
from archive.models import Case, CaseGrant, CustodyEvent, Item, User
from tests import cast

pytestmark = pytest.mark.django_db
ON_A_CASE = sorted(act for act, rule in access.RULES.items() if rule.permission)
ELSEWHERE = sorted(act for act, rule in access.RULES.items() if not rule.permission)


@pytest.mark.parametrize("role", access.ROLES)
def test_no_role_opens_a_case_that_was_not_shared(role):
    user, case = cast.person(role), cast.case()
    cast.item(case)
    assert not Case.objects.visible_to(user).exists() and not Item.objects.visible_to(user).exists()
    assert not any(access.can(user, act, case) for act in ON_A_CASE)
    assert not any(access.who_can(act, case).filter(pk=user.pk).exists() for act in ON_A_CASE)


@pytest.mark.parametrize("act", ON_A_CASE)
@pytest.mark.parametrize("role", access.ROLES)
def test_the_three_forms_of_a_rule_agree(role, act):
    user = cast.person(role)
    case, other = cast.case(), cast.case()
    cast.share(case, user, *access.GRANTABLE[1:])
    expected = role in access.RULES[act].roles
    assert access.can(user, act, case) is expected
    assert access.can(cast.signed_in(user), act, case) is expected
    assert access.who_can(act, case).filter(pk=user.pk).exists() is expected
    assert not access.can(user, act, other)
    assert list(Case.objects.visible_to(user)) == [case]


@pytest.mark.parametrize("act", ["export", "see_identity", "edit_case", "share"])
def test_what_has_a_permission_of_its_own_is_off_until_it_is_granted(act):
    user, case = cast.person(), cast.case()
    cast.share(case, user)
    assert access.can(user, "decide", case) and not access.can(user, act, case)
    cast.share(case, user, access.RULES[act].permission)
    assert access.can(user, act, case)


@pytest.mark.parametrize("act", ELSEWHERE)
@pytest.mark.parametrize("role", access.ROLES)
def test_acts_on_no_case_go_by_role(role, act):
    user = cast.person(role)
    assert access.can(user, act) is (role in access.RULES[act].roles)
    assert access.who_can(act).filter(pk=user.pk).exists() is (role in access.RULES[act].roles)


def test_an_observer_looks_and_changes_nothing():
    user = cast.person("observer")
    case = cast.case(user)
    assert {act for act in ON_A_CASE if access.can(user, act, case)} == {"view", "view_original"}


@pytest.mark.parametrize("who", ["nobody", "stranger", "closed account", "no role", "worker"])
def test_who_is_nobody_here_can_do_nothing(who):
    user, case = cast.person("administrator"), cast.case()
    cast.share(case, user, *access.GRANTABLE[1:])
    asks = {
        "nobody": lambda: None,
        "stranger": AnonymousUser,
        "closed account": lambda: closed(user),
        "no role": lambda: shared(case, cast.person("")),
        "worker": lambda: Actor.system("worker"),
    }[who]()
    assert not any(access.can(asks, act, case) for act in ON_A_CASE)
    if isinstance(asks, User | AnonymousUser):
        visible = Case.objects.visible_to(asks).exists()
        assert visible is (who == "no role"), (
            "a grant without a role shows the case in no list that acts on it"
        )


def closed(user: User) -> User:
    user.is_active = False
    return user


def shared(case: Case, user: User) -> User:
    cast.share(case, user)
    return user


def test_a_superuser_is_nobody_special():
    user, case = cast.person("observer"), cast.case()
    user.is_superuser = True
    assert not access.can(user, "view", case) and not access.can(user, "manage_people")
    assert not Case.objects.visible_to(user).exists()


def test_a_guests_access_ends_by_itself():
    user, case = cast.person(), cast.case()
    end = timezone.now() + timedelta(hours=1)
    cast.share(case, user, access.EXPORT, ends_at=end)
    assert access.can(user, "export", case)
    pretend_later(end + timedelta(seconds=1), lambda: _sees_nothing(user, case))


def pretend_later(moment, check) -> None:
    from unittest import mock

    with mock.patch.object(timezone, "now", return_value=moment):
        check()


def _sees_nothing(user, case) -> None:
    assert not access.can(user, "view", case) and not access.can(user, "export", case)
    assert not Case.objects.visible_to(user).exists() and not Item.objects.visible_to(user).exists()
    assert not access.who_can("view", case).exists()


def test_sharing_sets_exactly_what_was_named_and_each_change_is_an_event():
    user, case = cast.person(), cast.case()
    held = lambda: set(CaseGrant.objects.filter(user=user).values_list("permission__codename", flat=True))  # noqa: E731
    cast.share(case, user, access.EXPORT, access.IDENTITY)
    assert held() == {access.VIEW, access.EXPORT, access.IDENTITY}
    cast.share(case, user)
    assert held() == {access.VIEW}
    access.share(case=case, person=user, actor=Actor.operator(), permissions=())
    assert held() == set()
    types = list(
        CustodyEvent.objects.filter(subject=case.custody_subject())
        .order_by("pk")
        .values_list("type", flat=True)
    )
    assert types == ["case.opened", *["case.shared"] * 3, *["case.unshared"] * 3]


def test_sharing_the_same_again_changes_nothing():
    user, case = cast.person(), cast.case()
    cast.share(case, user)
    before = CustodyEvent.objects.count()
    cast.share(case, user)
    assert CustodyEvent.objects.count() == before


def test_only_who_may_share_shares():
    owner, reader, third = cast.person(), cast.person(), cast.person()
    case = cast.case(reader, owner=owner)
    access.share(case=case, person=third, actor=cast.signed_in(owner))
    with pytest.raises(NotAllowed):
        access.share(
            case=case, person=third, actor=cast.signed_in(reader), permissions=(access.VIEW, access.EXPORT)
        )
    assert not access.can(third, "export", case)


@pytest.mark.parametrize(
    ("permissions", "ends", "words"),
    [
        (("delete_case",), None, "Unknown permission"),
        ((access.EXPORT,), None, "must also see"),
        ((access.VIEW,), timedelta(hours=-1), "past"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused_in_words(permissions, ends, words):
    user, case = cast.person(), cast.case()
    with pytest.raises(BadInput, match=words):
        access.share(
            case=case,
            person=user,
            actor=Actor.operator(),
            permissions=permissions,
            ends_at=ends and timezone.now() + ends,
        )
    assert not CaseGrant.objects.exists()


def test_forbidden_is_a_kind_of_absent():
    with pytest.raises(NotFound) as refused:
        access.require(cast.person(), "view", cast.case())
    assert refused.value.status == 404


def test_an_act_on_a_case_must_name_it():
    with pytest.raises(ValueError, match="name it"):
        access.can(cast.person(), "decide")
