"""Pictures as vectors, for ranking and for likeness. A vector stands for what a network's hidden layer saw."""

from triage.analysers.base import Analyser, FrameBatch, Frames, Task, Vector, register
from triage.registry import VectorOf
from triage.runtimes.base import Runtime

MOST_FRAMES = 480  # of one item; a longer video has its frames spread evenly


class Embedder(Analyser):
    """The hidden layer that the registry names for its weights. Which weights: its subclasses."""

    task = Task.EMBED
    takes = Frames(most=MOST_FRAMES)

    @property
    def vector(self) -> VectorOf:
        """What is read, as registered."""
        if self.model.vector is None:
            raise ValueError(f"no layer of {self.weights} is registered to be read")
        return self.model.vector

    @property
    def parameters(self) -> dict[str, str]:
        """The layer and how it is pooled, too."""
        read = {"layer": self.vector.layer or "last pooled", "width": str(self.width)}
        return {**super().parameters, **read, "pool": "greatest" if self.vector.greatest else "mean"}

    def open(self, runtime: Runtime) -> None:
        """Load the network."""
        self.net = runtime.load(self.model)

    def analyse(self, frames: FrameBatch) -> list[list[Vector]]:
        """One vector a frame; none where the layer is silent."""
        found: list[list[Vector]] = []
        for index in range(len(frames.pixels)):
            hidden = self.net.of(frames, index).hidden
            found.append([Vector.of(hidden)] if hidden is not None and hidden.any() else [])
        return found


@register
class MobileNetV1(Embedder):
    """MobileNetV1 without its head."""

    name, version, weights, width = "mobilenet-v1", 1, "mobilenet-v1-embedding", 1024


@register
class MobileNetV2(Embedder):
    """MobileNetV2's last hidden layer. Its tags come out of the same run of the network."""

    name, version, weights, width = "mobilenet-v2", 1, "mobilenet-v2-imagenet", 1280


@register
class Yolo11n(Embedder):
    """Where the detector's backbone ends. Its boxes come out of the same run of the network."""

    name, version, weights, width = "yolo11n", 2, "yolo11n-int8-openvino", 256
