// Replaces the parts of the page that have changed, as the daemon sends them. The button stops and resumes that.
"use strict";
(() => {
  const status = document.getElementById("live");
  const button = document.createElement("button");
  const text = document.createElement("span");
  button.type = "button";
  text.setAttribute("role", "status");
  status.replaceChildren(button, " ", text);
  const last = {};
  let source = null;
  let retry = 0;
  let heard = Date.now();
  const silent = "the daemon does not answer; trying again";
  const say = (words) => { if (text.textContent !== words) text.textContent = words; };
  const start = () => {
    button.textContent = "Pause";
    heard = Date.now();
    source = new EventSource("/events");
    source.onmessage = (event) => {
      heard = Date.now();
      say("live");
      for (const [id, html] of Object.entries(JSON.parse(event.data))) {
        if (last[id] === html) continue;
        last[id] = html;
        const part = document.getElementById(id);
        if (part) part.innerHTML = html;
      }
    };
    source.onerror = (event) => {
      say(silent);
      // A browser connects again by itself, but not after an answer without events (503: enough pages are open).
      if (source === event.target && source.readyState === EventSource.CLOSED) {
        retry = setTimeout(start, 5000);
      }
    };
  };
  const stop = () => {
    clearTimeout(retry);
    source.close();
    source = null;
    button.textContent = "Resume";
    say("paused");
  };
  button.addEventListener("click", () => (source ? stop() : start()));
  // The daemon sends something each second. A hung one, or a tunnel without its other end, sends nothing and ends nothing.
  setInterval(() => {
    if (source && Date.now() - heard > 5000) say(silent);
  }, 1000);
  start();
})();
