"""HTML written as text instead of as NiceGUI elements, so that a row of a long list is one element of the page.

Everything is `markupsafe.Markup`: text that is put in is escaped unless it is Markup already.
"""

from __future__ import annotations

from markupsafe import Markup, escape


def tag(name: str, classes: str, *content: str, **attributes: str) -> Markup:
    """Return an element; an attribute's underscores become hyphens (aria_hidden is aria-hidden).

    The names are the program's own; contents and attribute values may come from anywhere. An address or a style from
    outside has no place in an attribute: escaping does not make it harmless.
    """
    values = {"class": classes, **attributes} if classes else attributes
    opened = "".join([f' {key.replace("_", "-")}="{escape(value)}"' for key, value in values.items()])
    return Markup(f"<{name}{opened}>{''.join(map(escape, content))}</{name}>")


def join(*content: str) -> Markup:
    """Return the contents one after another."""
    return Markup("".join(map(escape, content)))


def link(path: str, classes: str, *content: str, **attributes: str) -> Markup:
    """Return a link to one of the program's pages, as NiceGUI draws one."""
    return tag("a", f"nicegui-link {classes}", *content, href=path, target="_self", **attributes)


def icon(name: str) -> Markup:
    """Return a decorative icon as Quasar draws one; screen readers skip it."""
    return tag("i", "q-icon notranslate material-icons", name, aria_hidden="true")
