"""A book of fifty more chapters: what making, building and building it again take.

In a copy of the checkout, which is thrown away, the template becomes 50 chapters, or as many as are
named behind the command; all chapters are executed and rendered. Minutes: not part of `make bench`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from qbench import paths, provenance

CHAPTERS = 50
MAKE = (
    "import sys; from qbench import new_chapter\n"
    "for number in range(int(sys.argv[1])):\n"
    "    new_chapter.create(f'question_{number}', f'Question {number} of many?')"
)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else CHAPTERS
    machine = provenance.machine()
    print(f"{machine['processor']}, {machine['cores']} cores; {count} chapters more")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "checkout"
        unwanted = shutil.ignore_patterns(".*", "_build", "__pycache__", "*.egg-info")
        shutil.copytree(paths.ROOT, root, ignore=unwanted)
        shutil.rmtree(root / "results", ignore_errors=True)  # ours; the published ones are needed
        environment = os.environ | {"PYTHONPATH": str(root), "QBENCH_RESULTS": f"{folder}/results"}

        def seconds(*command: str) -> float:
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, *command], cwd=root, env=environment, stdout=subprocess.DEVNULL
            )
            if done.returncode:
                sys.exit(f"{' '.join(command)[:60]} ended with status {done.returncode}")
            return time.perf_counter() - started

        rows = {
            "qbench new, all of them": seconds("-c", MAKE, str(count)),
            "qbench chapters": seconds("-m", "qbench", "chapters"),
            "qbench book": seconds("-m", "qbench", "book"),
            "qbench book, nothing changed": seconds("-m", "qbench", "book"),
        }
        made = list((root / "_build" / "book" / "_build" / "html" / "notebooks").glob("*.html"))
        sources = list((root / "notebooks").glob("*.ipynb"))
        assert len(made) == len(sources) > count
        size = sum(file.stat().st_size for file in (root / "_build" / "book").rglob("*.html"))
    for what, took in rows.items():
        print(f"{took:8.1f} s  {what}")
    print(f"{len(made)} chapters, {size / 1e6:.0f} MB of HTML")


if __name__ == "__main__":
    main()
