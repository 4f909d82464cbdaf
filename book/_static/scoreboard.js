/* Filters the scoreboard by publication, chapter and verdict, and keeps the choice in the address.
 *
 * Each row has its verdict in data-v ("-" and a reason where it has none) and the chapters that
 * judged it in data-c; its table has the publication. Without this script the form stays hidden
 * and every row is shown.
 */
(() => {
  "use strict";

  const form = document.querySelector("form.qb-filter");
  if (!form) return;
  const fields = [...form.querySelectorAll("select")];
  const said = form.querySelector("output");
  const tables = [...document.querySelectorAll("table.qb-score")];
  const rows = tables.reduce((sum, table) => sum + table.querySelectorAll("[data-v]").length, 0);
  const count = new Intl.NumberFormat("en-GB");

  const fits = (row, { chapter, verdict }) =>
    (!chapter || (row.dataset.c ?? "").split(", ").includes(chapter)) &&
    (!verdict || row.dataset.v === verdict || (verdict === "-" && row.dataset.v.startsWith("-")));

  /* Hide what does not fit, and every group, table and section that is left empty. */
  function show(wanted) {
    let total = 0;
    const filtered = Object.values(wanted).some(Boolean);
    for (const table of tables) {
      const here = !wanted.publication || table.dataset.publication === wanted.publication;
      let inTable = 0;
      for (const group of table.tBodies) {
        let inGroup = 0;
        for (const row of group.querySelectorAll("[data-v]")) {
          row.hidden = !(here && fits(row, wanted));
          inGroup += !row.hidden;
        }
        group.hidden = !inGroup;
        inTable += inGroup;
      }
      (table.closest("section") ?? table).hidden = !inTable;
      table.parentElement.style.contentVisibility = filtered ? "visible" : "";
      total += inTable;
    }
    said.textContent = `${count.format(total)} of ${count.format(rows)} shown`;
  }

  const chosen = () => Object.fromEntries(fields.map(({ name, value }) => [name, value]));

  function choose() {
    const wanted = chosen();
    const set = Object.entries(wanted).filter(([, value]) => value);
    const hash = set.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
    show(wanted);
  }

  /* `#verdict=differs&publication=…`, as the front page links here; other anchors filter nothing. */
  function read() {
    const asked = new URLSearchParams(location.hash.slice(1));
    if (location.hash && !fields.some(({ name }) => asked.has(name))) return;
    for (const field of fields) {
      const value = asked.get(field.name) ?? "";
      field.value = [...field.options].some((option) => option.value === value) ? value : "";
    }
    show(chosen());
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", choose);
  form.addEventListener("reset", () => setTimeout(choose)); // after the fields have been reset
  addEventListener("hashchange", read);
  show(chosen());
  read();
})();
