"""What the published code of PointAD computes where this project computes something else, in naive float64.

Written from a description of its behaviour, step by step and pixel by pixel; `tests/test_conventions.py` holds the
config's keys to it.
"""

import math

import numpy as np
import torch

TAU = 0.07


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


# Views ----------------------------------------------------------------------------------------------------------------


def project(points, angles, window):
    """Columns, rows and nearness (larger z) of points [n,3] by Open3D's default camera, turned by a view's angles."""
    tilt, x, y = np.radians(angles)
    a, b = tilt + x, y
    about_x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    about_y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    turned = points.astype(np.float64) @ (about_y @ about_x).T
    middle, extent = (turned.min(0) + turned.max(0)) / 2, np.ptp(turned, axis=0).max()
    depth = 0.7 * extent / math.tan(math.radians(30)) - (turned[:, 2] - middle[2])
    focal = window / 2 / math.tan(math.radians(30))
    columns = window / 2 - 0.5 + focal * (turned[:, 0] - middle[0]) / depth
    rows = window / 2 - 0.5 - focal * (turned[:, 1] - middle[1]) / depth
    return columns, rows, turned[:, 2]


def see(points, angles, window, size):
    """Pixel [n,2] of each point in an image of `size`, and whether it wins it: one point a pixel, the first of the
    nearest."""
    columns, rows, nearness = project(points, angles, window)
    pixels = (np.stack([columns, rows], 1) * size / window).astype(int).clip(0, size - 1)
    winners: dict[tuple[int, ...], int] = {}
    for point, pixel in enumerate(map(tuple, pixels)):
        if pixel not in winners or nearness[point] > nearness[winners[pixel]]:
            winners[pixel] = point
    return pixels, np.isin(np.arange(len(points)), list(winners.values()))


def draw_truth(points, labels, angles, point_size, window, size):
    """Grey levels [size,size]: squares of `point_size` in a window of their own, white ones of defects, the nearest
    above, on black."""
    columns, rows, nearness = project(points, angles, window)
    canvas = np.zeros((window, window))
    for point in np.argsort(nearness):
        covered = [np.arange(window) - place[point] for place in (rows, columns)]
        covered = [(-point_size / 2 <= offset) & (offset < point_size / 2) for offset in covered]
        canvas[np.ix_(*covered)] = 255 * labels[point]
    return resize(canvas, size, cubic)


# Losses ---------------------------------------------------------------------------------------------------------------


def upsample(patch_maps, size):
    """Bilinear interpolation of [..., g, g] with centres at half pixels, edges repeated."""
    grid = patch_maps.shape[-1]
    matrix = torch.zeros(size, grid, dtype=torch.float64)
    for i in range(size):
        place = min(max((i + 0.5) * grid / size - 0.5, 0), grid - 1)
        low = min(int(place), grid - 2)
        matrix[i, low], matrix[i, low + 1] = 1 - (place - low), place - low
    return matrix @ patch_maps @ matrix.T


def dice(p, t):
    """Over a batch: of each row of p and t [b, ...] one, and their mean."""
    p, t = p.flatten(1), t.flatten(1)
    return (1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)).mean()


def focal(p, t):
    """p [b, 2, ...] of both classes, t [b, ...]; gamma 2, labels held off 0 and 1 by 1e-5."""
    one_hot = torch.stack([1 - t, t], 1).clamp(1e-5, 1 - 1e-5)
    pt = (one_hot * p).sum(1) + 1e-5
    return (-((1 - pt) ** 2) * pt.log()).mean()


def losses(batch, g):
    """The four terms of a step on b clouds of K views, and the probabilities of their pixels.

    batch: views [b,K,d], patches [b,K,P,d], pixels and visible of each cloud, grid, the flat pixels of its points,
    mask [b,S,S], masks [b,K,S,S] and defective [b]; g: text embeddings [2,d].
    """
    masks = batch["masks"]
    b, k, size = masks.shape[:3]
    grid = math.isqrt(batch["patches"].shape[2])
    logits = batch["views"].flatten(0, 1) @ g.T / TAU  # cloud by cloud, and within it view by view
    image_labels = masks.flatten(0, 1).flatten(1).any(1).long()
    # Taken apart into K pieces of b rows each, put beside each other and averaged.
    mixed = torch.stack(torch.chunk(logits, k), 1).mean(1)
    maps = torch.softmax(batch["patches"] @ g.T / TAU, -1).unflatten(2, (grid, grid)).permute(0, 1, 4, 2, 3)
    maps = upsample(maps, size)  # b, K, 2, S, S
    flat, truth = maps.flatten(0, 1), masks.flatten(0, 1).double()
    points = torch.zeros(b, 2, size * size, dtype=torch.float64)
    for cloud in range(b):
        for point, pixel in enumerate(batch["grid"][cloud]):
            seen = [v for v in range(k) if batch["visible"][cloud][v, point]]
            places = [batch["pixels"][cloud][v, point] for v in seen]
            values = [maps[cloud, v, :, row, column] for v, (column, row) in zip(seen, places, strict=True)]
            points[cloud, :, pixel] = torch.stack(values).mean(0)
    whole = batch["mask"].flatten(1).double()
    return points, {
        "global_2d": torch.nn.functional.cross_entropy(logits, image_labels),
        "global_3d": torch.nn.functional.cross_entropy(mixed, batch["defective"].long()),
        "local_2d": focal(flat, truth) + dice(flat[:, 1], truth) + dice(flat[:, 0], 1 - truth),
        "local_3d": dice(points[:, 1], whole) + dice(points[:, 0], 1 - whole),
    }


def cross(geometry, rendering):
    """The ratios of cosines as they are printed; text embeddings [2,d], 0 = normal."""
    (n_g, a_g), (n_r, a_r) = geometry, rendering
    ratios = [
        (a_g @ a_r) / (a_g @ a_r + a_g @ n_r),
        (n_g @ n_r) / (n_g @ n_r + a_g @ n_r),
        (a_r @ a_g) / (a_r @ a_g + a_r @ n_g),
        (n_r @ n_g) / (n_r @ n_g + a_r @ n_g),
    ]
    return -sum(ratio.log() for ratio in ratios)
