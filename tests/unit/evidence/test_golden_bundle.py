"""The golden bundle: made once by a finished version, never changed. Every later verifier and import still reads it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import bagit
import pytest

from evidence import bagcheck
from tests.unit.evidence.test_verifier import check

FOLDER = Path(__file__).parents[2] / "vectors" / "golden-bundle"
BUNDLE, KEY = FOLDER / "bundle.zip", (FOLDER / "fingerprint.txt").read_text().strip()
TRUSTED = ["--policy", str(FOLDER / "policy"), "--timestamp-ca", str(FOLDER / "authority.pem")]
for name in ("earlier", "later"):
    TRUSTED += ["--known", str(FOLDER / f"{name}-checkpoint.txt")]
    TRUSTED += ["--consistency", str(FOLDER / f"{name}-consistency.json")]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    with zipfile.ZipFile(BUNDLE) as packed:
        packed.extractall(folder)
    (top,) = folder.iterdir()
    return top


@pytest.mark.parametrize("language", ["en", "fr", "es", "ar"])
def test_every_step_is_good_with_all_that_can_be_trusted(language):
    status, said = check(BUNDLE, *TRUSTED, "--language", language, key=KEY)
    assert status == 0, said


def test_in_english_it_says_what_each_step_found():
    _, said = check(BUNDLE, *TRUSTED, key=KEY)
    assert said.count(": good\n") == 16
    for words in (
        "The quorum both is met by 3 cosignatures",
        "1 timestamps: 2026-11-21T",
        "2 originals and 0 redacted files",
        "3 decisions, each by a person",
    ):
        assert words in said, words
    assert said.count(" events begins with the log of ") == 2


def test_another_key_an_older_head_and_a_lost_witness_are_still_named(tmp_path):
    assert check(BUNDLE, key="ab" * 32)[0] == 1
    assert check(BUNDLE, *TRUSTED, "--received", "2027-06-01", key=KEY)[0] == 1
    harder = tmp_path / "policy"
    text = (FOLDER / "policy").read_text()
    other = "witness other w9.example+9b4a3c9f+BA"
    harder.write_text(text.replace("quorum both", f"{other}\nquorum other"))
    assert check(BUNDLE, "--policy", str(harder), key=KEY)[0] == 3  # that policy cannot be read


def test_the_verifier_that_lies_in_it_agrees_with_todays(unpacked):
    copy = unpacked / "verify_bundle.py"
    done = subprocess.run(
        [sys.executable, "-I", copy, BUNDLE, "--key", KEY, *TRUSTED], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_a_bag_for_us_and_for_others(unpacked):
    for path in (BUNDLE, unpacked):
        bag = bagcheck.open_bag(path)
        report = bagcheck.check(bag)
        bag.close()
        assert report.answer == "good" and not report.warnings, report.faults
    assert bagit.Bag(str(unpacked)).validate()
