"""Label files: a row `x y z label` a point, as programs and people write them.

The label's column is the one that is named so, by a line above the rows or a remark (`//X Y Z label`). Without names
it is the fourth of four; of more, the only one after the third whose numbers are 0 and one other above it. A file of
one column has the label alone, of the points in their order. A list of the defective points alone has rows `x y z`.
"""

import os

import numpy as np

from pointad_core.errors import InputError
from pointad_core.formats.rows import lines_of
from pointad_core.formats.text import Table, read_table


def read_labels(path: str | os.PathLike[str]) -> tuple[np.ndarray | None, np.ndarray]:
    """Places f8[M,3] and labels bool[M] of a label file's rows; the places are None where it has the labels alone.

    Raises InputError, with line and column where there are such, for what is no table of numbers, a column of labels
    that cannot be told, labels that are neither 0 nor a whole number above it, and places that are NaN or infinite.
    """
    table = read_table(path)
    labels = table.labels(find_column(table))
    return None if table.values.shape[1] == 1 else find_places(table), labels


def label_points(
    path: str | os.PathLike[str], points: np.ndarray, valid: np.ndarray, cloud: str | os.PathLike[str]
) -> np.ndarray:
    """Labels bool [N] or [H,W] of the points f8 [N,3] or [H,W,3] of a cloud, by the file at `path`: by their places, or
    of a file without places in their order; valid: bool, those that are not missing.

    Raises InputError for a label file that cannot be read, or is not of this cloud.
    """
    places, marked = read_labels(path)
    if places is not None:
        labels = np.zeros(valid.shape, bool)
        labels[valid] = match_labels(points[valid], places, marked, path, cloud)
        return labels
    if len(marked) != valid.size:
        raise InputError(f"{path}: {len(marked)} labels without coordinates, but {cloud} has {valid.size} points")
    return marked.reshape(valid.shape)


def match_labels(
    points: np.ndarray,
    places: np.ndarray,
    labels: np.ndarray,
    path: str | os.PathLike[str],
    cloud: str | os.PathLike[str],
) -> np.ndarray:
    """Label bool[N] of each point [N,3]: that of the row, among places [M,3] with labels [M], nearest to it.

    Raises InputError where more than a few points have no row near them: it is then another cloud's label file.
    """
    from scipy.spatial import KDTree

    distances, rows = KDTree(places).query(points)
    # Far below the spacing of scanned points, far above what a text file's rounding moves them.
    tolerance = 1e-3 * np.linalg.norm(np.ptp(points, axis=0))
    matched = float(np.mean(distances <= tolerance))
    # The rest covers what was cut or doubled after labelling.
    if matched < 0.95:
        raise InputError(
            f"{path}: does not match {cloud}; of its {len(points)} points {matched:.1%} lie at one of the "
            f"{len(places)} rows, at least 95% must"
        )
    return labels[rows]


def read_places(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Places f8[M,3] of the defective points that a list names, a row `x y z` each, and the line i8[M] of each.

    Where rows have a label, the fourth of four columns or one that is named so, those whose label is 0 name none; other
    columns are passed over. Raises InputError as `read_labels`, and where no row names a point.
    """
    table = read_table(path)
    width, named = table.values.shape[1], table.names is not None and "label" in table.names
    if width < 3:
        raise InputError(f"{path}: line {table.line(0)}: {width} columns, expected rows `x y z`")
    places, lines = find_places(table), lines_of(table.text, table.first_line)
    if named or (width == 4 and table.names is None):
        defective = table.labels(find_column(table))
        if not defective.any():
            raise InputError(f"{path}: lists no defective point; all labels are 0")
        places, lines = places[defective], lines[defective]
    return places, lines


def find_places(table: Table) -> np.ndarray:
    """Places f8[M,3] of a table's rows; InputError for names without one of them, and for one that is no number."""
    path, columns = table.path, [0, 1, 2]
    if table.names is not None:
        if missing := [name for name in "xyz" if name not in table.names]:
            raise InputError(f"{path}: columns are named {', '.join(table.names)}, and none is {missing[0]}")
        columns = [table.names.index(name) for name in "xyz"]
    places = np.ascontiguousarray(table.values[:, columns])
    bad = ~np.isfinite(places).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        column = columns[int(np.argmin(np.isfinite(places[row])))] + 1
        raise InputError(f"{path}: line {table.line(row)}, column {column}: NaN or infinite, expected a coordinate")
    return places


def find_column(table: Table) -> int:
    """Place of the column of labels."""
    width = table.values.shape[1]
    if table.names is not None and "label" in table.names:
        return table.names.index("label")
    if width == 1:
        return 0
    if width == 4:
        return 3
    hint = "write a line of names, such as `x y z label`, above the rows"
    if width < 4:
        raise InputError(f"{table.path}: line {table.line(0)}: {width} columns, expected rows `x y z label`")
    if table.names is not None:
        raise InputError(f"{table.path}: columns are named {', '.join(table.names)}, and none is label; {hint}")
    found = [at for at in range(3, width) if is_binary(table.values[:, at])]
    if len(found) != 1:
        could = " and ".join(str(at + 1) for at in found) or "none of the further ones"
        raise InputError(
            f"{table.path}: line {table.line(0)}: {width} columns without names, and the label could be column "
            f"{could}; {hint}"
        )
    return found[0]


def is_binary(column: np.ndarray) -> bool:
    """Whether a column holds 0, or 0 and one other whole number above it, as labels do."""
    above = column[column != 0]
    return bool(len(above) == 0 or (above[0] >= 1 and above[0] == np.trunc(above[0]) and (above == above[0]).all()))
