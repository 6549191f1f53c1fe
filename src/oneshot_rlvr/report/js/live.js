// In `watch`: the server tells of changes, and parts and charts that differ are put in place. What
// the reader does (filters, what is open, the brush) stays. A lost server is asked again.
(() => {
  if (!oneshot.live) return;
  let parts = null;

  function state(text, lost = false) {
    const told = document.getElementById("live");
    if (!told) return;
    told.textContent = text;
    told.classList.toggle("lost", lost);
  }

  async function refresh() {
    const fresh = await oneshot.ask("parts.json");
    let moved = parts !== null && parts.reader !== fresh.parts.reader;
    for (const [name, html] of Object.entries(fresh.parts)) {
      if (name === "reader" && parts !== null) continue; // its filters are the reader's own
      if (parts !== null && parts[name] === html) continue;
      const place = document.querySelector(`[data-part="${CSS.escape(name)}"]`);
      if (!place || (parts === null && name === "reader")) continue;
      const opened = new Set([...place.querySelectorAll("details[open][id]")].map((each) => each.id));
      place.innerHTML = html; // the server's own templates, which escape what models wrote
      for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    }
    parts = fresh.parts;
    document.title = fresh.title;
    await oneshot.drawAll(await oneshot.charts());
    oneshot.tellBrush();
    state(fresh.told);
    document.documentElement.dataset.version = fresh.version;
    if (moved) oneshot.readAgain();
  }

  let busy = false;
  let again = false;
  async function changed() {
    again = true;
    if (busy) return;
    busy = true;
    while (again) {
      again = false;
      try {
        await refresh();
      } catch (error) {
        console.warn(String(error));
      }
    }
    busy = false;
  }

  const events = new EventSource("events");
  events.addEventListener("changed", changed);
  events.addEventListener("error", () => state("the server is gone; asked again", true));
})();
