"use strict";
(() => {
  const root = document.documentElement;
  const announcement = document.getElementById("announcement");

  const theme = document.getElementById("theme");
  const dark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const label = () => { theme.textContent = dark() ? "Light theme" : "Dark theme"; };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    label();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  label();

  const key = (row, column) => {
    const cell = row.cells[column];
    return { number: cell.dataset.sort === undefined ? null : Number(cell.dataset.sort), text: cell.textContent };
  };
  const compare = (a, b) => {
    if (a.number !== null && b.number !== null) return a.number - b.number;
    return a.text.localeCompare(b.text, undefined, { numeric: true });
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const first = head.hasAttribute("data-numeric") ? "descending" : "ascending";
        const order = before === "none" ? first : before === "ascending" ? "descending" : "ascending";
        const sign = order === "ascending" ? 1 : -1;
        const numeric = head.hasAttribute("data-numeric");
        const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: key(row, column) }));
        rows.sort((a, b) => {
          // What has no number stays below, whichever way the numbers go.
          if (numeric && (a.key.number === null) !== (b.key.number === null)) return a.key.number === null ? 1 : -1;
          return sign * compare(a.key, b.key);
        });
        table.tBodies[0].append(...rows.map(({ row }) => row));
        for (const one of heads) one.setAttribute("aria-sort", one === head ? order : "none");
        announcement.textContent = `sorted by ${head.textContent}, ${order}`;
      });
    });
  }

  let chosen = null;
  const choose = (series) => {
    chosen = chosen === series ? null : series;
    document.body.classList.toggle("chosen", chosen !== null);
    for (const button of document.querySelectorAll(".legend button")) {
      button.setAttribute("aria-pressed", String(button.dataset.series === chosen));
    }
    for (const drawn of document.querySelectorAll("g.series")) {
      drawn.classList.toggle("stands-out", drawn.dataset.series === chosen);
    }
  };
  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => choose(button.dataset.series));
  }

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });
})();
