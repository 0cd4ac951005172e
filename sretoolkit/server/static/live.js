// Keeps a page up to date: when the server says that something changed, the page is fetched again, and what is marked
// as live is replaced where it differs. Without JavaScript one reloads by hand; nothing else is missing.
"use strict";
(() => {
  const events = document.body.dataset.events;
  const faults = document.getElementById("faults");
  if (faults) faults.focus();
  if (!events || !window.EventSource) return;
  const connection = document.getElementById("connection");
  let busy = false, again = false;

  const typing = (part) => {
    const focused = document.activeElement;
    return part.contains(focused) && focused.matches("input:not([type=checkbox]), textarea, select") && focused.value !== "";
  };

  const opened = (part) => new Set([...part.querySelectorAll("details[id]")].filter((d) => d.open).map((d) => d.id));

  const path = (part, element) => {
    const all = [...part.querySelectorAll("a, button, input, summary, [tabindex]")];
    return part.contains(element) ? all.indexOf(element) : -1;
  };

  const replace = (old, fresh) => {
    if (old.innerHTML === fresh.innerHTML && old.className === fresh.className) return;
    if (typing(old)) return;
    const place = path(old, document.activeElement), open = opened(old);
    old.className = fresh.className;
    old.replaceChildren(...fresh.childNodes);
    for (const id of open) { const details = document.getElementById(id); if (details) details.open = true; }
    if (place >= 0) {
      const all = [...old.querySelectorAll("a, button, input, summary, [tabindex]")];
      if (all[place]) all[place].focus();
    }
  };

  const update = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, {headers: {"Accept": "text/html"}, redirect: "manual"});
      if (answer.type === "opaqueredirect" || answer.status === 401) { location.reload(); return; }
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!fresh.getElementById("controls") !== !document.getElementById("controls")) { location.reload(); return; }
      for (const part of document.querySelectorAll("[data-live]")) {
        const other = fresh.getElementById(part.id);
        if (other) replace(part, document.importNode(other, true));
      }
      document.title = fresh.title;
    } catch (error) {
      connection.textContent = "The server cannot be reached; what you see may be old.";
    } finally {
      busy = false;
      if (again) { again = false; setTimeout(update, 200); }
    }
  };

  const source = new EventSource(events);
  source.addEventListener("changed", update);
  source.onopen = () => { connection.textContent = ""; };
  source.onerror = () => {
    connection.textContent = source.readyState === 2 ? "Live updates have ended; reload the page." : "The server cannot be reached; what you see may be old.";
  };
  addEventListener("pagehide", () => source.close());
})();
