
(() => {
  const form = document.getElementById("search"), field = document.getElementById("q"), found = document.getElementById("found");
  const list = (from, what) => Array.from(from.querySelectorAll(what));
  const text = (element) => element.textContent.toLowerCase();
  const entries = list(document, "section[id] > ol li, section[id] > .fold > ol li, section[id] > table tbody tr, section[id] > .fold > table tbody tr")
    .filter((element) => !element.closest("#causes"))
    .map((element) => ({
      element, details: element.querySelector("details"), folded: element.closest(".fold"), all: text(element),
      head: text(element.querySelector("summary, .head") || element),
      parts: list(element, "tbody tr").map((row) => ({ row, all: text(row) })),
    }));
  if (entries.length === 0) return;
  const folds = list(document, ".fold");
  const rest = list(document, "#causes, #map, #chart");
  let opened = [];
  const search = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const match = (all) => words.every((word) => all.includes(word));
    if (words.length > 0 && opened.length === 0) opened = list(document, "details").map((element) => [element, element.open]);
    let count = 0;
    const hits = new Set();
    for (const entry of entries) {
      const hit = match(entry.all), head = hit && match(entry.head);
      entry.element.hidden = !hit;
      if (hit) { count++; hits.add(entry.folded); }
      for (const part of entry.parts) part.row.hidden = !head && !match(part.all);
      if (entry.details && words.length > 0) entry.details.open = hit && !head;
    }
    if (words.length > 0) for (const fold of folds) fold.open = hits.has(fold);
    else { for (const [element, open] of opened) element.open = open; opened = []; }
    for (const element of rest) element.hidden = words.length > 0;
    found.textContent = words.length > 0 ? count + " of " + entries.length : "";
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  field.addEventListener("input", search);
  form.hidden = false;
  if (field.value) search();
})();
