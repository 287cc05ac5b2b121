"""People and faces by what comes inside OpenCV: works with no weights at all, and finds less than a trained model."""

import math
from collections.abc import Mapping

from triage.analysers.base import Analyser, Detection, FrameBatch, Frames, Task, register
from triage.runtimes.base import Runtime


@register
class PeopleHog(Analyser):
    """People standing or walking, by OpenCV's histogram-of-gradients detector."""

    name, version, task = "opencv-people", 1, Task.DETECT
    takes = Frames(side=800)
    built_in = "OpenCV HOG people detector"
    licence = "Apache-2.0"
    classes = ("person",)
    thresholds = {"score": "0.60", "overlap": "0.40"}

    def library(self, versions: Mapping[str, str]) -> str:
        """OpenCV, by its version."""
        return f"OpenCV {versions.get('opencv', '')}".strip()

    def open(self, runtime: Runtime) -> None:
        """Take the detector out of the library."""
        self.cv2 = runtime.opencv()
        self.hog = self.cv2.HOGDescriptor()
        self.hog.setSVMDetector(self.cv2.HOGDescriptor_getDefaultPeopleDetector())

    def analyse(self, frames: FrameBatch) -> list[list[Detection]]:
        """Boxes whose margin is clearly positive; overlapping ones joined."""
        least, overlap = float(self.thresholds["score"]), float(self.thresholds["overlap"])
        found: list[list[Detection]] = []
        for pixels in frames.pixels:
            height, width = pixels.shape[:2]
            if width < 64 or height < 128:  # smaller than one window of the detector
                found.append([])
                continue
            boxes, margins = self.hog.detectMultiScale(pixels, winStride=(8, 8), padding=(8, 8), scale=1.05)
            scores = [_share(margin) for margin in margins]
            kept = self.cv2.dnn.NMSBoxes([list(map(int, b)) for b in boxes], scores, least, overlap)
            found.append([Detection("person", scores[i], _relative(boxes[i], width, height)) for i in kept])
        return found


@register
class FacesHaar(Analyser):
    """Faces looking at the camera, by OpenCV's Haar cascade. Nobody is identified."""

    name, version, task = "opencv-faces", 1, Task.FACE
    takes = Frames(side=800)
    built_in = "OpenCV Haar cascade, frontal faces"
    licence = "Apache-2.0"
    classes = ("face",)
    thresholds = {"score": "0.90", "neighbours": "6"}

    def library(self, versions: Mapping[str, str]) -> str:
        """OpenCV, by its version."""
        return f"OpenCV {versions.get('opencv', '')}".strip()

    def open(self, runtime: Runtime) -> None:
        """Take the cascade out of the library."""
        self.cv2 = runtime.opencv()
        self.cascade = runtime.cascade("haarcascade_frontalface_alt2.xml")

    def analyse(self, frames: FrameBatch) -> list[list[Detection]]:
        """Boxes that several neighbouring windows agree on."""
        least = float(self.thresholds["score"])
        found: list[list[Detection]] = []
        for pixels in frames.pixels:
            height, width = pixels.shape[:2]
            grey = self.cv2.equalizeHist(self.cv2.cvtColor(pixels, self.cv2.COLOR_BGR2GRAY))
            boxes, _, weights = self.cascade.detectMultiScale3(
                grey,
                scaleFactor=1.1,
                minNeighbors=int(self.thresholds["neighbours"]),
                minSize=(24, 24),
                outputRejectLevels=True,
            )
            rows = [(box, _share(weight)) for box, weight in zip(boxes, weights, strict=True)]
            found.append(
                [
                    Detection("face", score, _relative(box, width, height))
                    for box, score in rows
                    if score >= least
                ]
            )
        return found


def _share(margin: float) -> float:
    """A detector's open-ended margin as a number from 0 to 1. It orders; it is no probability."""
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, float(margin)))))


def _relative(box: tuple[int, int, int, int], width: int, height: int) -> tuple[float, float, float, float]:
    x, y, w, h = map(float, box)
    return x / width, y / height, w / width, h / height
