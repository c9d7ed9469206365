// Reports: the labels that a model can say are offered while one is typed, and what goes wrong is said in the form.
"use strict";

const PAUSE = 150;
const OFFERED = 20;

function offer(field) {
  let asked = 0;
  let timer = 0;
  const ask = async () => {
    const mine = (asked += 1);
    const query = new URLSearchParams({ text: field.value, limit: OFFERED });
    try {
      const answer = await fetch(`${field.dataset.labels}?${query}`, { signal: AbortSignal.timeout(10000) });
      if (!answer.ok || mine !== asked) return;
      const { labels } = await answer.json();
      field.list.replaceChildren(...labels.map((label) => Object.assign(document.createElement("option"), { value: label })));
    } catch {
      // Any text may be entered; only nothing is offered.
    }
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  });
  ask();
}

document.addEventListener("focusin", ({ target }) => {
  if (!target.dataset || !target.dataset.labels || "offers" in target.dataset) return;
  target.dataset.offers = "";
  offer(target);
});

function say(event, text) {
  const failed = event.target.querySelector && event.target.querySelector("[data-failed]");
  if (!failed) return;
  failed.textContent = text;
  failed.hidden = !text;
}

document.addEventListener("htmx:beforeRequest", (event) => say(event, ""));
document.addEventListener("htmx:sendError", (event) => say(event, "The gateway can't be reached, so nothing was kept: send it again."));
document.addEventListener("htmx:timeout", (event) => say(event, "The gateway didn't answer: send it again, a second report replaces the first."));
document.addEventListener("htmx:responseError", (event) => {
  let said = `the gateway answered ${event.detail.xhr.status}`;
  try {
    said = JSON.parse(event.detail.xhr.responseText).detail;
  } catch {
    // Not an answer of ours: the status says enough.
  }
  say(event, `Nothing was kept: ${said}`);
});
