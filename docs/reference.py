"""A hook of mkdocs: adapts the pages, which are written to be read in the repository, to the site."""

import re


def on_page_markdown(markdown: str, *, page, **_) -> str:
    """Links that leave this folder become text; the table of public names is followed by their full documentation."""
    markdown = re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", markdown)
    if page.file.src_path != "api.md":
        return markdown
    parts = []
    for section in re.split(r"(?m)^(?=## )", markdown):
        names = re.findall(r"(?m)^\| `bs\.([\w.]+)` \|", section)
        parts.append(section + "".join(f"\n::: brainsim.{name}\n    options: {{heading_level: 3}}\n" for name in names))
    return "\n".join(parts)
