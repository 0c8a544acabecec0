"use strict";
// A click on a column's title sorts by it: figures from the greatest, words from a to z. A second
// click turns that round, a third brings back the order of the page. What a column has no figure
// for stands last, whichever way it is sorted.

const SECONDS = { min: 60, h: 3600 };

// The first one in a cell; 1/20 is a part, and minutes and hours compare with seconds.
function figure(text) {
  const found = text.replaceAll("−", "-").match(/([-+]?\d+(?:\.\d+)?)(?:\/(\d+))?(?: (min|h)\b)?/);
  return found ? (found[1] / (found[2] ?? 1)) * (SECONDS[found[3]] ?? 1) : null;
}

function key(row, column, numeric) {
  const text = row.cells[column].textContent.trim();
  return numeric ? figure(text) : text || null;
}

function order(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null);
  const found = typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
  return down ? -found : found;
}

// A cell that is empty because the line above says the same has to say it itself among others.
function repeat(rows) {
  rows.forEach((row, k) => {
    if (k === 0 || row.cells[0].textContent.trim()) return;
    for (const cell of row.cells) {
      const above = rows[k - 1].cells[cell.cellIndex];
      if (cell.textContent.trim() || cell.classList.contains("figure")) break;
      cell.replaceChildren(...[...above.childNodes].map((node) => node.cloneNode(true)));
    }
  });
}

function sortable(table) {
  const body = table.tBodies[0];
  const asWritten = [...body.rows].map((row) => row.cloneNode(true));
  table.tHead.addEventListener("click", (event) => {
    const title = event.target.closest("th");
    if (!title) return;
    const numeric = title.classList.contains("figure");
    const states = [null, ...(numeric ? ["descending", "ascending"] : ["ascending", "descending"])];
    const state = states[(states.indexOf(title.getAttribute("aria-sort")) + 1) % 3];
    for (const other of title.parentNode.cells) other.removeAttribute("aria-sort");
    const rows = asWritten.map((row) => row.cloneNode(true));
    if (!state) return body.replaceChildren(...rows);
    title.setAttribute("aria-sort", state);
    const lines = rows.filter((row) => !row.classList.contains("group"));
    repeat(lines);
    const keyed = lines.map((row) => [key(row, title.cellIndex, numeric), row]);
    keyed.sort((a, b) => order(a[0], b[0], state === "descending"));
    body.replaceChildren(...keyed.map((pair) => pair[1]));
  });
}

document.querySelectorAll("main table").forEach(sortable);
