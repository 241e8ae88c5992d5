"""What an item patch is made of: its title, or a text of title and catalog fields such as "{title} ({year})"."""

from string import Formatter

from patchrec.data.catalog import Catalog
from patchrec.errors import UsageError, unknown

TITLE = "{title}"


def item_texts(catalog: Catalog, template: str) -> tuple[str, ...]:
    """(I,) the text of every item; a field that an item does not have is left blank, a list reads "a, b".

    Args:
        catalog: The items.
        template: Text with fields in braces: `title`, or a column of the catalog's metadata.

    Raises:
        UsageError: No field at all, one that the catalog does not have, or braces that do not close.
    """
    try:
        parts = [(before, field) for before, field, spec, conversion in Formatter().parse(template)]
    except ValueError as error:
        raise UsageError(f"--item-text {template!r}: {error}; write fields as in '{{title}} ({{year}})'") from error
    known = {"title", *(key for item in catalog.metadata for key in item)}
    fields = [field for _, field in parts if field is not None]
    if not fields:
        raise UsageError(f"--item-text {template!r} names no field; write it as in '{{title}} ({{year}})'")
    for field in fields:
        if field not in known:
            raise UsageError(f"--item-text {template!r}: {unknown('field', field, known)}")
    metadata = catalog.metadata or ({},) * len(catalog)
    texts = []
    for title, item in zip(catalog.titles, metadata, strict=True):
        values = {**item, "title": title}
        texts.append("".join(before + ("" if field is None else _shown(values.get(field))) for before, field in parts))
    return tuple(texts)


def _shown(value: object) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
