"""What is wrong with a config in words that a user understands: the key, what was found there, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_TYPES = {"object": "a mapping", "array": "a list", "null": "null", "boolean": "true or false", "number": "number"}


def name_key(path: Collection[str | int]) -> str:
    name = ""
    for part in path:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return name or "the top level"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _expected(schema: Mapping[str, Any]) -> str:
    """What a schema allows, e.g. "integer >= 1"."""
    if "enum" in schema:
        further = [schema["$comment"]] if "$comment" in schema else []
        return "one of " + ", ".join(map(str, [*schema["enum"], *further]))
    if "const" in schema:
        return str(schema["const"])
    types = schema.get("type", "another value")
    words = " or ".join(_TYPES.get(name, name) for name in ([types] if isinstance(types, str) else types))
    limits = [
        f"{sign} {schema[keyword]}"
        for keyword, sign in (
            ("minimum", ">="),
            ("exclusiveMinimum", ">"),
            ("maximum", "<="),
            ("exclusiveMaximum", "<"),
        )
        if keyword in schema
    ]
    entries = [
        f"{word} {schema[keyword]}"
        for keyword, word in (
            ("minItems", "of at least"),
            ("maxItems", "of at most"),
            ("minProperties", "of at least"),
            ("minLength", "of length at least"),
        )
        if keyword in schema
    ]
    if schema.get("uniqueItems"):
        entries.append("without repeats")
    text = " and ".join([" ".join([words, *limits[:1]]), *limits[1:]])
    return ", ".join([text, *entries])


def _known(schema: Mapping[str, Any], found: Mapping[str, Any]) -> set[str]:
    """Keys that a schema knows in this mapping, in the branch for the layout or system that it names as well."""
    known = set(schema.get("properties", ()))
    if "if" in schema:
        ((key, condition),) = schema["if"]["properties"].items()
        values = condition["enum"] if "enum" in condition else [condition["const"]]
        branch = "then" if found.get(key) in values else "else"
        if branch in schema:
            known |= _known(schema[branch], found)
    for part in schema.get("allOf", ()):
        known |= _known(part, found)
    return known


def similar(name: str, allowed: Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def refer(key: str, name: object, allowed: Iterable[object], what: str) -> Iterator[str]:
    """A line for a name or a number that refers to nothing."""
    names = sorted(map(str, allowed))
    if str(name) not in names:
        there = ", ".join(names) or "none"
        yield f"config: {key} is {name!r}{similar(str(name), names)}, expected {what}: {there}"


def explain(error: ValidationError) -> str:
    """Put an error of JSON schema into one sentence: the key, what was found, what was expected."""
    key, found, schema = name_key(error.absolute_path), error.instance, error.schema
    if error.validator in ("additionalProperties", "unevaluatedProperties"):
        allowed = sorted(_known(schema, found))
        wrong = sorted(name for name in map(str, found) if name not in allowed)
        if "layout" in found:
            hint = f" in a data set of layout {found['layout']!r}"
        elif "system" in found:
            hint = f" in a method of system {found['system']!r}"
        else:
            hint = ""
        unknown = ", ".join(repr(name) + similar(name, allowed) for name in wrong)
        return f"config: {key} has the unknown key {unknown}; known{hint}: {', '.join(allowed)}"
    if error.validator == "required":
        missing = [name for name in schema["required"] if name not in found]
        return f"config: {key} lacks the key {', '.join(map(repr, missing))}"
    if error.validator == "pattern":
        return f"config: the name {found!r} in {key} is not allowed, expected {schema['description']}"
    hint = ""
    if isinstance(found, str) and error.validator_value in ("number", "integer"):
        try:
            float(found)
            hint = " (text; a number stands without quotes and with a point before an exponent: 1.0e-3)"
        except ValueError:
            pass
    elif isinstance(found, str) and error.validator_value == "boolean" and found.lower() in ("true", "false"):
        hint = " (text; it stands without quotes, and behind --config as True or False)"
    return f"config: {key} is {_shorten(found)}{hint}, expected {_expected(schema)}"
