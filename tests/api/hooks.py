"""What schemathesis is told besides its settings.

It sends what is neither JSON nor a form as a list: a line, or a row, for each of its parts. Every answer of 5xx is noted
in the file that FUZZ_FAULTS names, since its settings let 503 pass.
"""

import csv
import io
import json
import os

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


@schemathesis.hook
def after_call(_context, case, response):
    if response.status_code >= 500:
        with open(os.environ["FUZZ_FAULTS"], "a", encoding="utf-8") as file:
            print(response.status_code, case.method, ascii(response.request.url), file=file)
