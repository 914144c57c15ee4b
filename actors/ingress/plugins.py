"""Find a decoder: an entry point of `sovereign.decoders`, or `module:Class`; decode its own keys strictly."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

import msgspec

from sovereign.actors.ingress.decoder import Decoder
from sovereign.runtime.errors import PluginError


def decoder_class(config: dict[str, Any]) -> type[Decoder]:
    """The class that `kind` names. PluginError when there is none."""
    name = str(config.get("kind", ""))
    target = name
    if ":" not in name:
        found = {one.name: one.value for one in entry_points(group="sovereign.decoders")}
        if name not in found:
            raise PluginError(f"no decoder is named {name!r}", expected=", ".join(sorted(found)))
        target = found[name]
    module, _, attribute = target.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise PluginError(f"decoder {name} does not import: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Decoder)):
        raise PluginError(f"{target} is no decoder", expected="a subclass of Decoder")
    return kind


def make_decoder(config: dict[str, Any]) -> Decoder:
    """The decoder, with its keys checked. PluginError names the key."""
    kind = decoder_class(config)
    own = {key: value for key, value in config.items() if key != "kind"}
    try:
        return kind(msgspec.convert(own, kind.Config, strict=True))
    except msgspec.ValidationError as error:
        raise PluginError(f"decoder {config.get('kind')}: {error}") from error
