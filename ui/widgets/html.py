"""HTML that is written here instead of being built of elements: a row of a long list is one element of a page so.

Whatever is put in is text and is escaped; only what was written here is taken as it is. It knows no page.
"""

from __future__ import annotations

from html import escape


class Html(str):
    """HTML in which everything from outside was escaped."""

    __slots__ = ()


def tag(name: str, classes: str, *content: str, **attributes: str) -> Html:
    """Write an element; its name and the attributes' (aria_hidden for aria-hidden) are ours, the rest is anybody's.

    An address or a style from outside has no place in an attribute: escaping does not tame it.
    """
    said = {"class": classes, **attributes} if classes else attributes
    opened = "".join(f' {each.replace("_", "-")}="{escape(value, quote=True)}"' for each, value in said.items())
    return Html(f"<{name}{opened}>{join(*content)}</{name}>")


def join(*content: str) -> Html:
    """Write one after another."""
    return Html("".join(each if isinstance(each, Html) else escape(each, quote=True) for each in content))


def link(path: str, classes: str, *content: str, **attributes: str) -> Html:
    """Write a link to a page of ours, as NiceGUI draws one."""
    return tag("a", f"nicegui-link {classes}", *content, href=path, target="_self", **attributes)


def icon(name: str) -> Html:
    """Write an icon for the eye only, as Quasar draws one."""
    return tag("i", "q-icon notranslate material-icons", name, aria_hidden="true")
