"""Pictures as JPEG: of cameras as they were seen, and of a scene that is drawn."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

QUALITY = 80


def jpeg(image: np.ndarray) -> bytes:
    """A JPEG file of (H, W, 3) or (H, W, 1) uint8."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(
        buffer, "JPEG", quality=QUALITY
    )
    return buffer.getvalue()
