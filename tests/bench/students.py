"""An epoch of a student beside plain PyTorch loops, and several students at once.

`make bench` measures anew, prints medians and ratios, and stores what was measured as local
results. Leave the machine alone meanwhile. `--rounds 1` is a quick look, stored under other keys.
"""

from sweep import asked, measure, run, show

from qbench import speed_distillation


def main() -> None:
    fewer = asked(__doc__)
    epoch = measure(speed_distillation.student_epoch, **fewer)
    show("One epoch of a student", speed_distillation.beside(epoch))
    together = measure(speed_distillation.students_together, **fewer)
    show("Several students", speed_distillation.together(together))


if __name__ == "__main__":
    run(main)
