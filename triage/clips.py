"""What happens in a clip: MobileNet features and a bidirectional LSTM over a sliding window. Used where it is trained and run.

A clip is a row of feature vectors at even steps of STEP_MS (between looks the last one holds: nothing had moved). The network
sees WINDOW steps at a time, each vector less the window's mean, so that what stays the same (the room, who it is) does not
count, brought down to a few numbers by the directions in which the training clips vary most. Hochreiter and Schmidhuber, *Long short-term memory*, 1997; Graves
and Schmidhuber, *Framewise phoneme classification with bidirectional LSTM*, 2005.

A label belongs to a clip and not to its moments. Training takes a clip's score for a class as the soft maximum over its windows
(log-mean-exp), so that one window that shows it is enough, and learns which windows those are. Where a class is named as the
ordinary one (nothing particular happens), scores are counted from its own in each window: a clip is ordinary when no window of
it is anything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

STEP_MS = 200
WINDOW = 16  # steps
HOP = 2  # steps between windows
SMOOTHED = 3  # windows that are averaged
DIRECTIONS, HIDDEN = 32, 24
ROUNDS, RATE, DECAY, DROPPED = 100, 0.005, 0.01, 0.5
AT_ONCE = 4096  # windows

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """A part of a clip in which a class has the upper hand. `score` is 0 to 1, uncalibrated."""

    at_ms: int
    until_ms: int
    label: int
    score: float


@dataclass(frozen=True)
class Weights:
    """All that a trained network consists of, as plain arrays: nothing in it can run."""

    arrays: dict[str, Rows]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Width of a feature vector, directions kept, classes. Raises ValueError where the arrays do not fit together."""
        try:
            width, kept = self.arrays["directions"].shape
            classes, hidden = self.arrays["out.weight"].shape
            expected = {
                "directions": (width, kept),
                "scale": (1,),
                "out.weight": (classes, hidden),
                "out.bias": (classes,),
            }
            for way in ("", "_reverse"):
                side = hidden // 2
                expected |= {
                    f"lstm.weight_ih_l0{way}": (4 * side, kept),
                    f"lstm.weight_hh_l0{way}": (4 * side, side),
                    f"lstm.bias_ih_l0{way}": (4 * side,),
                    f"lstm.bias_hh_l0{way}": (4 * side,),
                }
        except (KeyError, ValueError) as error:
            raise ValueError("these are not the arrays of a clip classifier") from error
        if {name: array.shape for name, array in self.arrays.items()} != expected:
            raise ValueError("the arrays of this clip classifier do not fit together")
        if not all(np.isfinite(array).all() for array in self.arrays.values()):
            raise ValueError("an array of this clip classifier holds what is no number")
        return width, kept, classes


def unit(vectors: NDArray[Any]) -> Rows:
    """Feature vectors brought to length 1."""
    rows = np.asarray(vectors, np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)


def even(at_ms: Sequence[int], rows: Rows) -> Rows:
    """Rows at even steps, from those of some looks at given times."""
    steps = np.arange(at_ms[0], max(at_ms[-1], at_ms[0] + 1), STEP_MS)
    return rows[np.searchsorted(at_ms, steps, side="right") - 1]


def starts(rows: Rows) -> list[int]:
    """The steps that the windows of a clip begin with. A clip of less than a window has one."""
    last = max(0, len(rows) - WINDOW)
    return [*range(0, last, HOP), last]


def windows(rows: Rows, begins: Sequence[int]) -> Rows:
    """Windows of a clip, each less its mean. A short clip is held at its end."""
    if len(rows) < WINDOW:
        rows = np.concatenate([rows, np.repeat(rows[-1:], WINDOW - len(rows), axis=0)])
    cut = np.stack([rows[begin : begin + WINDOW] for begin in begins])
    return np.asarray(cut - cut.mean(axis=1, keepdims=True), np.float32)


def network(kept: int, classes: int, hidden: int = HIDDEN) -> "torch.nn.Module":
    """The network, untrained."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(kept, hidden, batch_first=True, bidirectional=True)
            self.out = torch.nn.Linear(2 * hidden, classes)
            self.drop = torch.nn.Dropout(DROPPED)

        def forward(self, given: "torch.Tensor") -> "torch.Tensor":
            seen, _ = self.lstm(self.drop(given))
            logits: torch.Tensor = self.out(self.drop(seen.mean(dim=1)))
            return logits

    return Network()


class Classifier:
    """A trained network, ready to be asked."""

    def __init__(self, weights: Weights, ordinary: int | None = None) -> None:
        """Raises ValueError for arrays that are none of a clip classifier."""
        import torch

        self.ordinary = ordinary

        self.width, kept, self.classes = weights.shape
        self._directions, self._scale = weights.arrays["directions"], float(weights.arrays["scale"][0])
        self._network = network(kept, self.classes, weights.arrays["out.weight"].shape[1] // 2)
        own = {name: torch.from_numpy(a.copy()) for name, a in weights.arrays.items() if "." in name}
        self._network.load_state_dict(own)
        self._network.eval()

    def logits(self, rows: Rows) -> Rows:
        """The classes' logits for each window of a clip of `project`ed rows at even steps."""
        import torch

        begins = starts(rows)
        found = []
        with torch.inference_mode():
            for first in range(0, len(begins), AT_ONCE):
                cut = windows(rows, begins[first : first + AT_ONCE])
                found.append(self._network(torch.from_numpy(cut)).numpy())
        said = np.concatenate(found)
        return said if self.ordinary is None else said - said[:, [self.ordinary]]

    def project(self, vectors: NDArray[Any]) -> Rows:
        """Feature vectors brought down to the few numbers that the network looks at."""
        return np.asarray(unit(vectors) @ self._directions * self._scale, np.float32)

    def clip(self, at_ms: Sequence[int], vectors: NDArray[Any]) -> Rows:
        """The classes' probabilities for a whole clip, of which these are the looks."""
        return softmax(pooled(self.logits(even(at_ms, self.project(vectors)))))

    def spans(self, at_ms: Sequence[int], projected: Rows) -> list[Heard]:
        """Which class has the upper hand when: windows smoothed over their neighbours, those of a class joined.

        A window speaks for the time that is nearer to its middle than to any other's.
        """
        rows = even(at_ms, projected)
        sure = smoothed(softmax(self.logits(rows)))
        middles = [at_ms[0] + (2 * begin + WINDOW) * STEP_MS // 2 for begin in starts(rows)]
        borders = [at_ms[0], *((a + b) // 2 for a, b in pairwise(middles)), max(at_ms[-1], at_ms[0] + 1)]
        heard = []
        for label, those in groupby(range(len(sure)), key=lambda index: int(sure[index].argmax())):
            own = list(those)
            heard.append(Heard(borders[own[0]], borders[own[-1] + 1], label, float(sure[own, label].max())))
        return heard


def pooled(logits: Rows) -> Rows:
    """One clip's logits out of its windows': log of the mean of their exponentials."""
    most = logits.max(axis=0)
    return np.asarray(most + np.log(np.exp(logits - most).mean(axis=0)), np.float32)


def softmax(logits: Rows) -> Rows:
    """Probabilities over the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)


def smoothed(sure: Rows) -> Rows:
    """Each window's probabilities averaged with those beside it."""
    reach = SMOOTHED // 2
    return np.stack([sure[max(0, i - reach) : i + reach + 1].mean(axis=0) for i in range(len(sure))])


@dataclass(frozen=True)
class Clip:
    """A labelled clip: the times of its looks, a feature vector of each, its class, and whose it is (a subject, a source)."""

    at_ms: Sequence[int]
    vectors: NDArray[Any]
    label: int
    group: str = ""


def train(clips: Sequence[Clip], *, classes: int, ordinary: int | None = None, seed: int = 0) -> Weights:
    """Fit a network. The same clips and seed give the same weights on the same libraries.

    Classes count alike however many clips they have. Raises ValueError where a class has no clip.
    """
    import torch

    labels = [clip.label for clip in clips]
    number = np.bincount(labels, minlength=classes)
    if not number.all():
        raise ValueError("a class has no clip to learn from")
    directions, scale = _directions(clips)
    rows = [even(clip.at_ms, unit(clip.vectors) @ directions * scale) for clip in clips]
    cut = [windows(one, starts(one)) for one in rows]
    given = torch.from_numpy(np.concatenate(cut))
    owner = torch.from_numpy(np.repeat(np.arange(len(cut)), [len(one) for one in cut]))
    weight = torch.tensor(len(labels) / (classes * number), dtype=torch.float32)
    own = torch.bincount(owner).float().log()[:, None]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            learner = network(directions.shape[1], classes)
            steps = torch.optim.AdamW(learner.parameters(), lr=RATE, weight_decay=DECAY)
            for _ in range(ROUNDS):
                steps.zero_grad()
                each = learner(given)
                if ordinary is not None:
                    each = each - each[:, [ordinary]]
                said = (
                    torch.stack([part.logsumexp(dim=0) for part in each.split([len(one) for one in cut])])
                    - own
                )
                torch.nn.functional.cross_entropy(said, torch.tensor(labels), weight=weight).backward()
                steps.step()
    finally:
        torch.set_num_threads(threads)
    arrays = {name: value.detach().numpy() for name, value in learner.state_dict().items()}
    return Weights({"directions": directions, "scale": np.array([scale], np.float32), **arrays})


def _directions(clips: Sequence[Clip]) -> tuple[Rows, np.float32]:
    """The directions in which what happens in windows varies most, and what brings their numbers to a common size."""
    width = clips[0].vectors.shape[1]
    varied, number = np.zeros((width, width)), 0
    for clip in clips:
        rows = even(clip.at_ms, unit(clip.vectors))
        cut = windows(rows, starts(rows)).reshape(-1, width).astype(np.float64)
        varied += cut.T @ cut
        number += len(cut)
    strengths, ways = np.linalg.eigh(varied / number)
    directions = np.asarray(ways[:, ::-1][:, :DIRECTIONS], np.float32)
    # an eigenvector may be turned round: its largest part is made positive, so that the same clips give the same
    directions *= np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    return np.ascontiguousarray(directions), np.float32(2 / np.sqrt(max(float(strengths[-1]), 1e-12)))
