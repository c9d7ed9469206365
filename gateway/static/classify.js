// The Classify form by script, where there is one: pictures are dropped, pasted or chosen, looked at and taken away again
// before they are sent. A bar shows how far they are, and what was found comes below the form.
"use strict";

const PATIENCE = 60000;
const LARGE = 1024 * 1024;

function counted(number) {
  return number === 1 ? "1 picture" : `${number} pictures`;
}

// A folder looks like a file until it is read.
function foldersOf(transfer) {
  const entries = Array.from(transfer.items || [], (item) => item.webkitGetAsEntry && item.webkitGetAsEntry());
  return entries.filter((entry) => entry && entry.isDirectory).map((entry) => entry.name);
}

function refused(request) {
  const wait = request.getResponseHeader("Retry-After");
  let said = `The gateway answered ${request.status}`;
  try {
    said = JSON.parse(request.responseText).detail.replace(/[.\s]+$/, "");
  } catch {
    // A proxy's own page says nothing that helps here.
  }
  const when = wait ? ` in ${wait} s` : "";
  return request.status >= 500 || wait ? `${said}. Your pictures are still chosen: press Classify again${when}.` : `${said}.`;
}

for (const form of document.querySelectorAll("form[data-classify]")) {
  const find = (name) => form.querySelector(`[data-${name}]`);
  const input = form.elements.file;
  const [bar, list, said, failed] = [form.querySelector("progress"), find("chosen"), find("said"), find("failed")];
  const button = form.querySelector("button.primary");
  const results = document.getElementById("results");
  const most = Number(form.dataset.most);
  const largest = Number(form.dataset.largest);
  let chosen = [];
  let pasted = 0;
  let busy = false;

  const fail = (text) => {
    failed.textContent = text;
    failed.hidden = !text;
  };

  const show = () => {
    const files = new DataTransfer();
    for (const each of chosen) files.items.add(each.file);
    input.files = files.files;
    list.replaceChildren(...chosen.map((each) => each.item));
    list.hidden = chosen.length === 0;
  };

  const remove = (each) => {
    const number = chosen.indexOf(each);
    chosen = chosen.filter((other) => other !== each);
    URL.revokeObjectURL(each.address);
    show();
    fail("");
    said.textContent = `${each.file.name} is taken away, ${counted(chosen.length)} left.`;
    // Where the focus was is gone: it stays as near as it can.
    const next = chosen[Math.min(number, chosen.length - 1)];
    (next ? next.item.querySelector("button") : input).focus();
  };

  const choose = (file) => {
    const each = { file, address: URL.createObjectURL(file), item: document.createElement("li") };
    const picture = Object.assign(document.createElement("img"), { src: each.address, alt: "" });
    // Not every browser shows TIFF or HEIC; the gateway reads them all the same.
    picture.addEventListener("error", () => picture.replaceWith(Object.assign(document.createElement("span"), { className: "none", textContent: "no preview" })));
    const name = Object.assign(document.createElement("span"), { className: "name", textContent: file.name, title: file.name });
    const taken = Object.assign(document.createElement("button"), { type: "button", className: "plain", textContent: "Remove" });
    taken.setAttribute("aria-label", `Remove ${file.name}`);
    taken.addEventListener("click", () => remove(each));
    each.item.append(picture, name, taken);
    return each;
  };

  const add = (files, faults = []) => {
    if (busy) return;
    const same = (one, other) => one.name === other.name && one.size === other.size && one.lastModified === other.lastModified;
    for (const file of files) {
      if (chosen.some((each) => same(each.file, file))) continue;
      if (file.size > largest) faults.push(`${file.name} has ${Math.ceil(file.size / LARGE)} MiB, ${Math.floor(largest / LARGE)} at most are taken: make it smaller.`);
      else if (chosen.length >= most) faults.over = [...(faults.over || []), file.name];
      else chosen.push(choose(file));
    }
    if (faults.over) faults.unshift(`Please upload no more than ${most} files. Left out: ${faults.over.join(", ")}.`);
    show();
    fail(faults.join(" "));
    said.textContent = chosen.length ? `${counted(chosen.length)} chosen.` : "";
  };

  const rest = () => {
    busy = false;
    bar.hidden = true;
    button.disabled = input.disabled = false;
    for (const each of list.querySelectorAll("button")) each.disabled = false;
  };

  const give_up = (text) => {
    rest();
    said.textContent = "";
    fail(text);
    button.focus();
  };

  const found = (html) => {
    const made = new DOMParser().parseFromString(html, "text/html").getElementById("results");
    if (!made) return give_up("The gateway's answer can't be read. Your pictures are still chosen: press Classify again.");
    rest();
    for (const each of chosen) URL.revokeObjectURL(each.address);
    chosen = [];
    show();
    results.replaceChildren(...made.childNodes);
    if (window.htmx) window.htmx.process(results);
    const bad = results.querySelectorAll(".card > .error").length;
    const good = results.querySelectorAll(".card").length - bad;
    said.textContent = `${counted(good)} classified${bad ? `, ${bad} not` : ""}.`;
    results.querySelector("h2").focus();
    return undefined;
  };

  const send = () => {
    const request = new XMLHttpRequest();
    const number = chosen.length;
    let watch = 0;
    const wait = () => {
      clearTimeout(watch);
      watch = setTimeout(() => request.abort(), PATIENCE);
    };
    request.upload.addEventListener("progress", (now) => {
      wait();
      if (!now.lengthComputable || now.loaded >= now.total) return;
      bar.max = now.total;
      bar.value = now.loaded;
      said.textContent = `Sending ${counted(number)}: ${Math.floor((100 * now.loaded) / now.total)} %`;
    });
    request.upload.addEventListener("load", () => {
      bar.removeAttribute("value");
      said.textContent = `The model looks at ${counted(number)}.`;
    });
    request.addEventListener("load", () => (request.status === 200 ? found(request.responseText) : give_up(refused(request))));
    request.addEventListener("error", () => give_up("The gateway can't be reached. Your pictures are still chosen: look whether the network works, then press Classify again."));
    request.addEventListener("abort", () => give_up("Nothing came back for a minute. Your pictures are still chosen: look whether the network works, then press Classify again."));
    request.addEventListener("loadend", () => clearTimeout(watch));
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/problem+json");
    const body = new FormData(form);
    busy = true;
    fail("");
    said.textContent = `Sending ${counted(number)}.`;
    bar.removeAttribute("value");
    bar.hidden = false;
    button.disabled = input.disabled = true;
    for (const each of list.querySelectorAll("button")) each.disabled = true;
    wait();
    request.send(body);
  };

  const holds = (event) => event.dataTransfer && Array.from(event.dataTransfer.types).includes("Files");
  input.addEventListener("change", () => add(Array.from(input.files)));
  // Of the whole page: a picture that misses the form would take the page's place.
  document.addEventListener("dragover", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    form.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) form.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    form.classList.remove("over");
    const folders = foldersOf(event.dataTransfer);
    const faults = folders.map((name) => `${name} is a folder: drop the pictures in it, or send it as a zip on Batch.`);
    add(Array.from(event.dataTransfer.files).filter((file) => !folders.includes(file.name)), faults);
  });
  document.addEventListener("paste", (event) => {
    const files = Array.from(event.clipboardData ? event.clipboardData.files : []);
    if (!files.length) return;
    event.preventDefault();
    // Browsers call each pasted picture image.png.
    add(files.map((file) => new File([file], `pasted-${(pasted += 1)}-${file.name}`, { type: file.type, lastModified: file.lastModified })));
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!busy && chosen.length) send();
  });
  find("scripted").hidden = false;
}
