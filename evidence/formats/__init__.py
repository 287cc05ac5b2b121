"""What a bundle says, once more in the forms that other programs read. docs/bundle.md, "Interchange formats".

A format is a function from what already lies in the bundle's data folder (`evidence.formats.held`) to further files
there. It asks no database, no clock and no source of randomness: it cannot say what the bundle does not, and the same
bundle gives the same bytes. Adding one: a file here, and a line in FORMATS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evidence.formats import profile


@dataclass(frozen=True)
class BundleFacts:
    """What a format needs to know beyond the files of data/metadata and data/custody."""

    bundle: str  # UUID of the bundle
    name: str  # of the bag's folder
    requested_at: str  # UTC with microseconds, as the log writes it; stands for "now" everywhere
    software: str  # name and version, with a space between
    log: str  # the log's origin, as checkpoints name it
    key: str  # fingerprint of the signing key
    disclosed: tuple[str, ...]  # groups of evidence.disclosure
    items: int  # entries of metadata/items.json
    volume: int = 1  # this bag among those of the bundle
    volumes: int = 1


Format = Callable[[Path, BundleFacts], None]

FORMATS: tuple[Format, ...] = ()


def write_all(data: Path, about: BundleFacts) -> None:
    """Write every format into the bundle's data folder, where data/metadata and data/custody are complete.

    Originals and the report need not be there; the files that `evidence.report.names` lists will be.
    """
    for write in FORMATS:
        write(data, about)


def tags() -> dict[str, bytes]:
    """Tag files at the bag's root, by name: for `bag.bag`."""
    return {profile.NAME: profile.text()}


def bag_info() -> dict[str, str]:
    """Lines that go into bag-info.txt."""
    return {"BagIt-Profile-Identifier": profile.IDENTIFIER}
