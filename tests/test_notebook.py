"""The example notebook is run from scratch: what is stored in it is what comes out.

python tests/test_notebook.py --update    runs it and stores its output
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "examples" / "derivations.ipynb"
NEEDED = "the example notebook needs the extra notebook: pip install '.[notebook]'"
OWN = ("LAYERWISE_CACHE", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")
SECONDS = 120  # for one cell: the longest takes some five
UPDATE = "if that is right: python tests/test_notebook.py --update"
NUMBERS = ("prove", "compile", "central")  # the cells that show no formula
FORMULA = re.compile(r"\$\$\n(.*?)\n\$\$|\$\\displaystyle (.*?)\$", re.DOTALL)

nbformat = pytest.importorskip("nbformat", reason=NEEDED)
nbclient = pytest.importorskip("nbclient", reason=NEEDED)
pytest.importorskip("ipykernel", reason=NEEDED)


def stored() -> Any:
    """The notebook as it is in the repository."""
    return nbformat.read(NOTEBOOK, as_version=4)


def run(notebook: Any) -> Any:
    """The notebook, run in an empty folder, without what the user has configured or compiled.

    Raises CellExecutionError where a cell does.
    """
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name in OWN:
            patch.setenv(name, str(Path(folder, name)))
        client = nbclient.NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", record_timing=False
        )
        client.execute(cwd=folder)
    for cell in code_cells(notebook):
        cell.outputs = [lean(output) for output in cell.outputs]
    notebook.metadata.language_info = {"name": "python"}  # not this machine's version
    return notebook


def lean(output: Any) -> Any:
    """Without the plain text of what is shown as a formula."""
    if "text/latex" in output.get("data", {}):
        del output.data["text/plain"]
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


@pytest.fixture(scope="module")
def fresh() -> Any:
    return run(stored())


def test_what_is_stored_is_what_comes_out(fresh: Any) -> None:
    found = differences(stored(), fresh)
    assert not found, found[0]


def test_every_cell_says_something_and_none_complains(fresh: Any) -> None:
    for cell in code_cells(fresh):
        kinds = [output.output_type for output in cell.outputs]
        assert kinds == ["execute_result"], f"cell {cell.id}: {kinds}"


def test_all_but_numbers_are_shown_as_formulas(fresh: Any) -> None:
    """Whole ones: their braces and environments are closed."""
    for cell in code_cells(fresh):
        latex = cell.outputs[0].data.get("text/latex", "")
        found = [one or other for one, other in FORMULA.findall(latex)]
        assert bool(found) == (cell.id not in NUMBERS), cell.id
        for formula in found:
            braces = formula.replace(r"\{", "").replace(r"\}", "")
            assert braces.count("{") == braces.count("}"), formula
            assert formula.count(r"\begin{") == formula.count(r"\end{"), formula


# --- a notebook that is not current is refused


def _another_formula(notebook: Any) -> None:
    (output,) = code_cells(notebook)[0].outputs
    output.data["text/latex"] = output.data["text/latex"].replace("n", "k", 1)


def _another_number(notebook: Any) -> None:
    cell = next(c for c in code_cells(notebook) if c.id in NUMBERS)
    cell.outputs[0].data["text/plain"] += " "


def _no_output(notebook: Any) -> None:
    code_cells(notebook)[3].outputs = []


def _an_output_twice(notebook: Any) -> None:
    code_cells(notebook)[3].outputs *= 2


def _not_run_from_the_top(notebook: Any) -> None:
    code_cells(notebook)[3].execution_count += 1


DAMAGES = (_another_formula, _another_number, _no_output, _an_output_twice, _not_run_from_the_top)


@pytest.mark.parametrize("damage", DAMAGES)
def test_another_output_is_noticed(fresh: Any, damage: Callable[[Any], None]) -> None:
    damaged = stored()
    damage(damaged)
    assert len(differences(damaged, fresh)) == 1


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(__doc__)
    nbformat.write(run(stored()), NOTEBOOK)
