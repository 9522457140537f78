"""Executes docs/notebook/blip2.ipynb, and compares what its cells say with what is committed.

    run.py [--update]

Fails on a cell that fails, and on a text that is another than the committed one; pictures are not compared, since
they are drawn with numbers that may differ in their last bits from one processor to the next. With `--update` what the
cells say is written into the notebook.
"""

import argparse
import pathlib
import sys
import time

import nbformat
from nbclient import NotebookClient

NOTEBOOK = pathlib.Path(__file__).resolve().parent / "blip2.ipynb"
# The first cell builds the library, Burn among it, where that has not been built yet.
LONGEST = 3600


def said(cell):
    """What a cell says, without pictures and without how long it took."""
    texts = []
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream":
            if output["name"] == "stdout":
                texts.append(output["text"])
        else:
            texts.append(output.get("data", {}).get("text/plain", ""))
    return "\n".join(text.strip() for text in texts if text.strip())


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--update", action="store_true")
    update = arguments.parse_args().update
    committed = nbformat.read(NOTEBOOK, as_version=4)
    fresh = nbformat.read(NOTEBOOK, as_version=4)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    begun = time.time()
    client = NotebookClient(
        fresh,
        timeout=LONGEST,
        # A busy machine takes its time to start the kernel, too.
        startup_timeout=600,
        kernel_name="blip2-evcxr",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        record_timing=False,
        on_cell_executed=lambda cell, cell_index, execute_reply: print(
            f"   cell {cell_index} ({time.time() - begun:.0f} s): {said(cell)!r}", flush=True
        ),
    )
    client.execute()
    faults = []
    for place, (old, new) in enumerate(zip(committed.cells, fresh.cells)):
        if old.cell_type == "code" and said(old) != said(new):
            faults.append(f"cell {place} says\n{said(new)}\nand said\n{said(old)}")
    if update:
        # Whatever kernel ran it, readers have evcxr's own.
        fresh.metadata = committed.metadata
        # Warnings of the compiler and its progress are nothing to keep.
        for cell in fresh.cells:
            if cell.cell_type == "code":
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        nbformat.write(fresh, NOTEBOOK)
        print(f"wrote {NOTEBOOK}")
    elif faults:
        sys.exit("\n\n".join(faults))
    print(f"the notebook runs ({time.time() - begun:.0f} s)")


if __name__ == "__main__":
    main()
