"""What a format is told about the bundle, beside what lies in its data folder."""

from dataclasses import dataclass

ITEMS_PER_REPORT = 100


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

    @property
    def reports(self) -> tuple[str, ...]:
        """Paths of the report's files below data/: one, or as many as it takes with ITEMS_PER_REPORT in each."""
        parts = -(-self.items // ITEMS_PER_REPORT)
        return ("report.pdf",) if parts == 1 else tuple(f"report-{n:03d}.pdf" for n in range(1, parts + 1))

    @property
    def pdfs(self) -> tuple[str, ...]:
        """Paths of all PDF files: the report and the two statements."""
        return (*self.reports, "certification.pdf", "custody-statement.pdf")
