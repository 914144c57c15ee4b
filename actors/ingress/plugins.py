"""Find a decoder: an entry point of `sovereign.decoders`, or `module:Class`; decode its own keys strictly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from sovereign.actors.ingress.decoder import Decoder
from sovereign.runtime.errors import PluginError, SovereignError
from sovereign.topology import registry
from sovereign.topology.mistake import nearest


def decoder_class(config: dict[str, Any]) -> type[Decoder]:
    """The class that `kind` names. PluginError when there is none."""
    return registry.load(registry.DECODERS, str(config.get("kind", "")), Decoder)[1]


def make_decoder(config: dict[str, Any]) -> Decoder:
    """The decoder, with its keys checked. PluginError names the key."""
    kind = decoder_class(config)
    for _, error in _wrong_keys(kind, config):
        raise error
    try:
        return kind(msgspec.convert(_own(config), kind.Config, strict=True))
    except msgspec.ValidationError as error:  # a Config's own __post_init__
        raise PluginError(f'decoder "{config["kind"]}": {error}') from error


def wrong_decoder(config: dict[str, Any]) -> list[str]:
    """What keeps the decoder from being made: sentences that begin with the key."""
    if not isinstance(config.get("kind"), str):
        known = ", ".join(one.name for one in registry.plugins(registry.DECODERS))
        return [f"decoder: it needs a kind\n  expected: {known}, or module:Class"]
    try:
        kind = decoder_class(config)
    except PluginError as error:
        return [f"decoder.kind: {error}"]
    wrong = [f"{key}: {error}" for key, error in _wrong_keys(kind, config)]
    if wrong:
        return wrong
    try:
        make_decoder(config)
    except SovereignError as error:
        return [f"{_speaks_of(error, config)}: {error}"]
    return []


def _own(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "kind"}


def _wrong_keys(kind: type[Decoder], config: dict[str, Any]) -> Iterator[tuple[str, PluginError]]:
    """(key path, why not) for each key that the decoder does not know, lacks, or cannot take."""
    fields = {one.encode_name: one for one in msgspec.structs.fields(kind.Config)}
    word, own = f'decoder "{config["kind"]}"', _own(config)
    for key, value in own.items():
        if key not in fields:
            close = nearest(key, fields)
            hint = f'did you mean "{close}"?' if close else ""
            expected = ", ".join(["kind", *fields])
            what = f'{word} has no key "{key}"'
            yield f"decoder.{key}", PluginError(what, expected=expected, hint=hint)
            continue
        try:
            msgspec.convert(value, fields[key].type, strict=True)
        except msgspec.ValidationError as error:
            expected = str(error).removeprefix("Expected ").partition(", got")[0].replace("`", "")
            what = f"the value does not fit {word}"
            yield f"decoder.{key}", PluginError(what, got=repr(value), expected=expected)
    for key, one in fields.items():
        misspelt = any(nearest(word, [key]) for word in own if word not in fields)
        if one.required and key not in own and not misspelt:
            yield "decoder", PluginError(f'{word} lacks the key "{key}"')


def _speaks_of(error: SovereignError, config: dict[str, Any]) -> str:
    """The key whose value the error names, such as the path of a file."""
    said = f"{error.what} {error.where} {error.got}"
    for key, value in _own(config).items():
        if isinstance(value, str) and value and value in said:
            return f"decoder.{key}"
    return "decoder.kind"
