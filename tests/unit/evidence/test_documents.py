"""docs/bundle.md and docs/verify.md say what the code does."""

import hashlib
import re
from pathlib import Path

from evidence.contents import COLUMNS
from evidence.disclosure import GROUPS
from tests.unit.evidence.test_verifier import verifier

DOCS = Path(__file__).parents[3] / "docs"
BUNDLE, VERIFY = (DOCS / "bundle.md").read_text(), (DOCS / "verify.md").read_text()


def test_every_step_of_the_verifier_is_described_under_its_number():
    titles = re.findall(r"^### (\d+)\. (.+)$", VERIFY, re.M)
    told = [verifier.WORDS[name][0].split(":")[0] for name in verifier.STEPS]
    assert titles == [(str(n), title) for n, title in enumerate(told, 1)]


def test_every_option_of_the_verifier_is_described():
    source = Path(verifier.__file__).read_text()
    options = set(re.findall(r'"(--[a-z-]+)"', source)) - {"--version"}
    assert len(options) >= 8
    for option in options:
        assert f"`{option}" in VERIFY, option


def test_hash_of_the_verifier_is_the_printed_one():
    digest = hashlib.sha256(Path(verifier.__file__).read_bytes()).hexdigest()
    assert digest in VERIFY, f"docs/verify.md must print {digest}"


def test_every_file_of_a_bundle_is_described():
    for name in verifier.REQUIRED:
        assert name.rsplit("/", 1)[-1] in BUNDLE, name


def test_every_group_of_values_is_described_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (given|withheld) \|$", BUNDLE, re.M))
    assert rows == {name: "given" if group.by_default else "withheld" for name, group in GROUPS.items()}


def test_every_field_is_named():
    for columns in COLUMNS.values():
        for column in columns:
            field = column.split("/")[-1]
            described = field in BUNDLE or field.startswith(
                ("consent", "may_be", "may_go", "legal", "reliab")
            )
            assert described, field
