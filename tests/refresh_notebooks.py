"""Execute the notebooks as they are and keep the outputs of the checked cells (`make notebooks`).

Run it after a change to a cell marked `# NBVAL_CHECK_OUTPUT`, and read the difference in git: what
changes here is what CI will compare with.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbval.plugin import coalesce_streams

from qbench import chapters
from qbench.execute import Job, run_all

MARK = "# NBVAL_CHECK_OUTPUT"


def main(names: list[str]) -> None:
    found = [chapters.find(name) for name in names] or chapters.all_chapters()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [Job(c.name, c.file, {}, Path(folder) / f"{c.name}.ipynb") for c in found]
        for job, outcome in zip(jobs, run_all(jobs), strict=True):
            if outcome.failure:
                sys.exit(outcome.failure)
            executed = nbformat.read(job.output, as_version=4)
            source = nbformat.read(job.source, as_version=4)
            done = {cell.id: cell for cell in executed.cells}
            for cell in source.cells:
                if cell.cell_type == "code":
                    checked = cell.source.startswith(MARK)
                    kept = done[cell.id].outputs if checked else []
                    kept = [output for output in kept if output.get("name") != "stderr"]
                    cell.outputs = coalesce_streams(kept)
                    cell.execution_count = done[cell.id].execution_count if checked else None
            nbformat.write(source, job.source)


if __name__ == "__main__":
    main(sys.argv[1:])
