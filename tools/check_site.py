"""
See that the built documentation loads nothing from another address.

Reads site/ after `zensical build`; a page may link elsewhere (`<a href>`), but no script, style, font or picture may
come from there. A mermaid diagram counts: its renderer would be fetched from a content network.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path

SITE = Path(__file__).resolve().parent.parent / "site"
LOADING = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src", "video": "src"}


class _Loads(HTMLParser):
    """Collects the addresses that a page would load when opened."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get(LOADING.get(tag, "")) or ""
        if address.startswith(("http:", "https:", "//")) and values.get("rel") != "canonical":
            self.found.append(f"<{tag}> {address}")
        if "mermaid" in (values.get("class") or "").split():
            self.found.append("a mermaid diagram")


def outside_loads(page: str) -> list[str]:
    """What this page would load from another address."""
    parser = _Loads()
    parser.feed(page)
    return parser.found


def main() -> int:
    """Look at every page; 1 when one loads from elsewhere, 2 when there is no site."""
    pages = sorted(SITE.rglob("*.html"))
    if not pages:
        print("site/ holds no page: run `zensical build` first", file=sys.stderr)
        return 2
    bad = [f"{page.relative_to(SITE)}: {what}" for page in pages for what in outside_loads(page.read_text("utf-8"))]
    print("\n".join(bad) or f"{len(pages)} pages load nothing from outside")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
