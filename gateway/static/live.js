// Parts of a page that follow the ledger: <tbody data-events="/jobs/events"> gets a row for each job that changes.
// Only cells that differ are touched, so that what is read, selected or focused stays where it is.
"use strict";

function update(there, made) {
  const cells = Array.from(there.children);
  Array.from(made.children).forEach((cell, number) => {
    if (cells[number] && cells[number].innerHTML !== cell.innerHTML) cells[number].innerHTML = cell.innerHTML;
  });
}

for (const list of document.querySelectorAll("[data-events]")) {
  const events = new EventSource(list.dataset.events);
  events.addEventListener("row", (event) => {
    const template = document.createElement("template");
    template.innerHTML = event.data;
    const made = template.content.firstElementChild;
    const there = document.getElementById(made.id);
    if (there) update(there, made);
    else if ("grows" in list.dataset) list.prepend(made);
  });
}
