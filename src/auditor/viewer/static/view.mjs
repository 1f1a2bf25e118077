// Keys and jumps. What labels need is in label.mjs.
import { choose, note, save, take } from "./label.mjs";

const typing = (e) => e.target.closest("input:not([type=radio]), textarea, select");
const panes = [...document.querySelectorAll(".pane")];
let pane = panes[0] ?? document;
panes.forEach((p) => ["pointerdown", "focusin"].forEach((kind) => p.addEventListener(kind, () => { pane = p; })));

const items = () => [...pane.querySelectorAll(".msg, tr.row")];

function step(by) {
  const all = items();
  if (!all.length) return;
  const at = all.indexOf(pane.querySelector(".here"));
  // Without a place yet, start at what the reader sees.
  const seen = Math.max(0, all.findIndex((x) => x.getBoundingClientRect().bottom > 80));
  go(all[Math.min(all.length - 1, Math.max(0, at < 0 ? seen : at + by))]);
}

function go(item) {
  pane.querySelectorAll(".here").forEach((x) => x.classList.remove("here"));
  item.classList.add("here");
  item.focus({ preventScroll: true });
  item.scrollIntoView({ block: item.offsetHeight > innerHeight * 0.7 ? "start" : "nearest" });
}

let found = 0;
function evidence(number) {
  const marks = [...pane.querySelectorAll(`mark[data-n~="${number}"]`)];
  if (!marks.length) return;
  found = number;
  document.querySelectorAll("mark.now").forEach((x) => x.classList.remove("now"));
  marks.forEach((m) => { m.classList.add("now"); m.closest("details")?.setAttribute("open", ""); });
  go(marks[0].closest(".msg"));
  marks[0].scrollIntoView({ block: "center" });
}

function next(by) {
  const numbers = [...new Set([...pane.querySelectorAll("mark")].flatMap((m) => m.dataset.n.split(" ").map(Number)))].sort((a, b) => a - b);
  if (!numbers.length) return;
  const at = numbers.indexOf(found);
  evidence(numbers[(at < 0 ? (by > 0 ? 0 : numbers.length - 1) : at + by + numbers.length) % numbers.length]);
}

function unfold() {
  const folds = [...document.querySelectorAll("details.fold")];
  const open = folds.some((f) => !f.open);
  folds.forEach((f) => { f.open = open; });
}

const hash = () => { const m = /^#e(\d+)$/.exec(location.hash); if (m) evidence(Number(m[1])); };
addEventListener("hashchange", hash);
hash();
// A second click on the same evidence changes no hash.
document.addEventListener("click", (e) => { if (e.target.closest(".evidence a")) setTimeout(hash); });

const help = document.getElementById("help");
document.getElementById("help-open").addEventListener("click", () => help.showModal());

const filters = document.querySelector("form.filters");
filters?.addEventListener("submit", () => {
  // Only what is set stands in the URL.
  for (const field of filters.elements) if (!field.value) field.disabled = true;
});
filters?.addEventListener("change", (e) => { if (e.target.tagName === "SELECT") filters.requestSubmit(); });

const keys = {
  j: () => step(1), k: () => step(-1), n: () => next(1), N: () => next(-1), x: unfold, u: () => choose("u"), e: take, m: note,
  "?": () => help.showModal(),
  "/": () => (filters ? filters.elements.text.focus() : document.querySelector(".bar nav a").click()),
  Enter: () => { const row = document.querySelector("tr.row.here a"); if (row) row.click(); else save(); },
};
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === "Escape") { e.target.blur(); return; }
  if (typing(e) || help.open || (e.key === "Enter" && e.target.closest("a, button, summary"))) return;
  const act = /^[1-9]$/.test(e.key) ? () => choose(e.key) : keys[e.key];
  if (act) { e.preventDefault(); act(); }
});
