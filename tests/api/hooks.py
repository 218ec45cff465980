"""How schemathesis sends what is neither JSON nor a form: a list a line, or a row, for each of its parts."""

import csv
import io
import json

import schemathesis


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value)


@schemathesis.serializer("application/x-ndjson")
def lines(_context, value):
    parts = value if isinstance(value, list) else [value]
    return {"data": "\n".join(json.dumps(part) for part in parts).encode()}


@schemathesis.serializer("text/csv")
def rows(_context, value):
    if not isinstance(value, (dict, list)):
        return {"data": as_text(value).encode(errors="surrogatepass")}
    records = [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, dict)]
    names = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(names)
    table.writerows([as_text(record.get(name, "")) for name in names] for record in records)
    return {"data": text.getvalue().encode(errors="surrogatepass")}
