"""Whole trainings in the fused sweep beside the same with Brevitas: about 15 minutes, resumable."""

from qbench import store
from qbench.studies import beside_brevitas


def main() -> None:
    table = store.run(beside_brevitas.trainings)
    print(beside_brevitas.differences(table).round(3).to_string(index=False))
    apart = beside_brevitas.told_apart(table)
    print(f"{apart.sum()} of {len(apart)} configurations are told apart by their seeds")
    key = store.key(store.spec(beside_brevitas.trainings))[:12]
    print(f"\nTo publish: qbench results publish {key}")


if __name__ == "__main__":
    main()
