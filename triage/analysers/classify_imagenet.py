"""What a picture as a whole may show, by networks trained on ImageNet: everyday things, with everyday mistakes."""

from triage.analysers.base import Analyser, FrameBatch, Frames, Tag, Task, register
from triage.analysers.embed import MOST_FRAMES
from triage.runtimes.base import Runtime


class ImageNet(Analyser):
    """Classes that a network gives at least its threshold. Which network: its subclasses."""

    version = 1
    task = Task.CLASSIFY
    takes = Frames(most=MOST_FRAMES)

    def open(self, runtime: Runtime) -> None:
        """Load the network."""
        self.net = runtime.load(self.model)

    def analyse(self, frames: FrameBatch) -> list[list[Tag]]:
        """The classes over the threshold, the likeliest first; that it shows none of them is said by nothing."""
        least = float(self.thresholds["score"])
        found = []
        for index in range(len(frames.pixels)):
            shares = self.net.of(frames, index).own
            likely = [(float(shares[i]), self.classes[i]) for i in (shares >= least).nonzero()[0] if i]
            found.append([Tag(label, share) for share, label in sorted(likely, reverse=True)])
        return found


@register
class MobileNetV2Tags(ImageNet):
    """MobileNetV2: the one that runs by default."""

    name, weights = "mobilenet-v2-tags", "mobilenet-v2-imagenet"


@register
class MobileNetV2KerasTags(ImageNet):
    """The same network as trained with TensorFlow 2, for comparison."""

    name, weights = "mobilenet-v2-keras-tags", "mobilenet-v2-keras"
