"""The reference pages say what the code does."""

import re

import pytest

from docs.reference import FOLDER, pages

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_not_stale(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name], "write them again: python -m docs.reference"


def test_all_fields_have_words_and_all_links_lead_somewhere() -> None:
    anchors = {name: {re.sub(r"[^a-z0-9_ -]", "", line.lstrip("# ").lower()).replace(" ", "-")
               for line in text.splitlines() if line.startswith("#")} for name, text in PAGES.items()}  # fmt: skip
    for name, text in PAGES.items():
        for page, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
            assert not anchor or anchor in anchors[page or name], (name, page, anchor)
            assert not page or page in PAGES
