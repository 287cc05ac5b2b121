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
        (volume_number,) = bundle.entries.filter(item=item).values_list("volume", flat=True)
        volumes = BundleVolume.objects.filter(bundle=bundle, number=volume_number).exclude(blob=None)
        for volume in volumes.select_for_update():
            named.append(volume.blob_id)
            custody.change(
                volume,
                event="bundle.destroyed",
                actor=actor,
                also={"because_of": f"item:{item.pk}", "sha256": volume.blob_id},
                blob=None,
            )
    return named
