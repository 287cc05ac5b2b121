"""What must be true of an instance whatever was killed in it. Run inside the instance, by the launcher."""

from collections import Counter

from django.conf import settings
from django.utils import timezone

from archive import jobs, vault
from archive.custody.sequence import sequence
from archive.custody.verify import verify
from archive.models import Acquisition, Blob, CustodyEvent, Item, Job, Rendition, UploadPart


def recover(*names: str) -> dict:
    """What the next start does: tidy up, let the leases of the dead end, and run what waits of these kinds."""
    vault.empty_scratch()
    later = timezone.now() + 2 * jobs.LEASE
    for _ in range(8):
        jobs.sweep(later)
        Job.objects.filter(state=Job.State.QUEUED).update(run_after=timezone.now())
        if not sum(jobs.run_waiting(name) for name in names):
            break
    return facts()


def run(name: str) -> int:
    """Run the waiting jobs of one kind, as a worker would."""
    return jobs.run_waiting(name)


def facts() -> dict:
    """All that a test may want to compare; a sound instance has no `faults`."""
    sequence()
    faults = [f"{fault.kind}: {fault.place}: {fault.sentence}" for fault in verify().faults]
    for sha256, size in Blob.objects.expected().values_list("sha256", "size"):
        vault.check(sha256)
        with vault.open(sha256) as reader:
            if reader.size != size:
                faults.append(f"blob {sha256} has {reader.size} bytes, its row says {size}")
    faults += [
        f"in scratch: {path.name}" for path in settings.SCRATCH_DIR.iterdir() if path.name != "ultralytics"
    ]
    faults += [f"half-written in the vault: {path.name}" for path in (settings.VAULT_DIR / "temp").iterdir()]
    faults += [
        f"{count} events {kind} of {subject}"
        for (kind, subject), count in Counter(
            CustodyEvent.objects.filter(
                type__in=["item.hashed", "item.stored", "item.read_back", "item.examined"]
            ).values_list("type", "subject")
        ).items()
        if count > 1
    ]
    doubled = Counter(Rendition.objects.values_list("item_id", "kind"))
    faults += [f"{count} renditions {kind} of {item}" for (item, kind), count in doubled.items() if count > 1]
    return {
        "faults": faults,
        "items": Item.objects.count(),
        "stored": CustodyEvent.objects.filter(type="item.stored").count(),
        "acquisitions": Acquisition.objects.count(),
        "acquired": CustodyEvent.objects.filter(type="item.acquired").count(),
        "conditions": sorted(Item.objects.values_list("condition", flat=True)),
        "renditions": sorted(Rendition.objects.values_list("kind", flat=True)),
        "read_back": Item.objects.exclude(read_back_at=None).count(),
        "jobs": sorted(set(Job.objects.values_list("name", "state"))),
        "errors": sorted(set(Job.objects.exclude(error="").values_list("error", flat=True))),
        "parts": UploadPart.objects.count(),
        "analyses": _analyses(),
    }


def _analyses() -> dict[str, int]:
    from triage.models import Analysis

    count = Counter(Analysis.objects.values_list("item_id", "analyser", "recipe"))
    return {"all": sum(count.values()), "doubled": sum(1 for times in count.values() if times > 1)}
