"""A checkpoint on one page: hash, words and code say the same."""

import hashlib
import io

import pytest
from django.core.management import CommandError, call_command
from mnemonic import Mnemonic
from pypdf import PdfReader

from archive import paper
from archive.custody import Actor
from archive.custody.keychain import keys_in_force
from archive.custody.log import recording
from archive.custody.notes import parse_note
from archive.custody.publish import publish
from archive.models import Cosignature
from tests import cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.slow
def test_the_page_holds_what_a_stranger_needs(tmp_path, capsys):
    cast.case()
    row = publish(actor=Actor.operator())
    with recording():
        for i in range(12):  # as many as are named
            Cosignature.objects.create(
                checkpoint=row,
                witness=f"a-witness-{i}.example.org/w1+0123abcd",
                line="",
                stated_at=row.signed_at,
            )
    call_command("custody", "paper", str(tmp_path / "safe.pdf"))
    reader = PdfReader(io.BytesIO((tmp_path / "safe.pdf").read_bytes()))
    assert len(reader.pages) == 1
    text = reader.pages[0].extract_text()
    flat = "".join(text.split())
    digest = hashlib.sha256(row.note.encode())
    assert digest.hexdigest() in flat and row.root in flat
    assert "".join(row.note.split()) in flat
    said = paper.words(digest.digest())
    assert len(said) == 24 and Mnemonic("english").check(" ".join(said)) and all(w in text for w in said)
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("custody", "paper", str(tmp_path / "safe.pdf"))  # nothing is overwritten


def test_what_the_code_holds_is_a_signed_checkpoint():
    cast.case()
    row = publish(actor=Actor.operator())
    short = parse_note(paper.short_note(row.note))
    assert len(paper.short_note(row.note)) < 400 and (short.size, short.root.hex()) == (row.size, row.root)
    keys_in_force().at(row.size)[0].verify(short)


def test_without_a_checkpoint_it_says_what_to_do(tmp_path):
    with pytest.raises(CommandError, match="custody checkpoint"):
        call_command("custody", "paper", str(tmp_path / "safe.pdf"))
