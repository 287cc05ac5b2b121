"""Words in pictures, by Tesseract inside the model process: signs, banners, captions, papers. Many are missed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from triage.analysers.base import Analyser, FrameBatch, Frames, Task, Text, register
from triage.runtimes.base import Runtime

if TYPE_CHECKING:
    import numpy

SPARSE = 11  # Tesseract's page segmentation mode: as much text as possible, in no particular order
LSTM = 1  # its engine: the neural one alone
WORD_LEVEL = "5"  # in its table of results
LEAST_PIXELS = 8  # a side below has no room for a letter
Word = tuple[str, float, tuple[int, int, int, int]]  # confidence of 100; left, top, right, bottom in pixels


@register
class TextTesseract(Analyser):
    """Lines of words that may stand in a picture, in the languages that are set."""

    name, version, task = "text-tesseract", 1, Task.TEXT
    takes = Frames(side=1600, most=40)
    weights = "tesseract-fast"
    # Shorter words are nearly all leaves, railings and folds taken for letters
    letters = 3

    @property
    def parameters(self) -> dict[str, str]:
        """With languages, in the order in which they are tried, and what is asked of the engine."""
        asked = {"languages": self.languages, "page_segmentation": str(SPARSE), "engine_mode": str(LSTM)}
        return {**super().parameters, **asked, "letters_at_least": str(self.letters)}

    @property
    def languages(self) -> str:
        """As Tesseract wants them named."""
        return "+".join(file.name.partition(".")[0] for file in self.model.files)

    def library(self, versions: Mapping[str, str]) -> str:
        """Tesseract, by its version."""
        return f"Tesseract {versions.get('tesseract', '')}".strip()

    def open(self, runtime: Runtime) -> None:
        """Load the networks of the languages."""
        import tesserocr

        self.cv2 = runtime.opencv()
        folder = runtime.copied(self.model)
        self.engine = tesserocr.PyTessBaseAPI(path=f"{folder}/", lang=self.languages, psm=SPARSE, oem=LSTM)

    def analyse(self, frames: FrameBatch) -> list[list[Text]]:
        """For each frame its lines. What of a line is no sure word is left out; the score is its least sure word's."""
        return [self._read(pixels) for pixels in frames.pixels]

    def _read(self, pixels: "numpy.ndarray[Any, Any]") -> list[Text]:
        height, width = pixels.shape[:2]
        if min(height, width) < LEAST_PIXELS:
            return []
        grey = self.cv2.cvtColor(pixels, self.cv2.COLOR_BGR2GRAY)
        self.engine.SetImageBytes(grey.tobytes(), width, height, 1, width)
        self.engine.Recognize()
        table = self.engine.GetTSVText(0)
        # Words of one picture would make the same words likelier in the next
        self.engine.ClearAdaptiveClassifier()
        least = 100 * float(self.thresholds["score"])
        lines: dict[tuple[str, ...], list[Word]] = {}
        for row in table.splitlines():
            level, *place, _, left, top, wide, high, confidence, word = row.split("\t")
            sure = level == WORD_LEVEL and float(confidence) >= least
            if sure and sum(map(str.isalnum, word)) >= self.letters:
                box = (int(left), int(top), int(left) + int(wide), int(top) + int(high))
                lines.setdefault(tuple(place), []).append((word, float(confidence), box))
        return [_line(words, width, height) for words in lines.values()]


def _line(words: list[Word], width: int, height: int) -> Text:
    """Words in reading order as one text, in the box around them."""
    said, scores, boxes = zip(*words, strict=True)
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    left, top = min(lefts), min(tops)
    box = (left / width, top / height, (max(rights) - left) / width, (max(bottoms) - top) / height)
    return Text(" ".join(said), min(scores) / 100, box)
