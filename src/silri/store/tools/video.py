"""Frames of mp4 files through PyAV, an optional package: ``pip install 'silri[video]'``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from silri.core.errors import DataError, MissingExtraError, SpecError

# Encoder -> its name in info.json, LeRobot's own first.
_CODECS = {"libsvtav1": "av1", "libx264": "h264", "h264": "h264"}
# For people: every player and browser shows H.264.
_WATCHED = ("libx264", "h264", "libsvtav1")


def load_av(needed_for: str = "a dataset with videos") -> ModuleType:
    """The package, if it is installed.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import av
    except ImportError:
        raise MissingExtraError("video", needed_for) from None
    return av


def read_frames(
    path: Path, times: Sequence[float], fps: float, shape: tuple[int, ...], name: str
) -> np.ndarray:
    """The frames that a video shows at ``times``.

    Args:
        path: the video.
        times: ascending, in seconds.
        fps: of the dataset; a frame may be off by less than half of its period.
        shape: (H, W, C) that the frames must have.
        name: of the column, for errors.

    Returns:
        (T, H, W, C) uint8.

    Raises:
        MissingExtraError: PyAV is not installed.
        DataError: no such video, it is damaged or too short, or its frames have another size.
    """
    av = load_av()
    if not path.is_file():
        raise DataError(f"{path} is missing; '{name}' is in it: copy or download it again")
    result = np.empty((len(times), *shape), np.uint8)
    found = 0
    try:
        with av.open(str(path)) as container:
            for time, frame in _decode(container, times[0]):
                while found < len(times) and abs(time - times[found]) < 0.5 / fps:
                    result[found] = _pixels(frame, shape, name, path)
                    found += 1
                if found == len(times) or time > times[-1]:
                    break
    except av.error.FFmpegError as error:
        raise DataError(f"{path} is no readable video: {error}") from None
    if found < len(times):
        raise DataError(
            f"{path} has no frame at {times[found]:.3f} s, where '{name}' has one; the file is "
            "cut or belongs to another dataset: copy or download it again"
        )
    return result


class VideoWriter:
    """Writes an mp4 file, lossy. A context manager.

    Attributes:
        info: what ``info.json`` says about the video; complete after the first frame.
    """

    def __init__(self, path: Path, fps: float, *, watched: bool = False) -> None:
        """Begin a file.

        Args:
            path: does not exist yet; its folder does.
            fps: frames per second.
            watched: for people and their players. Else as LeRobot writes its own, with any frame
                found at once.

        Raises:
            MissingExtraError: PyAV is not installed.
            DataError: this PyAV has no encoder that fits.
        """
        self._av, self._path = load_av(), path
        codecs = _WATCHED if watched else tuple(_CODECS)
        codec = next((c for c in codecs if c in self._av.codecs_available), None)
        if codec is None:
            raise DataError(f"this PyAV has none of {list(codecs)}; install 'av' from PyPI")
        options = {"crf": "23"} if watched else {"g": "2", "crf": "30"}
        if codec == "libsvtav1":
            options["preset"] = "12"
        elif codec == "libx264" and watched:  # while a run waits
            options["preset"] = "veryfast"
        self._container = self._av.open(str(path), "w", format="mp4")
        rate = Fraction(fps).limit_denominator(1000)
        self._stream = self._container.add_stream(codec, rate, options=options)
        self._stream.pix_fmt = "yuv420p"
        self.info: dict[str, Any] = {
            "video.codec": _CODECS[codec],
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": int(fps),
            "video.channels": 3,
            "has_audio": False,
        }

    def add(self, pixels: np.ndarray) -> None:
        """One more frame, (H, W, C) uint8; one channel is shown as grey.

        Raises:
            SpecError: an odd height or width.
            DataError: it cannot be encoded.
            OSError: it cannot be written.
        """
        height, width = pixels.shape[:2]
        if "video.height" not in self.info:
            if height % 2 or width % 2:
                raise SpecError(
                    f"a video needs an even height and width, not {height} x {width}; export "
                    "without --video"
                )
            self._stream.height, self._stream.width = height, width
            self.info |= {"video.height": height, "video.width": width}
        colour = np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3)))
        frame = self._av.VideoFrame.from_ndarray(colour, format="rgb24")
        self._encode(frame)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._encode(None)
        finally:
            self._container.close()

    def _encode(self, frame: Any) -> None:
        """Write ``frame``, or with None what is still to come of earlier ones."""
        try:
            self._container.mux(self._stream.encode(frame))
        except self._av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise DataError(f"{self._path} cannot be encoded: {error}") from error


def _decode(container: Any, start: float) -> Iterator[tuple[float, Any]]:
    """Every frame from the last key frame before ``start`` on, with its time."""
    if not container.streams.video:
        raise DataError(f"{container.name} has no video in it")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    if start > 0:
        container.seek(int(start / stream.time_base), stream=stream, backward=True)
    for frame in container.decode(stream):
        if frame.pts is not None:
            yield float(frame.pts * stream.time_base), frame


def _pixels(frame: Any, shape: tuple[int, ...], name: str, path: Path) -> np.ndarray:
    if (frame.height, frame.width) != shape[:2]:
        raise DataError(
            f"{path} shows frames of {frame.height} x {frame.width}; '{name}' is "
            f"{shape[0]} x {shape[1]} in meta/info.json"
        )
    pixels: np.ndarray = frame.to_ndarray(format="rgb24" if shape[2] == 3 else "gray8")
    return pixels.reshape(shape)
