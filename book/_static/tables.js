/* Gives every table a button that saves it as CSV: what is shown, rows that a filter hides left out,
 * numbers without thousands separators. The file is named after the page and the table's place on
 * it. Without this script the tables are as they are.
 */
(() => {
  "use strict";

  const NUMBER = /^[-−+]?[\d,]*\.?\d+(e[-−+]?\d+)?$/i;

  function value(cell) {
    const text = cell.innerText.trim().replace(/\s+/g, " ");
    if (text === "–") return "";
    return NUMBER.test(text) ? text.replaceAll(",", "").replaceAll("−", "-") : text;
  }

  /* RFC 4180: quotes around what has a comma, a quote or a line break. */
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  function csv(table) {
    const rows = [...table.rows].filter((row) => !row.hidden && !row.closest("[hidden]"));
    return rows.map((row) => [...row.cells].map(value).map(quoted).join(",") + "\r\n").join("");
  }

  function save(table, name) {
    const link = document.createElement("a");
    // The mark at the beginning tells spreadsheets that it is UTF-8.
    link.href = URL.createObjectURL(new Blob(["\ufeff", csv(table)], { type: "text/csv" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  function start() {
    const page = location.pathname.split("/").pop().replace(/\.html$/, "") || "index";
    document.querySelectorAll(".qb-table > table, table.qb-score").forEach((table, place) => {
      if (!table.caption || table.caption.querySelector(".qb-csv")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "qb-csv";
      button.textContent = "CSV";
      button.title = "Save this table as CSV";
      button.setAttribute("aria-label", `Save as CSV: ${table.caption.textContent.trim()}`);
      const name = `${page}-table-${place + 1}.csv`;
      button.addEventListener("click", () => save(table, name));
      table.caption.append(" ", button);
    });
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
