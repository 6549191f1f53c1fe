// Linked brushing: a range of steps, dragged over any chart over steps or set in the form, is what
// all of them show. The form is the keyboard's way.
(() => {
  oneshot.zoomed = null;
  const charts = () => document.querySelectorAll(".chart[data-steps]");
  const form = () => document.getElementById("brush");

  async function show(range) {
    oneshot.zoomed = range;
    for (const element of charts()) {
      const drawn = oneshot.views.get(element.dataset.figure);
      if (drawn) await drawn.view.signal("zoomed", range).runAsync();
    }
    tell();
  }

  function tell() {
    const found = form();
    if (!found) return;
    const range = oneshot.zoomed;
    found.elements.low.value = range ? range[0] : "";
    found.elements.high.value = range ? range[1] : "";
    document.getElementById("brush-told").textContent = range
      ? `Steps ${range[0]} to ${range[1]} in every chart.`
      : "";
    const link = document.getElementById("brush-read");
    link.hidden = !range;
    if (range) link.setAttribute("href", `#read?low=${range[0]}&high=${range[1]}`);
  }
  oneshot.tellBrush = tell;

  // Pixels of the page -> steps, by the chart's own scale.
  function stepAt(drawn, element, clientX) {
    const svg = element.querySelector("svg");
    const box = svg.getBoundingClientRect();
    const [origin] = drawn.view.origin();
    const scale = drawn.view.scale("x");
    const [from, to] = scale.range();
    const x = Math.min(Math.max(clientX - box.left - origin, from), to);
    return { step: scale.invert(x), left: x + origin + (box.left - element.getBoundingClientRect().left) };
  }

  let drag = null;
  document.addEventListener("pointerdown", (event) => {
    const element = event.target.closest?.(".chart[data-steps]");
    const drawn = element && oneshot.views.get(element.dataset.figure);
    if (!drawn || event.button !== 0 || event.pointerType === "touch") return;
    drag = { element, drawn, from: stepAt(drawn, element, event.clientX), shade: null };
    event.preventDefault();
  });
  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const to = stepAt(drag.drawn, drag.element, event.clientX);
    if (!drag.shade) {
      drag.shade = oneshot.element("div", { class: "brushing" });
      drag.shade.style.top = "0";
      drag.shade.style.bottom = "0";
      drag.element.append(drag.shade);
    }
    drag.shade.style.left = `${Math.min(drag.from.left, to.left)}px`;
    drag.shade.style.width = `${Math.abs(to.left - drag.from.left)}px`;
  });
  document.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { from, element, drawn, shade } = drag;
    drag = null;
    shade?.remove();
    const to = stepAt(drawn, element, event.clientX);
    if (Math.abs(to.left - from.left) < 5) return;
    const [low, high] = [from.step, to.step].sort((a, b) => a - b).map(Math.round);
    if (high > low) show([low, high]);
  });

  document.addEventListener("submit", (event) => {
    if (event.target.id !== "brush") return;
    event.preventDefault();
    const { low, high } = event.target.elements;
    const from = low.value === "" ? 0 : Number(low.value);
    const to = high.value === "" ? null : Number(high.value);
    if (to !== null && to > from) show([from, to]);
  });
  document.addEventListener("reset", (event) => {
    if (event.target.id === "brush") show(null);
  });
})();
