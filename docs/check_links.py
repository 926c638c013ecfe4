"""Follow every link of a built site: python docs/check_links.py FOLDER

Each leads to a file of the site, and to a place in it where it names one; no page loads anything from elsewhere.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, what it loads, and the names of its places."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links, self.loads, self.places = set(), set(), {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note one tag."""
        found = {name: value for name, value in attributes if value}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        loaded = found.get("src") or (tag == "link" and found.get("href"))
        self.loads |= {loaded} if loaded else set()
        self.links |= {found["href"]} if tag == "a" and "href" in found else set()


def faults(site: Path) -> list[str]:
    """Return a sentence for each link that leads nowhere and for each thing that is loaded from elsewhere."""
    pages = {path: Page(path) for path in site.resolve().rglob("*.html")}
    found = []
    for path, page in pages.items():
        found += [f"{path}: loads {link}" for link in page.loads if urlsplit(link).netloc]
        for link in page.links | page.loads:
            scheme, host, target, _, place = urlsplit(link)
            end = (path.parent / unquote(target)).resolve() if target else path
            if scheme or host:
                continue
            if not end.exists() or (end in pages and unquote(place) not in pages[end].places):
                found.append(f"{path}: {link} leads nowhere")
    return sorted(found)


if __name__ == "__main__":
    found = faults(Path(sys.argv[1]))
    print(*found, sep="\n")
    sys.exit(bool(found))
