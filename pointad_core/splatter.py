"""Default renderer: points as squares with a z-test and Phong shading, in torch, without a display or GL.

It draws what Open3D's legacy visualizer draws (GL_POINTS and its Phong shader), on CPU and CUDA. All points have
squares of one size, so drawing is a maximum over a sliding window: each point puts one integer, its nearness
above its grey level, at the first pixel of its square; the maximum over the window that looks back over one
square's width is then, at every pixel, the nearest point that covers it. The image and the ground truth come out
of the same integers, so the borders of both coincide.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pointad_core.views import EYE, Projection

GREY = 0.7
DIFFUSE, SPECULAR = 0.66, 0.2
LIGHTS = (2.0, -2.0)
"""Places of the lights on the viewing axis, in units of E from the middle of the box; two white lights at each."""


def shade(points: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
    """Grey levels in [0, 1], [K,n], by the Phong model.

    points: [K,3,n] as in `Projection`; normals: [K,3,n], unit, rotated with the points; turned toward the eye here.
    """
    x, y, z = points.unbind(1)
    nx, ny, nz = normals.unbind(1)
    off_axis = x * x + y * y

    def toward(place: float) -> tuple[torch.Tensor, torch.Tensor]:
        # Distance to a place (0, 0, place) on the axis, and the cosine between the normal and the way there.
        dz = place - z
        distance = (off_axis + dz * dz).sqrt()
        return distance, (nz * dz - nx * x - ny * y) / distance

    eye_distance, eye_cosine = toward(EYE)
    facing = torch.where(eye_cosine < 0, -1.0, 1.0)
    eye_cosine = eye_cosine * facing
    grey = torch.zeros_like(x)
    for light in LIGHTS:
        light_distance, light_cosine = toward(light)
        light_cosine = light_cosine * facing
        between = (off_axis + (EYE - z) * (light - z)) / (eye_distance * light_distance)
        # e.r with r = 2 (n.l) n - l. The shader adds the highlight whether or not the light is behind the surface.
        reflected = (2 * light_cosine * eye_cosine - between).clamp(min=0)
        grey += 2 * GREY * DIFFUSE * light_cosine.clamp(min=0) + 2 * SPECULAR * _shine(reflected)
    return grey.clamp(0, 1)


def _shine(cosine: torch.Tensor) -> torch.Tensor:
    # Shininess 100 = 64 + 32 + 4: the power by squaring, several times faster than a general power.
    fourth = cosine.square().square_()
    power_32 = fourth.square().square_().square_()
    return power_32.square().mul_(power_32).mul_(fourth)


def splat(projection: Projection, values: torch.Tensor, size: int) -> torch.Tensor:
    """The largest value over each window pixel, i4[K,W,W]; -1 where no point covers it.

    values: i4[K,n], not negative. A point covers the pixels whose centre lies within half the size of its place,
    size x size of them; points out of the frame cover none.
    """
    window, views = projection.window, values.shape[0]
    # A margin before the first row and column takes the squares that begin outside.
    margin = size - 1
    side = window + margin
    left, top = ((c - size / 2).ceil().clamp_(-margin, window - 1) for c in (projection.columns, projection.rows))
    start = ((top + margin) * side + (left + margin)).to(torch.int64)
    values = torch.where(projection.inside, values, -1)
    canvas = torch.full((views, side * side), -1, dtype=torch.int32, device=values.device)
    canvas = canvas.scatter_reduce_(1, start, values, "amax").view(views, side, side)
    for axis in (1, 2):
        canvas = largest_of(canvas, size, axis)
    return canvas


def largest_of(canvas: torch.Tensor, size: int, axis: int) -> torch.Tensor:
    """Maximum over `size` neighbours along an axis, which gets size - 1 shorter: in log2(size) doubling steps."""
    covered = 1
    while covered < size:
        step = min(covered, size - covered)
        length = canvas.shape[axis] - step
        canvas = torch.maximum(canvas.narrow(axis, step, length), canvas.narrow(axis, 0, length))
        covered += step
    return canvas


def draw(
    projection: Projection, normals: torch.Tensor, labels: torch.Tensor, size: int, resolution: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the image and the ground truth of every view: grey images u1[K,S,S], and masks u1[K,S,S] of 0 and 1.

    normals: f4[K,3,n] unit, rotated with the points; labels: bool[n], anomalous points; size: of a point, in window
    pixels; resolution: S. Of points equally near the normal one wins, then the brighter one: no order of points
    plays a part.
    """
    grey = (shade(projection.points.to(torch.float32), normals) * 255).round_().to(torch.int32)
    # 22 bits of nearness, one that tells a normal point, 8 of grey: where nothing is drawn, -1 reads as white
    # and normal.
    keys = (projection.levels << 9) | (~labels).to(torch.int32) << 8 | grey
    window = splat(projection, keys, size)
    # Two bytes of each pixel: grey level, and 255 for normal. Viewed as bytes they are the channels of an image.
    planes = ((window & 0x100) * 0xFF | (window & 0xFF)).view(torch.uint8)
    planes = planes.view(*window.shape, 4).permute(0, 3, 1, 2)
    if planes.device.type != "cpu":
        planes = planes[:, :2]
    planes = shrink(planes, resolution)
    return planes[:, 0].contiguous(), (planes[:, 1] < 128).to(torch.uint8)


def shrink(images: torch.Tensor, resolution: int) -> torch.Tensor:
    """Resize images u1[K,C,W,W] to u1[K,C,S,S] by antialiased bicubic interpolation."""
    if images.shape[-1] == resolution:
        return images
    size = (resolution, resolution)
    if images.device.type == "cpu":
        return F.interpolate(images, size=size, mode="bicubic", antialias=True)
    # CUDA has no byte version of it; the rounding between its two passes makes a grey level's difference at most.
    smooth = F.interpolate(images.to(torch.float32), size=size, mode="bicubic", antialias=True)
    return smooth.round_().clamp_(0, 255).to(torch.uint8)


def rotate_normals(normals: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Normals f4[K,3,n] in the camera's frame, of normals [n,3] and rotations f8[K,3,3]."""
    return rotations.to(torch.float32) @ normals.to(torch.float32).T
