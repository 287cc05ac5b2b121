"""Faces, by YuNet: that there are some and where. Nobody is identified: no features of a face are computed."""

from triage.analysers.base import Analyser, Detection, FrameBatch, Frames, Task, register
from triage.runtimes.base import Runtime


@register
class FacesYunet(Analyser):
    """Faces as boxes, to count them and later to cover them."""

    name, version, task = "faces-yunet", 1, Task.FACE
    takes = Frames(side=640)
    weights = "yunet-2026may"

    def open(self, runtime: Runtime) -> None:
        """Load the network."""
        self.net = runtime.load(self.model)

    def analyse(self, frames: FrameBatch) -> list[list[Detection]]:
        """Boxes of faces over the model's threshold."""
        found = []
        for index, pixels in enumerate(frames.pixels):
            height, width = pixels.shape[:2]
            found.append(
                [
                    Detection(
                        "face",
                        float(row[-1]),
                        (row[0] / width, row[1] / height, row[2] / width, row[3] / height),
                    )
                    for row in self.net.of(frames, index).own.tolist()
                ]
            )
        return found
