"""A config held to its schema, and the file that it was read from."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pointad_core.errors import InputError
from workflow.words import explain


def safe_loader() -> Any:
    """PyYAML's safe loader in C, which takes a twentieth of the time; where it was built without, the other."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def refuse_repeats(path: str | os.PathLike[str]) -> None:
    """Refuse a config file that has a key twice in one mapping: a YAML reader keeps the last without a word."""
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            root = yaml.compose(file, Loader=safe_loader())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return  # Snakemake has read it, or says why it could not.
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.value in first:
                    where = f"which line {first[key.value]} has already" if first[key.value] != line else "twice"
                    raise InputError(
                        f"{path}: line {line} has the key {key.value!r}, {where}; only the last would count"
                    )
                first[key.value] = line
                waiting.append(value)


def fill_in(config: dict[str, Any], schema: Path) -> None:
    """Hold a config to a schema and put in its defaults; InputError for the first thing that is not as it says.

    As `snakemake.utils.validate` does, which reads the schema anew each time, by a loader 20 times slower.
    """
    from jsonschema.exceptions import ValidationError

    try:
        _validator(schema).validate(config)
    except ValidationError as error:
        raise InputError(explain(error)) from None


@cache
def _validator(schema: Path) -> Any:
    """A validator of JSON schema that puts in defaults on its way."""
    import yaml
    from jsonschema import Draft202012Validator, validators

    check_properties = Draft202012Validator.VALIDATORS["properties"]

    def put_in_defaults(validator: Any, properties: Any, instance: Any, subschema: Any) -> Iterator[Any]:
        if isinstance(instance, dict):
            for name, entry in properties.items():
                if "default" in entry:
                    instance.setdefault(name, copy.deepcopy(entry["default"]))
        yield from check_properties(validator, properties, instance, subschema)

    content = yaml.load(schema.read_text(encoding="utf-8"), Loader=safe_loader())  # noqa: S506
    return validators.extend(Draft202012Validator, {"properties": put_in_defaults})(content)
