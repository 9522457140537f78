"""Reads what `.ci/tables` had written, with pyarrow, DuckDB and NumPy, and compares."""

import json
import pathlib
import sys

import duckdb
import numpy
import pyarrow
import pyarrow.parquet

work = pathlib.Path(sys.argv[1])
table = pyarrow.parquet.read_table(work / "colors.parquet")
rows = table.to_pylist()
assert len(rows) == len(list(pathlib.Path("examples/images").glob("*.png"))), len(rows)
for row in rows:
    # A picture is called by its colour, and the demonstration model knows all but black and grey well.
    color = pathlib.Path(row["image"]).name.split("-")[0]
    assert row["error"] is None and row["answer"], row
    assert row["answer"] == color or color in ("black", "gray"), row
    assert 0 < row["answer_confidence"] <= 1 and row["answer_log_prob"] <= 0, row
    assert row["answer_finish_reason"] == "eos", row

vectors = table.column("embedding")
assert pyarrow.types.is_fixed_size_list(vectors.type), vectors.type
flat = vectors.combine_chunks()
shape = [len(rows)]
while pyarrow.types.is_fixed_size_list(flat.type):
    shape.append(flat.type.list_size)
    flat = flat.flatten()
assert flat.type == pyarrow.float32(), flat.type
saved = numpy.load(work / "colors.npy")
names = json.loads((work / "colors.names.json").read_text())
# A table has its pictures' paths from its own folder on, a list of vectors those that were given.
assert [pathlib.Path(name).resolve() for name in names] == [(work / row["image"]).resolve() for row in rows], names
numpy.testing.assert_array_equal(flat.to_numpy().reshape(shape), saved)

database = duckdb.connect()
answers = [row["answer"] for row in rows]
query = f"select answer from read_parquet('{work}/colors.parquet') order by image"
assert [found for (found,) in database.sql(query).fetchall()] == answers
query = f"select answer, error from read_parquet('{work}/parts/*.parquet') order by image"
assert database.sql(query).fetchall() == [(answer, None) for answer in answers]
folder = pyarrow.parquet.read_table(work / "parts")
assert folder.column("answer").to_pylist() == answers
query = f"select answer, again_caption from read_json('{work}/again.jsonl') order by image"
again = database.sql(query).fetchall()
assert [answer for (answer, _) in again] == answers and all(caption for (_, caption) in again), again
print(f"{len(rows)} rows, vectors of the shape {shape[1:]}: pyarrow, DuckDB and NumPy read the same")
