"""Step 2, the stored tips of chains: each is its subject's last event, and as many events stand before it as it says."""

from typing import Any

from archive.custody.verify.reader import Reader
from archive.custody.verify.report import Found


def check_tips(reader: Reader, name: str = "") -> dict[str, Any]:
    """Compare the tips of all subjects, or of one, with the columns of their events, which step 1 compares with the events.

    Events are counted by their index alone; only each subject's last one is read.
    """
    found = Found()
    only, values = (" WHERE subject = %s", [name]) if name else ("", [])
    chains = (
        f"SELECT subject, COUNT(*) AS n, MAX(number) AS top FROM archive_custodyevent{only} GROUP BY subject"
    )
    own, among = (" WHERE name = %s", " AND s.name = %s") if name else ("", "")
    differ = reader.rows(
        "SELECT s.name, s.length, COALESCE(c.n, 0), COALESCE(c.top, 0) FROM archive_custodysubject s "
        f"LEFT JOIN ({chains}) c ON c.subject = s.name "
        "WHERE (COALESCE(c.n, 0) <> s.length OR COALESCE(c.top, 0) <> s.length OR COALESCE((SELECT e.hash "
        f"FROM archive_custodyevent e WHERE e.subject = s.name AND e.number = s.length), '') <> s.tip){among}",
        values * 2,
    )
    for subject, length, count, top in differ:
        if not type(length) is type(top) is int:  # as SQLite lets them be
            found.add("altered tip", subject, "its length, or the number of an event of it, is no number")
        elif top < length or (count < length and top == length):
            found.add("missing event", subject, f"its chain has {count} events; {length} were recorded")
        elif not (length == count == top == 0):
            found.add("altered tip", subject, "the stored tip of its chain is not its last event")
    subjects, told = reader.rows(
        f"SELECT COUNT(*), COALESCE(SUM(length), 0) FROM archive_custodysubject{own}", values
    )[0]
    found.figures["subjects"] = subjects - sum(count == 0 for _, _, count, _ in differ)
    # Where each chain is as long as is told, and together they have all events, none is left over.
    if not differ and told == reader.one(f"SELECT COUNT(*) FROM archive_custodyevent{only}", values):
        return found.told()
    for (subject,) in reader.rows(
        f"SELECT c.subject FROM ({chains}) c LEFT JOIN archive_custodysubject s ON s.name = c.subject WHERE s.id IS NULL",
        values,
    ):
        found.figures["subjects"] += 1
        found.add("missing subject", subject, "its chain has events but no stored tip")
    return found.told()
