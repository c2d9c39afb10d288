"""The example notebook is run from scratch: what is stored in it is what comes out.

python tests/test_notebook.py --update    runs it and stores its output
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "examples" / "derivations.ipynb"
NEEDED = "the example notebook needs the extra notebook: pip install '.[notebook]'"
SECONDS = 120  # for one cell: the longest takes some five
UPDATE = "if that is right: python tests/test_notebook.py --update"

nbformat = pytest.importorskip("nbformat", reason=NEEDED)
nbclient = pytest.importorskip("nbclient", reason=NEEDED)
pytest.importorskip("ipykernel", reason=NEEDED)


def stored() -> Any:
    """The notebook as it is in the repository."""
    return nbformat.read(NOTEBOOK, as_version=4)


def run(notebook: Any, folder: Path) -> Any:
    """The notebook, run from scratch in a folder; raises CellExecutionError where a cell does."""
    client = nbclient.NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(cwd=str(folder))
    for cell in code_cells(notebook):
        cell.outputs = [lean(output) for output in cell.outputs]
    notebook.metadata.language_info = {"name": "python"}  # not this machine's version
    return notebook


def lean(output: Any) -> Any:
    """Without the plain text of what is shown as a formula."""
    if "text/latex" in output.get("data", {}):
        output.data = {"text/latex": output.data["text/latex"]}
    return output


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cell: Any) -> list[Any]:
    return [dict(output) for output in cell.outputs]


def differences(old: Any, new: Any) -> list[str]:
    """What the cells give now and is not stored, a sentence for each cell."""
    pairs = zip(code_cells(old), code_cells(new), strict=True)
    return [
        f"cell {was.id}: stored is\n{outputs(was)}\nand this comes out:\n{outputs(now)}\n{UPDATE}"
        for was, now in pairs
        if (outputs(was), was.execution_count) != (outputs(now), now.execution_count)
    ]


def mathematics(notebook: Any) -> list[str]:
    """The formulas that are shown."""
    shown = (output for cell in code_cells(notebook) for output in cell.outputs)
    return [o.data["text/latex"] for o in shown if "text/latex" in o.get("data", {})]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERWISE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return run(stored(), tmp_path_factory.mktemp("notebook"))


def test_what_is_stored_is_what_comes_out(fresh: Any) -> None:
    assert not differences(stored(), fresh), differences(stored(), fresh)[0]


def test_every_cell_says_something_and_no_cell_complains(fresh: Any) -> None:
    for cell in code_cells(fresh):
        kinds = [output.output_type for output in cell.outputs]
        assert kinds == ["execute_result"], f"cell {cell.id}: {kinds}"


def test_formulas_are_whole(fresh: Any) -> None:
    """Displayed, one pair of dollars around it, braces and environments closed."""
    assert len(mathematics(fresh)) == 14
    for formula in mathematics(fresh):
        assert formula.startswith("$\\displaystyle ") and formula.endswith("$")
        assert formula.count("{") == formula.count("}")
        assert formula.count("\\begin{aligned}") == formula.count("\\end{aligned}")
        assert formula.count("\\left") == formula.count("\\right")


def test_another_output_is_noticed(fresh: Any) -> None:
    """Not of a formula, of plain text, of an output that is missing, or of one too many."""
    for change in (_another_formula, _another_text, _none, _twice):
        damaged = stored()
        change(damaged)
        assert len(differences(damaged, fresh)) == 1, change.__name__


def _another_formula(notebook: Any) -> None:
    (output,) = code_cells(notebook)[0].outputs
    output.data["text/latex"] = output.data["text/latex"].replace("n", "k", 1)


def _another_text(notebook: Any) -> None:
    cell = next(c for c in code_cells(notebook) if "text/plain" in c.outputs[0].data)
    cell.outputs[0].data["text/plain"] += " "


def _none(notebook: Any) -> None:
    code_cells(notebook)[3].outputs = []


def _twice(notebook: Any) -> None:
    code_cells(notebook)[3].outputs *= 2


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(__doc__)
    nbformat.write(run(stored(), Path(os.curdir)), NOTEBOOK)
