"""Where shots begin and end, frame by frame in the one pass that decodes a video. Runs confined.

PySceneDetect's AdaptiveDetector at its own settings: a cut is where the change of hue, saturation and brightness is at least
three times that of the two frames before and after it. It therefore knows of a cut two frames later. It is given a small
picture of each frame, averaged out of the decoder's own planes, so that no whole frame is converted for it.
"""

from typing import Any

SMALL = (64, 36)  # width and height of the picture that is compared
THINNED = 128  # samples across that it is averaged from
LEAST_MS = 500  # a shot is no shorter: lightning and flashes are no cuts
Small = Any  # numpy array, 36 x 64 x 3, BGR, 8 bit


class Shots:
    """The shots of one video. Give it every frame's small picture in order, then ask `told`."""

    def __init__(self) -> None:
        from scenedetect.detectors import AdaptiveDetector

        self._detector = AdaptiveDetector(min_scene_len=LEAST_MS)
        self.cuts: list[int] = []
        self._times: list[int] = []  # of the last frames: a cut is told two frames late
        self._ends: list[int] = []
        self._last = 0

    def add(self, at_ms: int, picture: Small) -> bool:
        """Whether a cut has become known by this frame. `at_ms` is later than that of the frame before."""
        from scenedetect.common import FrameTimecode

        # its frame numbers are our milliseconds: it compares them with LEAST_MS only
        cuts = self._detector.process_frame(FrameTimecode(at_ms, fps=1000.0), picture)
        self._times = [*self._times[-3:], at_ms]
        for cut in cuts:
            self.cuts.append(cut.frame_num)
            self._ends.append(max((t for t in self._times if t < cut.frame_num), default=0))
        self._last = at_ms
        return bool(cuts)

    def told(self) -> list[tuple[int, int]]:
        """(ms of the first frame, ms of the last) for each shot, in order."""
        return list(zip([0, *self.cuts], [*self._ends, self._last], strict=True))


def small(frame: Any) -> Small:
    """A frame as 64 x 36 BGR, whatever its shape: out of its planes where they are YUV, else through FFmpeg."""
    import cv2
    import numpy

    kind = frame.format
    bits = kind.components[0].bits if kind.components else 0
    as_planes = kind.is_planar and not kind.is_rgb and len(frame.planes) == len(kind.components) in (1, 3)
    if not as_planes or not 8 <= bits <= 16:
        return frame.reformat(*SMALL, format="bgr24").to_ndarray()
    planes = []
    for plane in frame.planes:
        whole: Any = numpy.frombuffer(plane, numpy.uint8 if bits == 8 else numpy.dtype("<u2"))
        whole = whole.reshape(-1, plane.line_size // whole.itemsize)[: plane.height, : plane.width]
        step = max(1, plane.width // THINNED)
        thinned = (
            whole[::step, ::step] if bits == 8 else (whole[::step, ::step] >> (bits - 8)).astype(numpy.uint8)
        )
        planes.append(cv2.resize(thinned, SMALL, interpolation=cv2.INTER_AREA))
    if len(planes) == 1:
        return cv2.cvtColor(planes[0], cv2.COLOR_GRAY2BGR)
    luma, blue, red = planes
    return cv2.cvtColor(cv2.merge([luma, red, blue]), cv2.COLOR_YCrCb2BGR)
