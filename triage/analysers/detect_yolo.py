"""Objects of the COCO classes, by Ultralytics YOLO."""

from triage.analysers.base import Analyser, Detection, FrameBatch, Frames, Task, register
from triage.runtimes.base import Runtime


class Yolo(Analyser):
    """Boxes of one Ultralytics detection model. Which one: its subclasses."""

    version = 1
    task = Task.DETECT
    takes = Frames()  # the model scales by itself, as its reference runtime does

    def open(self, runtime: Runtime) -> None:
        """Load the network."""
        self.net = runtime.load(self.model)

    def analyse(self, frames: FrameBatch) -> list[list[Detection]]:
        """Boxes over the model's threshold, overlapping ones of a class joined."""
        found = []
        for index, pixels in enumerate(frames.pixels):
            height, width = pixels.shape[:2]
            found.append(
                [
                    Detection(
                        self.classes[int(label)],
                        float(score),
                        (x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height),
                    )
                    for x1, y1, x2, y2, score, label in self.net.of(frames, index).own.tolist()
                ]
            )
        return found


@register
class YoloOpenVino(Yolo):
    """YOLO11n in OpenVINO, int8: the one that runs by default."""

    name, weights = "yolo", "yolo11n-int8-openvino"


@register
class YoloTorch(Yolo):
    """YOLO11n in PyTorch, for comparison."""

    name, weights = "yolo-torch", "yolo11n-torch"
