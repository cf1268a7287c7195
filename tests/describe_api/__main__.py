"""Write the pages about every public name: python -m tests.describe_api."""

from tests.describe_api.chapters import DOCS, PAGES
from tests.describe_api.page import page

for each in PAGES:
    (DOCS / each.path).write_text(page(each), encoding="utf-8")
