"""What is in data/results/: complete for the book, readable, small, with provenance."""

from itertools import product

import pytest

from qbench import chapters, parameters, paths, store, sweep
from qbench.distillation import runs
from qbench.hardware.synthesis import synthesise_scaled
from qbench.studies import addnet_area, addnet_sets, distillation, syq_hardware


def published():
    return {entry.key: entry for entry in store.entries() if entry.published}


def test_the_book_finds_every_run_of_the_sweep_stored():
    """Else building the book would train for hours."""
    p = parameters.check(
        "02_bit_width_sweep", **chapters.parameters(chapters.find("02"), "published", {})
    )
    pairs = [*product(p.weight_bits, p.act_bits), *([(32, 32)] if p.baseline else [])]
    same = p.model_dump(include={"epochs", "hidden", "learning_rate", "dropout", "batch_size"})
    there = published()
    for dataset, (weight_bits, act_bits), seed in product(p.dataset, pairs, p.seeds):
        member = {"weight_bits": weight_bits, "act_bits": act_bits, "seed": seed}
        spec = store.spec(sweep.quant_mlp, dataset=dataset, **member, **same)
        assert store.key(spec) in there, spec


class Asked(Exception):
    """Instead of training: what would have been looked up or trained."""


def test_the_book_finds_every_training_of_chapter_06_stored(monkeypatch):
    """Else building the book would train teachers and students again: hours."""

    def run_each(function, asked, **_):
        raise Asked([store.spec(function, **one) for one in asked])

    monkeypatch.setattr(distillation.workers, "run_each", run_each)
    p = parameters.check(
        "06_distillation", **chapters.parameters(chapters.find("06"), "published", {})
    )
    same = p.model_dump(
        include={"alphas", "temperatures", "form", "learning_rate", "batch_size", "augment"}
    )
    there = published()
    for pair in p.pairs:
        scale = distillation.Scale(
            p.of("teacher_images", pair),
            p.of("teacher_epochs", pair),
            p.of("images", pair),
            p.of("epochs", pair),
        )
        teacher = distillation.teacher_of(pair, p.dataset, scale)
        with pytest.raises(Asked) as students:
            distillation.surface(pair, p.dataset, scale, seeds=p.seeds_of(pair), **same)
        # With the logits a reader who changes a parameter trains students, not the teacher.
        first = [
            store.spec(runs.teacher, **teacher),
            store.spec(runs.teacher_logits, teacher=teacher),
        ]
        for spec in first + students.value.args[0]:
            assert store.key(spec) in there, spec


def test_the_book_finds_the_units_of_chapter_11_stored():
    """Else building the book would need Yosys and minutes."""
    p = parameters.check("11_syq", **chapters.parameters(chapters.find("11"), "published", {}))
    there = published()
    for spec in syq_hardware.asked(p.units):
        assert store.key(store.spec(synthesise_scaled, **spec)) in there, spec


def test_the_book_finds_the_multipliers_of_chapter_12_stored(monkeypatch):
    """Else building the book would need Yosys and minutes, and half a minute for the 4-Add."""

    def look_up(function, **parameters):
        spec = store.spec(function, **parameters)
        assert store.key(spec) in there, spec
        return there[store.key(spec)].table()

    monkeypatch.setattr(store, "run", look_up)
    p = parameters.check("12_addnet", **chapters.parameters(chapters.find("12"), "published", {}))
    there = published()
    assert len(addnet_area.synthesised(p)) == 5 * len(p.input_bits) + 5
    assert addnet_sets.numbers()["4-Add"].notna().sum() == 4


def test_every_published_result_is_whole_and_says_where_it_comes_from():
    found = published()
    assert found
    for entry in found.values():
        table = entry.table()  # its digest is compared
        assert list(table.columns) == entry.record["columns"] and len(table) > 0
        assert entry.record["seconds"] > 0 and entry.record["date"]
        assert {"python", "torch", "numpy"} <= entry.record["versions"].keys()
        if entry.spec["method"] == "sweep.quant_mlp":
            epochs = entry.spec["parameters"]["epochs"]
            assert table["epoch"].tolist() == sweep.evaluation_epochs(epochs)
            assert table["test_error"].between(0, 100).all()


def test_published_results_stay_small():
    """Everybody who clones has them; the whole repository is to stay below 100 MB."""
    sizes = {file: file.stat().st_size for file in paths.PUBLISHED.rglob("*") if file.is_file()}
    networks = [size for file, size in sizes.items() if file.parent.name.endswith("_runs.final")]
    assert sum(sizes.values()) - sum(networks) < 30e6 and sum(networks) < 20e6
