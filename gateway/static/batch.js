// The Batch form sends its archive by script where there is one: a bar shows how far the upload is, and what is left.
"use strict";

const MIB = 1024 * 1024;

function left(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s left`;
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min left`;
  return `${(seconds / 3600).toFixed(1)} h left`;
}

function why(request) {
  try {
    return JSON.parse(request.responseText).detail;
  } catch {
    return `The gateway answered ${request.status}. Nothing was kept: send it again.`;
  }
}

for (const form of document.querySelectorAll("form[data-upload]")) {
  const bar = form.querySelector("progress");
  const said = form.querySelector("[data-said]");
  const failed = form.querySelector("[data-failed]");
  const button = form.querySelector("button");

  const fail = (text) => {
    bar.hidden = true;
    said.textContent = "";
    failed.textContent = text;
    failed.hidden = false;
    button.disabled = false;
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [file] = form.elements.file.files;
    const most = Number(form.dataset.most);
    failed.hidden = true;
    // Said here already, since the gateway could say so only while the bytes come.
    if (!/\.(zip|tar)$/i.test(file.name)) return fail(`${file.name} is no zip or tar: choose another file.`);
    if (file.size > most) return fail(`${file.name} has ${Math.ceil(file.size / MIB)} MiB, ${Math.floor(most / MIB)} at most are taken: send it in several smaller ones.`);
    const begun = performance.now();
    const request = new XMLHttpRequest();
    request.upload.addEventListener("progress", (now) => {
      if (!now.lengthComputable) return;
      const rate = now.loaded / Math.max(0.001, (performance.now() - begun) / 1000);
      bar.max = now.total;
      bar.value = now.loaded;
      said.textContent = now.loaded < now.total
        ? `${Math.floor(now.loaded / MIB)} of ${Math.ceil(now.total / MIB)} MiB, ${(rate / MIB).toFixed(1)} MiB/s, ${left((now.total - now.loaded) / rate)}`
        : "All is sent: the archive is being put in its place.";
    });
    request.addEventListener("load", () => {
      if (request.status === 201) location.assign(`/batch/${JSON.parse(request.responseText).id}`);
      else fail(why(request));
    });
    request.addEventListener("error", () => fail("The connection broke. Nothing was kept: send it again."));
    request.open("POST", form.dataset.upload);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRF-Token", form.elements.csrf.value);
    button.disabled = true;
    bar.removeAttribute("value");
    bar.hidden = false;
    said.textContent = "The upload begins.";
    request.send(new FormData(form));
    return undefined;
  });
}
