"""Closes the API's description: an answer with a field that is not in it shall be a fault.

The document itself leaves answers open, so that clients made from it outlive new fields.
"""


def parts_of_others(node, found):
    """The schemas that stand in an allOf: these cannot be closed by themselves."""
    if isinstance(node, dict):
        for part in node.get("allOf", []):
            if "$ref" in part:
                found.add(part["$ref"].rsplit("/", 1)[1])
        for value in node.values():
            parts_of_others(value, found)
    elif isinstance(node, list):
        for value in node:
            parts_of_others(value, found)
    return found


def close(node):
    if isinstance(node, list):
        for value in node:
            close(value)
    elif isinstance(node, dict):
        if "allOf" in node:
            node["unevaluatedProperties"] = False
        elif node.get("type") == "object" and "properties" in node:
            node.setdefault("additionalProperties", False)
        for name, value in node.items():
            if name != "allOf":
                close(value)


def close_answers(document):
    open_schemas = parts_of_others(document, set())
    for name, schema in document["components"]["schemas"].items():
        if name not in open_schemas:
            close(schema)
    close(document["components"]["responses"])
    close(document["paths"])
