"""What a bundle says, once more in the forms that other programs read. docs/bundle.md, "Interchange formats".

A format is a function from what already lies in the bundle's data folder (`evidence.formats.held`) to further files
there. It asks no database, no clock and no source of randomness: it cannot say what the bundle does not, and the same
bundle gives the same bytes. Adding one: a file here, and a line in FORMATS.
"""

from collections.abc import Callable
from pathlib import Path

from evidence.formats import case_uco, loadfile, premis, profile, rocrate, statements
from evidence.formats.facts import BundleFacts
from evidence.formats.held import INTERCHANGE

__all__ = ["BundleFacts", "bag_info", "tags", "write_all"]

Format = Callable[[Path, BundleFacts], None]

# RO-Crate is last: it names the files of the others.
FORMATS: tuple[Format, ...] = (case_uco.write, premis.write, loadfile.write, statements.write, rocrate.write)


def write_all(data: Path, about: BundleFacts) -> None:
    """Write every format into the bundle's data folder, where data/metadata and data/custody are complete.

    Originals, redactions and single proofs need not be there, nor the PDF files, which `about.pdfs` names.
    """
    (data / INTERCHANGE).mkdir()
    for write in FORMATS:
        write(data, about)


def tags() -> dict[str, bytes]:
    """Tag files at the bag's root, by name: for `bag.bag`."""
    return {profile.NAME: profile.text()}


def bag_info() -> dict[str, str]:
    """Lines that go into bag-info.txt."""
    return {"BagIt-Profile-Identifier": profile.IDENTIFIER}
