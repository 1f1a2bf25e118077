// The label form: a level, a note, and evidence taken from the selection.
const form = document.getElementById("label");
const said = document.getElementById("said");
const current = () => form.querySelector("fieldset:not([hidden])");

function say(text, bad = false) {
  said.textContent = text;
  said.classList.toggle("bad", bad);
}

export function choose(key) {
  const radio = form && current().querySelector(`input[data-key="${CSS.escape(key)}"]`);
  if (!radio) return;
  radio.checked = true;
  say("not saved yet");
}

export function note() {
  if (!form) return;
  const field = current().querySelector("textarea");
  field.focus();
  field.scrollIntoView({ block: "nearest" });
}

// Characters as the server counts them, not UTF-16 units.
const length = (text) => [...text].length;

function before(part, container, offset) {
  const range = document.createRange();
  range.selectNodeContents(part);
  range.setEnd(container, offset);
  return length(range.toString());
}

function chosen() {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  const of = (node) => (node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement)?.closest(".msg");
  const message = of(range.startContainer) ?? of(range.commonAncestorContainer);
  if (!message) return null;
  const parts = [...message.querySelectorAll("[data-at]")].filter((p) => range.intersectsNode(p));
  if (!parts.length) return null;
  const [first, last] = [parts[0], parts[parts.length - 1]];
  const start = first.contains(range.startContainer) ? before(first, range.startContainer, range.startOffset) : 0;
  const end = last.contains(range.endContainer) ? before(last, range.endContainer, range.endOffset) : length(last.textContent);
  const { message: number, channel } = message.dataset;
  return {
    mark: { message: Number(number), channel, start: [Number(first.dataset.at), start], end: [Number(last.dataset.at), end] },
    quote: range.toString().trim(),
  };
}

export function take() {
  if (!form) return;
  const found = chosen();
  if (!found) { say("select some text of a message first", true); return; }
  if (["copied", "echo"].includes(found.mark.channel)) { say("these words are not of this run", true); return; }
  const item = document.createElement("li");
  item.dataset.mark = JSON.stringify(found.mark);
  const quote = document.createElement("q");
  quote.textContent = found.quote.length > 100 ? `${found.quote.slice(0, 100)}…` : found.quote;
  const out = document.createElement("button");
  out.type = "button";
  out.title = "Take it out";
  out.textContent = "×";
  item.append(quote, " ", out);
  current().querySelector(".chosen").append(item);
  getSelection().removeAllRanges();
  hint.hidden = true;
  say("not saved yet");
}

export async function save() {
  if (!form) return;
  const fields = current();
  const level = fields.querySelector("input:checked")?.value;
  if (level === undefined) { say("choose a level first", true); return; }
  const body = {
    episode: form.dataset.episode, rubric: fields.dataset.rubric, reviewer: form.elements.reviewer.value.trim(),
    level: level === "unclear" ? null : Number(level), unclear: level === "unclear", note: fields.querySelector("textarea").value,
    evidence: [...fields.querySelectorAll(".chosen li")].map((x) => JSON.parse(x.dataset.mark)), blind: form.dataset.blind === "1",
  };
  say("saving …");
  try {
    const answer = await fetch(form.dataset.to, {
      method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", "x-auditor-form": form.dataset.form },
    });
    const told = answer.headers.get("content-type")?.includes("json") ? await answer.json() : { error: await answer.text() };
    if (!answer.ok) { say(told.error, true); return; }
    say("saved");
    const here = new URL(location);
    here.hash = "";
    here.searchParams.set("rubric", body.rubric);
    location.assign(told.next ?? here.href);
  } catch {
    say("not saved: is 'auditor view' still running?", true);
  }
}

const hint = document.createElement("button");
hint.className = "hint";
hint.hidden = true;
hint.append("evidence ", Object.assign(document.createElement("kbd"), { textContent: "e" }));

if (form) {
  document.body.append(hint);
  hint.addEventListener("pointerdown", (e) => { e.preventDefault(); take(); });
  document.addEventListener("selectionchange", () => { hint.hidden = chosen() === null; });
  form.addEventListener("submit", (e) => { e.preventDefault(); save(); });
  form.addEventListener("click", (e) => { if (e.target.closest(".chosen button")) { e.target.closest("li").remove(); say("not saved yet"); } });
  form.addEventListener("input", (e) => { if (e.target.name !== "rubric") say("not saved yet"); });
  // Another name: that person's label, not this one's under another name.
  form.elements.reviewer.addEventListener("change", (e) => {
    const here = new URL(location);
    here.searchParams.set("reviewer", e.target.value.trim());
    location.assign(here);
  });
  form.elements.rubric.addEventListener("change", (e) => {
    form.querySelectorAll("fieldset").forEach((f) => { f.hidden = f.dataset.rubric !== e.target.value; });
    say("");
  });
}
