"""What the published code of PointAD computes where this project computes something else, in naive float64.

Written from a description of its behaviour, step by step and pixel by pixel; `tests/test_conventions.py` holds the
config's keys to it.
"""

import math

import numpy as np


def cubic(x):
    """Keys' kernel with a = -0.5, Pillow's bicubic."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def triangle(x):
    return max(0.0, 1 - abs(x))


def resize(image, size, kernel):
    """Antialiased resampling of grey levels [H,W] or [H,W,C] to size x size: the kernel is as much wider as the image
    gets smaller. Pillow goes along the rows first, and there are no grey levels beyond 0 and 255 in between either."""

    def weights(length):
        scale = length / size
        width = max(scale, 1.0)
        matrix = np.zeros((size, length))
        for i in range(size):
            for j in range(length):
                matrix[i, j] = kernel((j + 0.5 - (i + 0.5) * scale) / width)
        return matrix / matrix.sum(1, keepdims=True)

    rows, columns = weights(image.shape[0]), weights(image.shape[1])
    narrow = np.clip(np.einsum("jw,hw...->hj...", columns, image.astype(np.float64)), 0, 255)
    return np.clip(np.einsum("ih,hj...->ij...", rows, narrow), 0, 255)


def pad(image):
    """Zeros around an image: a square whose side is a multiple of 100; the odd pixel at the bottom and the right."""
    side = 100 * math.ceil(max(image.shape[:2]) / 100)
    padded = np.zeros((side, side, *image.shape[2:]), image.dtype)
    top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    padded[top : top + image.shape[0], left : left + image.shape[1]] = image
    return padded
