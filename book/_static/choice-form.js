/* Makes the form of chapter 16 work: what is entered in it is answered by choice.js.
 *
 * The page has the answer for the chapter's own parameters already; without these scripts the form
 * stays hidden.
 */
(() => {
  "use strict";

  const { answer, FREE, CPU } = globalThis.qbenchChoice;

  const made = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  function fill(table, rows) {
    table.closest(".qb-table").hidden = !rows.length;
    const lines = rows.map((row) => {
      const line = document.createElement("tr");
      row.forEach((value, place) => {
        const [text, ...small] = [value].flat();
        const cell = made(place ? "td" : "th", text, place ? {} : { scope: "row" });
        cell.append(...small.map((one) => made("small", one)));
        line.append(cell);
      });
      return line;
    });
    table.tBodies[0].replaceChildren(...lines);
  }

  /* What the form asks, or a sentence about what cannot be asked. */
  function read(form, allowed) {
    const { device, dataset, accuracy, frames_per_second, share, energy, prefer } = form.elements;
    const faults = [];
    const number = (field, none, scale, fine) => {
      const empty = field.value === "" && !field.validity.badInput;
      const value = empty ? none : Number(field.value || NaN) / scale;
      if (!empty && !(Number.isFinite(value) && fine(value))) {
        const typed = field.validity.badInput ? "text" : field.value;
        const percent = scale === 100 ? " (here in %, of 100)" : "";
        faults.push(`${field.name} must be ${allowed[field.name]}${percent}, not ${typed}.`);
        field.setAttribute("aria-invalid", "true");
      } else field.removeAttribute("aria-invalid");
      return value;
    };
    const wanted = {
      accuracy: number(accuracy, FREE.accuracy, 1, (value) => value >= 0 && value <= 100),
      frames_per_second: Number(frames_per_second.value),
      share: number(share, FREE.share, 100, (value) => value > 0 && value <= 1),
      energy: number(energy, FREE.energy, 1, (value) => value > 0),
      prefer: prefer.value,
    };
    return { device: device.value, dataset: dataset.value, wanted, faults };
  }

  function command({ device, dataset, wanted }) {
    const given = { device, dataset, ...wanted };
    if (given.energy === Infinity) delete given.energy;
    const parts = Object.entries(given).map(([name, value]) => `-p ${name} ${value}`);
    return `qbench run 16 ${parts.join(" ")}`;
  }

  function start(root) {
    const every = JSON.parse(root.querySelector(".qb-data").textContent);
    const form = root.querySelector("form");
    const said = root.querySelector(".qb-said");
    const line = root.querySelector(".qb-command");
    const tables = ["chosen", "eased"].map((name) => root.querySelector(`.qb-${name}`));

    function show() {
      const entered = read(form, every.allowed);
      const { device, dataset, wanted, faults } = entered;
      form.elements.share.disabled = device === CPU;
      const found = faults.length
        ? { said: faults, rows: [], easing: [] }
        : answer(every, dataset, device, wanted);
      said.replaceChildren(...found.said.map((one) => made("p", one)));
      fill(tables[0], found.rows);
      fill(tables[1], found.easing);
      line.hidden = faults.length > 0;
      line.querySelector("code").textContent = command(entered);
    }

    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", show);
    form.addEventListener("reset", () => setTimeout(show)); // after the fields have been reset
    form.reset(); // a browser may remember what was entered before
    show();
  }

  for (const root of document.querySelectorAll(".qb-choice:not([data-started])")) {
    root.dataset.started = "";
    start(root);
  }
})();
