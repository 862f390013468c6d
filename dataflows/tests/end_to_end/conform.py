"""Checks records against their schemas: `conform.py SCHEMA RECORDS [SCHEMA RECORDS]...`.

RECORDS holds a record a line, `{"partition", "key", "value"}`, the value as text. Ends with 0 and a
line of counts where every schema is one and holds of its own examples and of every record (of the
first 2,000), and there are some.
"""

import json
import sys

import jsonschema

RECORDS_MAX = 2_000


def check(schema_path, records_path):
    with open(schema_path) as file:
        schema = json.load(file)
    kind = jsonschema.Draft202012Validator
    kind.check_schema(schema)
    assert schema["$schema"] == kind.META_SCHEMA["$id"], schema_path
    validator = kind(schema)
    with open(records_path) as lines:
        records = [json.loads(line) for line, _ in zip(lines, range(RECORDS_MAX))]
    assert records, f"{records_path}: no records"
    assert schema["examples"], f"{schema_path}: no examples"
    values = [json.loads(record["value"]) for record in records]
    for value in schema["examples"] + values:
        for error in validator.iter_errors(value):
            raise SystemExit(f"{schema_path}: {error.message} in {json.dumps(value)}")
    # The key is a field of the value: the first one.
    field = next(iter(schema["properties"]))
    assert all(record["key"] == value[field] for record, value in zip(records, values))
    return len(values)


pairs = zip(sys.argv[1::2], sys.argv[2::2])
print(json.dumps({schema.rsplit("/", 1)[-1]: check(schema, records) for schema, records in pairs}))
