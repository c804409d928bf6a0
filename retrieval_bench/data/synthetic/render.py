"""One task: a landmark with all its views, rendered, encoded and described."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from retrieval_bench.data.synthetic import camera as cameras
from retrieval_bench.data.synthetic.labels import FacadeView, View
from retrieval_bench.data.synthetic.landmark import Landmark, design_landmark
from retrieval_bench.data.synthetic.plan import Options, Role, Stream, Task, family, generator
from retrieval_bench.data.synthetic.scene import box_of, observe, paint_scene
from retrieval_bench.data.synthetic.stock import Stock
from retrieval_bench.data.synthetic.weather import (
    LIGHT_CHANCES,
    QUERY_LIGHT_CHANCES,
    degrade,
    draw_degradation,
    draw_light,
)
from retrieval_bench.values.dataset import Box

STREET_VIEW = 3
"""The view of a distractor task that shows a street without the task's building."""

EXTENT_OF_A_STREET = np.array([16.0, 12.0, 10.0])


@dataclass(frozen=True)
class Record:
    """What is kept of one picture.

    Attributes:
        name: without folder and ending; unique in the build.
        role: "train", "validation", "query" or "database".
        landmark: as in `View`; of distractors too, None for streets.
        box: around the visible landmark, pixels; None where it is out of sight.
        view: what the renderer knows of the picture.
    """

    name: str
    role: str
    box: Box | None
    view: View

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Record":
        """The inverse of `to_json`, also after a passage through JSON text."""
        view = value["view"]
        facades = {int(number): FacadeView(**facade) for number, facade in view["facades"].items()}
        box = value["box"]
        return cls(value["name"], value["role"], tuple(box) if box else None, View(**{**view, "facades": facades}))


def design(options: Options, role: Role, index: int) -> Landmark:
    """The landmark of a task: its style belongs to its family, its details to itself."""
    style_role, style_index = family(options, role, index)
    style = generator(options, Stream.STYLE, style_role, style_index)
    return design_landmark(style, generator(options, Stream.DETAIL, role, index))


def render_task(options: Options, stock: Stock, task: Task, folder: Path) -> list[Record]:
    """Render the views of a task into ``folder/<name>.jpg``.

    Every picture has a generator of its own, seeded by role, landmark and view.
    """
    landmark = design(options, task.role, task.index)
    return [_render(options, stock, task, landmark, number, folder) for number in range(task.views)]


def _render(options: Options, stock: Stock, task: Task, landmark: Landmark, number: int, folder: Path) -> Record:
    rng = generator(options, Stream.VIEW, task.role, task.index, number)
    is_query = task.role is Role.TEST and number < options.queries_per_landmark
    street = task.role is Role.DISTRACTOR and number == STREET_VIEW
    stance = _stance(task.role, is_query)
    light = draw_light(rng, QUERY_LIGHT_CHANCES if is_query else LIGHT_CHANCES)
    change = draw_degradation(rng, mild=is_query)
    size = max(48, round(options.image_size * change.shrink))
    camera = cameras.place(rng, stance, EXTENT_OF_A_STREET if street else landmark.extent, size)
    occluders = int(rng.integers(0, 3)) if is_query else int(rng.integers(0, 5))
    picture = paint_scene(rng, stock, None if street else landmark, camera, light, occluders)
    pixels = degrade(rng, picture.rgb, change)
    name = f"{'query' if is_query else task.role.name.lower()}_{task.index:03d}_{number:02d}"
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, change.quality])
    if not done:
        raise RuntimeError(f"OpenCV could not encode {name}.jpg")
    (folder / f"{name}.jpg").write_bytes(data.tobytes())
    share, facades = (0.0, {}) if street else observe(landmark, camera, picture.owner)
    known = None if street else f"{task.role.name.lower()}_{task.index:03d}"
    role = task.role.name.lower() if task.role in (Role.TRAIN, Role.VALIDATION) else "database"
    view = View(known, share, light.kind, max(change.blur, change.motion / 3 if change.motion > 1 else 0.0), facades)
    return Record(name, "query" if is_query else role, box_of(picture.owner), view)


def _stance(role: Role, is_query: bool) -> cameras.Stance:
    if is_query:
        return cameras.QUERY
    return cameras.TRAIN if role in (Role.TRAIN, Role.VALIDATION) else cameras.DATABASE
