"use strict";
// Tables that say so are sorted by the column whose heading is pressed. Without it all can be read.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const rising = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const body = table.tBodies[0];
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
      const number = (a, b) => Number(key(a)) - Number(key(b));
      const rows = [...body.rows];
      const numeric = rows.every((row) => row.cells[column].dataset.value !== undefined);
      rows.sort(numeric ? number : order);
      body.append(...(rising ? rows : rows.reverse()));
    });
  });
}
