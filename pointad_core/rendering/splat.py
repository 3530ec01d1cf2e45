"""Default renderer: points as squares with a z-test and Phong shading, in torch, without a display or GL (Sec. 3.3).

It draws what Open3D's legacy visualizer draws (GL_POINTS and its Phong shader), on CPU and CUDA. Each point is one
integer, its nearness above its grey level, and the largest that covers a pixel is the nearest point there. The image
and the ground truth come out of the same integers, so the borders of both coincide.
"""

from functools import partial

import torch

from pointad_core.rendering import shaded
from pointad_core.rendering.shaded import GREY, shrink
from pointad_core.rendering.views import EYE, Projection
from pointad_core.rendering.visibility import draw_squares

DIFFUSE, SPECULAR = 0.66, 0.2
LAMPS = (2.0, -2.0)
"""Places of the lamps on the viewing axis, in units of E from the middle of the box; two white lights at each."""


def shade(points: torch.Tensor, normals: torch.Tensor, power: float = 1.0) -> torch.Tensor:
    """Grey levels in [0, 1], [K,n], by the Phong model.

    points: [K,3,n] as in `Projection`; normals: [K,3,n], unit, rotated with the points; turned toward the eye here;
    power: of the lamps, a factor of what they add.
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
    for light in LAMPS:
        light_distance, light_cosine = toward(light)
        light_cosine = light_cosine * facing
        between = (off_axis + (EYE - z) * (light - z)) / (eye_distance * light_distance)
        # e.r with r = 2 (n.l) n - l. The shader adds the highlight whether or not the light is behind the surface.
        reflected = (2 * light_cosine * eye_cosine - between).clamp(min=0)
        # Shininess 100 = 64 + 32 + 4: the power by squaring, several times faster than a general power.
        fourth = reflected.square().square_()
        power_32 = fourth.square().square_().square_()
        shine = power_32.square().mul_(power_32).mul_(fourth)
        grey += 2 * GREY * DIFFUSE * power * light_cosine.clamp(min=0) + 2 * SPECULAR * power * shine
    return grey.clamp(0, 1)


def draw(
    projection: Projection, normals: torch.Tensor, labels: torch.Tensor, size: int, resolution: int, power: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the image and the ground truth of every view; arguments and result as of `shaded.Draw`.

    Of points equally near the normal one wins, then the brighter one: no order of points plays a part.
    """
    grey = (shade(projection.points.to(torch.float32), normals, power) * 255).round_().to(torch.int32)
    # 22 bits of nearness, one that tells a normal point, 8 of grey; -1, where nothing is drawn, is white and normal.
    keys = (projection.levels << 9) | (~labels).to(torch.int32) << 8 | grey
    window = draw_squares(projection, keys, size)
    # Two bytes of each pixel: grey level, and 255 for normal. Viewed as bytes they are the channels of an image.
    planes = ((window & 0x100) * 0xFF | (window & 0xFF)).view(torch.uint8)
    planes = shrink(planes.view(*window.shape, 4).permute(0, 3, 1, 2), resolution)
    return planes[:, 0].contiguous(), (planes[:, 1] < 128).to(torch.uint8)


angles = shaded.angles
# One view at a time keeps a CPU's caches warm; a GPU is better used by all views at once.
render = partial(shaded.render, draw=draw, at_once=1)
