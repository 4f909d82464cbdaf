"""The form of chapter 16 in headless Chromium: what its script says is what Python says."""

import json
import random
from dataclasses import asdict
from math import inf

import choice_toy as toy
import pytest

from qbench import parameters
from qbench.studies import choice_page as shown
from qbench.studies.choice import Wanted

MOST = 3


def offered():
    """Three networks for the FPGA, and one of them for the CPU too."""
    designs = [
        [(30.0, 100, 5, 0), (1e4, 400, 10, 0)],
        [(1525.6, 250, 20, 0)],
        [(1e3, 900, None, 9)],
    ]
    networks = [
        toy.network("narrow <3>", 88.5767, cpu=590.125),
        toy.network("wide", 90.0, half=None, design=1, energy=0.125),
        toy.network("sparse", 91.5, design=2, method="sparse ternary"),
    ]
    return toy.offer(networks, designs)


def asked(**values):
    given = {"dataset": "mnist", "datasets": "mnist,cifar10", "accuracy": 80} | values
    return parameters.check(shown.CHAPTER, **given)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "choice.html"
    html = shown.widget(offered(), asked()).html
    head = (
        '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    )
    file.write_text(f"{head}<main>{html}</main>", encoding="utf-8")
    return file


def opened(browser, file, **how):
    page = browser.new_context(offline=True, **how).new_page()
    page.set_default_timeout(90_000)  # a loaded machine takes its time
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(file.as_uri())
    return page


def on_page(page):
    """Sentences and rows as a reader has them."""
    return page.evaluate(
        """() => ({
          said: [...document.querySelectorAll(".qb-said p")].map((p) => p.textContent),
          rows: [...document.querySelectorAll(".qb-chosen tbody tr")].map(
            (line) => [...line.cells].map((cell) => [...cell.childNodes].map((n) => n.textContent)),
          ),
        })"""
    )


def in_python(wanted, device=toy.DEVICE, dataset=toy.DATASET):
    told = shown.answer(offered(), dataset, device, wanted, asked().most_rows)
    rows = [[value if isinstance(value, list) else [value] for value in r] for r in told.rows]
    return {"said": told.said, "rows": rows}


def test_the_script_and_python_answer_the_same(browser, file):
    source, cases = random.Random(16), []
    for _ in range(300):
        every, wanted = toy.random_offer(source), toy.random_wanted(source)
        device = source.choice([toy.DEVICE, "CPU"])
        left = {f"{toy.DATASET} {device}": shown.left_out(every, toy.DATASET, device)}
        told = asdict(shown.answer(every, toy.DATASET, device, wanted, MOST))
        asks = {name: None if value == inf else value for name, value in asdict(wanted).items()}
        cases.append((asdict(every) | {"left": left, "most": MOST}, device, asks, told))
    page = opened(browser, file)
    answers = page.evaluate(
        """(cases) => cases.map(([every, device, wanted]) =>
          qbenchChoice.answer(every, "mnist", device, {
            ...wanted, energy: wanted.energy ?? Infinity,
          }))""",
        json.loads(json.dumps([case[:3] for case in cases])),
    )
    assert answers == json.loads(json.dumps([case[3] for case in cases]))
    assert sum("Nothing fits" in case[3]["said"][0] for case in cases) > 20
    assert sum(len(case[3]["rows"]) > 1 for case in cases) > 30
    assert page.faults == []


def test_the_form_answers_as_python_does_and_says_the_command(browser, file):
    page = opened(browser, file)
    first = Wanted(80, 30, 0.8)
    assert on_page(page) == in_python(first)
    page.get_by_label("Accuracy, at least (%)").fill("91")
    assert on_page(page) == in_python(Wanted(91, 30, 0.8))
    assert "sparse" in on_page(page)["rows"][0][0][0]
    page.get_by_label("Part of the FPGA").fill("95")
    assert on_page(page) == in_python(Wanted(91, 30, 0.95))
    assert page.locator(".qb-command code").inner_text() == (
        "qbench run 16 -p device Z7020 -p dataset mnist -p accuracy 91 -p frames_per_second 30 "
        "-p share 0.95 -p prefer accuracy"
    )
    page.get_by_label("Device").select_option("CPU")
    page.get_by_label("Data set").select_option("cifar10")
    assert on_page(page) == in_python(Wanted(91, 30, 0.95), "CPU", "cifar10")
    page.get_by_role("button", name="As at first").click()
    page.wait_for_function("document.querySelector('#qb-choice-accuracy').value === '80'")
    page.wait_for_function("document.querySelectorAll('.qb-chosen tbody tr').length > 0")
    assert on_page(page) == in_python(first) and page.faults == []


def test_what_cannot_be_asked_is_a_sentence_in_the_form_too(browser, file):
    page = opened(browser, file)
    page.get_by_label("Accuracy, at least (%)").fill("101")
    said = "accuracy must be a number of at least 0 and at most 100, not 101."
    assert on_page(page) == {"said": [said], "rows": []}
    assert not page.locator(".qb-command").is_visible()
    page.get_by_label("Energy").fill("-1")
    assert on_page(page)["said"][1] == (
        "energy must be a number above 0, or None for no limit, not -1."
    )


def test_it_is_used_with_the_keyboard_and_fits_a_phone(browser, file):
    page = opened(browser, file, viewport={"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.get_by_label("Device").focus()
    for name in ("dataset", "accuracy", "frames_per_second", "share", "energy", "prefer"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == name
    page.keyboard.press("ArrowDown")
    assert on_page(page) == in_python(Wanted(80, 30, 0.8, prefer="frames_per_second"))


def test_without_a_script_the_answer_stands_and_no_form(browser, file):
    page = opened(browser, file, java_script_enabled=False)
    assert page.locator(".qb-chosen tbody tr").count() == len(
        in_python(Wanted(80, 30, 0.8))["rows"]
    )
    assert not page.locator("form").is_visible()


def test_in_the_book_the_scripts_are_linked_and_data_cannot_end_them(monkeypatch):
    monkeypatch.setenv("QBENCH_BOOK", "1")
    every = offered()
    every.networks[0]["name"] = "</script><b>"
    html = shown.widget(every, asked()).html
    assert html.count("</script>") == 1 + len(shown.SCRIPTS) and "<b>" not in html
    assert all(f'src="../_static/{name}"' in html for name in shown.SCRIPTS)
