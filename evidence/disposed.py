"""When an item is disposed of, the bundles that this archive still keeps with its bytes in them go too."""

from archive import custody
from archive.custody import Actor
from archive.disposal import holds_copies
from archive.errors import Conflict
from archive.models import Item
from evidence.models import Bundle, BundleVolume


@holds_copies
def let_go(item: Item, actor: Actor) -> list[str]:
    """Let go of each kept volume that holds the item; return what it named. Raises Conflict while one is being built.

    The bundle's history and its register of disclosures stay; it can be asked for again, without the item's bytes.
    """
    having = Bundle.objects.filter(entries__item=item, kept=Bundle.Kept.VAULT)
    if having.filter(state=Bundle.State.REQUESTED).exists():
        raise Conflict(f"A bundle with item {item.code} is being built: its disposal waits for that.")
    named = []
    for bundle in having:
        (number,) = bundle.entries.filter(item=item).values_list("volume", flat=True)
        there = BundleVolume.objects.filter(bundle=bundle, number=number, blob__destroyed_at=None)
        for sha256 in there.exclude(blob=None).values_list("blob_id", flat=True):
            named.append(sha256)
            custody.record(
                bundle,
                event="bundle.destroyed",
                actor=actor,
                payload={"volume": number, "sha256": sha256, "because_of": item.custody_subject()},
            )
    return named
