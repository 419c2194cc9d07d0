"""Makes the references of what was sent plain: "Type/id", or the urn:uuid of an entry of the same Bundle.

A contained resource (FHIR R4 references, "Contained Resources") becomes an entry of its own; an absolute address or a
version of a resource of this server becomes its "Type/id", whatever name of the server a proxy has put before it.

Pure. For the practice bus and for our own /fhir; the client of the bus must not import it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from broker.bus.fhir_server.rules import Resource

_OF_A_SERVER = re.compile(
    r"(?:https?://[!-~]+/)?([A-Z][A-Za-z]{2,40}/[A-Za-z0-9][A-Za-z0-9.\-]{0,63})(?:/_history/[A-Za-z0-9.\-]{1,64})?"
)


def plain(resource: Resource) -> Resource:
    """Return a copy of a resource whose references have no server and no version in them."""
    made: Resource = _mapped(resource, _without_server)
    return made


def lift_contained(resource: Resource) -> tuple[Resource, dict[str, Resource]]:
    """Return a resource without what it contains, and that by its fullUrl; equal ones have the same fullUrl.

    What has no id or no type, and references to it, stay as they are: the rules refuse them.
    """
    contained = resource.get("contained")
    if not isinstance(contained, list):
        return resource, {}
    urls: dict[str, str] = {}
    lifted: dict[str, Resource] = {}
    left = []
    for each in contained:
        named = (each.get("id"), each.get("resourceType")) if isinstance(each, dict) else ()
        if not named or not all(isinstance(name, str) for name in named):
            left.append(each)
            continue
        content = {key: value for key, value in each.items() if key != "id"}
        url = f"urn:uuid:{uuid5(NAMESPACE_URL, json.dumps(content, sort_keys=True, ensure_ascii=False))}"
        urls[f"#{each['id']}"] = url
        lifted[url] = content
    whole = {key: value for key, value in resource.items() if key != "contained"}
    whole |= {"contained": left} if left else {}
    return _to_entries(whole, urls), {url: _to_entries(each, urls) for url, each in lifted.items()}


def _to_entries(resource: Resource, urls: Mapping[str, str]) -> Resource:
    made: Resource = _mapped(resource, lambda reference: urls.get(reference, reference))
    return made


def _without_server(reference: str) -> str:
    found = _OF_A_SERVER.fullmatch(reference)
    return found[1] if found else reference


def _mapped(node: Any, change: Callable[[str], str]) -> Any:
    """Return a copy in which every reference is changed; an attachment's address only if it is one of a Binary."""
    if isinstance(node, dict):
        return {
            key: change(value)
            if isinstance(value, str) and (key == "reference" or (key == "url" and "Binary/" in value))
            else _mapped(value, change)
            for key, value in node.items()
        }
    return [_mapped(item, change) for item in node] if isinstance(node, list) else node
