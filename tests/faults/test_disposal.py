"""Killed before any of its durable steps, a disposal destroys nothing too early and leaves nothing half told."""

import itertools

import pytest

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]
HERE, SOUND = "tests.faults.test_disposal", "tests.faults.sound"


@pytest.fixture(scope="module")
def with_photo(prepared, tmp_path_factory):
    """An instance that holds one photograph, examined, and a request for its disposal."""
    from tests import cast

    folder = tmp_path_factory.mktemp("disposal")
    (folder / "photo.jpg").write_bytes(cast.jpeg(96, 64, seed=7))
    home = prepared.fresh(folder / "home")
    assert home.manage("ingest", folder / "photo.jpg", "--case", "A1").status == 0
    assert home.call(SOUND, "run", "archive.examine").status == 0
    assert home.call(HERE, "ask").status == 0
    yield home
    home.drop()


def count(home, kind):
    return home.sql(f"SELECT count(*) FROM archive_custodyevent WHERE type = '{kind}'")[0][0]


def test_an_approval_that_was_killed_destroys_nothing_unless_it_was_committed(with_photo, tmp_path):
    for step in itertools.count(1):
        home = with_photo.fresh(tmp_path / f"home{step}")
        ended = home.call(HERE, "approve", kill_before=step)
        approved = count(home, "case.disposal_approved")
        assert home.call(HERE, "there").answer is True
        assert home.call(SOUND, "recover", "archive.dispose").answer["faults"] == []
        assert home.call(HERE, "there").answer is not bool(approved)
        home.drop()
        if not ended.killed:
            break
    assert approved == 1 and step > 1


def test_a_disposal_survives_a_kill_before_each_durable_step(with_photo, tmp_path):
    """After the next start the bytes are gone, and each event is there once; never an event without the deed."""
    approved = with_photo.fresh(tmp_path / "approved")
    assert approved.call(HERE, "approve").status == 0
    for step in itertools.count(1):
        home = approved.fresh(tmp_path / f"home{step}")
        ended = home.call(SOUND, "run", "archive.dispose", kill_before=step)
        if count(home, "item.disposed"):
            assert home.call(HERE, "there").answer is False
        assert home.call(SOUND, "recover", "archive.dispose").answer["faults"] == []
        assert home.call(HERE, "there").answer is False
        for kind in ("item.disposed", "case.disposal_done", "case.disposal_approved"):
            assert count(home, kind) == 1, kind
        assert count(home, "item.rendition_destroyed") == count(home, "item.rendition_made") > 0
        home.drop()
        if not ended.killed:
            break
    approved.drop()
    assert step > 5, "COMMITs and the vault's fsyncs were not all seen"


# --- inside the instance ----------------------------------------------------------------------------------------


def ask() -> None:
    """One person asks for the disposal of all that the case holds."""
    from archive import access, disposal
    from archive.models import Case
    from tests import cast

    case, asker, lawyer = (
        Case.objects.get(),
        cast.person("researcher"),
        cast.person("legal", username="lawyer"),
    )
    for person in (asker, lawyer):
        cast.share(case, person, access.MANAGE)
    disposal.request(case=case, actor=cast.signed_in(asker), reason="Consent ended", authority="Rule 4")


def approve() -> None:
    """The other person approves it."""
    from archive import disposal
    from archive.models import Disposal, User
    from tests import cast

    lawyer = cast.signed_in(User.objects.get(username="lawyer"))
    disposal.approve(disposal=Disposal.objects.get(), actor=lawyer)


def there() -> bool:
    """Whether the vault has the original, or anything at all."""
    from archive import vault

    return next(vault.names(), None) is not None
