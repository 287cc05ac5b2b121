"""What models said about items, what people asked and answered, and where each item stands in the order."""

from triage.models.alerts import Alert, Destination, Subscription, Telling
from triage.models.analyses import Analysis, Caption, Detection, ReadText, Seen, Tagged, Vector
from triage.models.near import Fingerprint, Near
from triage.models.order import (
    Column,
    Criteria,
    Example,
    ExampleVector,
    Known,
    Ordering,
    PictureLook,
    Ranking,
    SmallPicture,
    Standing,
)
from triage.models.questions import Answer, Question
from triage.models.sampling import Doubt, Draw, SecondLook, SecondReading, SecondShare
from triage.models.similar import Part, PartVector, Phrase, PhraseVector
from triage.models.unusual import CaseAnalysis
from triage.models.video import Shot, Track

__all__ = [
    "Alert",
    "Analysis",
    "Answer",
    "Caption",
    "CaseAnalysis",
    "Column",
    "Criteria",
    "Destination",
    "Detection",
    "Doubt",
    "Draw",
    "Example",
    "ExampleVector",
    "Fingerprint",
    "Known",
    "Near",
    "Ordering",
    "Part",
    "PartVector",
    "Phrase",
    "PhraseVector",
    "PictureLook",
    "Question",
    "Ranking",
    "ReadText",
    "SecondLook",
    "SecondReading",
    "SecondShare",
    "Seen",
    "SmallPicture",
    "Shot",
    "Standing",
    "Subscription",
    "Tagged",
    "Telling",
    "Track",
    "Vector",
]
