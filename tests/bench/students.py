"""An epoch of a student beside plain PyTorch loops, and several students at once.

`make bench` measures anew, prints medians and ratios, and stores what was measured as local
results. Leave the machine alone meanwhile. `--rounds 1` is a quick look, stored under other keys.
"""

import sys

from sweep import asked, keys, measure, show

from qbench import speed_distillation
from qbench.errors import UserError


def main() -> None:
    fewer = asked(__doc__)
    epoch = measure(speed_distillation.student_epoch, **fewer)
    show("One epoch of a student", speed_distillation.beside(epoch))
    together = measure(speed_distillation.students_together, **fewer)
    show("Several students", speed_distillation.together(together))
    print(f"\nTo publish: qbench results publish {' '.join(keys)}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
