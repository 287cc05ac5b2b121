"""What models said about items, what people asked and answered, and where each item stands in the order."""

from triage.models.analyses import Analysis, Detection, Seen, Vector
from triage.models.order import Criteria, Standing
from triage.models.questions import Answer, Question

__all__ = ["Analysis", "Answer", "Criteria", "Detection", "Question", "Seen", "Standing", "Vector"]
