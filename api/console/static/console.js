// What the pages can do beyond HTML: relative times that stay true, copying an id, "/" to search, and live operations.
"use strict";

const MINUTE = 60, HOUR = 3600, DAY = 86400;

function lasting(seconds) {
  if (seconds < MINUTE) return `${Math.floor(seconds)} s`;
  if (seconds < 2 * HOUR) return `${Math.floor(seconds / MINUTE)} min`;
  if (seconds < 2 * DAY) return `${Math.floor(seconds / HOUR)} h`;
  return `${Math.floor(seconds / DAY)} days`;
}

function ago(seconds) {
  if (seconds > -MINUTE && seconds < 10) return "just now";
  return seconds < 0 ? `in ${lasting(-seconds)}` : `${lasting(seconds)} ago`;
}

function keepTimesTrue() {
  for (const time of document.querySelectorAll("time.ago")) {
    time.textContent = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
  }
}

function offerCopies() {
  if (!navigator.clipboard) return;
  for (const code of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "copy";
    button.setAttribute("aria-label", `copy ${code.textContent}`);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
    code.after(button);
  }
}

function searchWithSlash(event) {
  const typing = event.target.closest("input, select, textarea, [contenteditable]");
  const box = document.querySelector("[data-slash]");
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing || !box) return;
  event.preventDefault();
  box.focus();
  box.select();
}

function show(told) {
  for (const node of document.querySelectorAll("[data-text]")) {
    const words = told.texts[node.dataset.text];
    if (words !== undefined && node.textContent !== words) node.textContent = words;
  }
  for (const node of document.querySelectorAll("[data-path]")) {
    node.setAttribute("d", told.paths[node.dataset.path] || "");
  }
  for (const node of document.querySelectorAll("[data-state]")) {
    node.textContent = node.dataset.is = told.states[node.dataset.state] || "";
  }
  for (const node of document.querySelectorAll("[data-bar]")) {
    const share = told.bars[node.dataset.bar];
    node.hidden = share === undefined || share < 0;
    if (!node.hidden) node.querySelector("progress").value = share;
  }
}

function follow(node) {
  const source = new EventSource(node.dataset.stream);
  const words = node.querySelector("[data-live]");
  source.addEventListener("message", (event) => {
    show(JSON.parse(event.data));
    node.dataset.is = "live";
    if (words.textContent !== "Live") words.textContent = "Live";
  });
  source.addEventListener("error", () => {
    node.dataset.is = "waiting";
    words.textContent = source.readyState === EventSource.CLOSED ? "Stopped; reload the page" : "Connecting again …";
  });
}

keepTimesTrue();
setInterval(keepTimesTrue, 15000);
offerCopies();
document.addEventListener("keydown", searchWithSlash);
document.querySelectorAll("[data-stream]").forEach(follow);
