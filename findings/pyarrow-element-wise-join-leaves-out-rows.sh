#!/usr/bin/env bash
# pyarrow 26.0.1 (PyPI), Python 3.12 or newer.
#
# binary_join_element_wise joins columns of texts row by row, as for the attributes of features. Told to skip nulls it gives
# no value at all, not even an empty or a missing one, for a row in which every column is null: the result is shorter than
# the columns, and each later text stands beside the row before its own. The same columns give all rows where nulls are
# replaced, or make the row null.
#
# Output seen:
#   rows: 4
#   emit_null: 4 ['a-x', None, None, None]
#   replace: 4 ['a-x', '-', 'c-', '-y']
#   skip: 3 ['a-x', 'c', 'y']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$(dirname "$0")" # whose Python is 3.12 or newer
python3 -m venv "$folder/venv"
cd "$folder"
venv/bin/python -m pip install --quiet --disable-pip-version-check "pyarrow==26.0.1"
cat > ask.py <<'PY'
import pyarrow as pa
import pyarrow.compute as pc

columns = pa.array(["a", None, "c", None]), pa.array(["x", None, None, "y"])
print("rows:", len(columns[0]))
for handling in ("emit_null", "replace", "skip"):
    joined = pc.binary_join_element_wise(*columns, "-", null_handling=handling)
    print(f"{handling}: {len(joined)} {joined.to_pylist()}")
PY
venv/bin/python ask.py | tee seen
diff seen - <<'TXT'
rows: 4
emit_null: 4 ['a-x', None, None, None]
replace: 4 ['a-x', '-', 'c-', '-y']
skip: 3 ['a-x', 'c', 'y']
TXT
