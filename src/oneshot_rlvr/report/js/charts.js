// Draws the charts, again when the reader's colour scheme or their data changes, and saves them.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const views = new Map();
  let data = null;
  let drawing = Promise.resolve();
  oneshot.views = views;

  async function draw(element, mode) {
    const name = element.dataset.figure;
    const spec = data.figures[name];
    if (spec === undefined) return;
    const state = `${mode} ${JSON.stringify(spec)}`;
    if (views.get(name)?.state === state && element.querySelector("svg")) return;
    try {
      const { view, finalize } = await vegaEmbed(element, spec, {
        actions: false,
        ast: true, // expressions are interpreted: the page's policy forbids making code of text
        config: data.themes[mode],
        renderer: "svg",
        tooltip: { theme: mode },
      });
      views.get(name)?.finalize();
      views.set(name, { view, state, spec, finalize });
      if (oneshot.zoomed && "steps" in element.dataset) {
        await view.signal("zoomed", oneshot.zoomed).runAsync();
      }
    } catch (error) {
      element.textContent = "This chart could not be drawn.";
      console.error(`figure ${name}: ${error}`);
    }
  }

  async function drawAll() {
    const mode = dark.matches ? "dark" : "light";
    if (data === null) data = await oneshot.charts();
    if (Object.keys(data.figures).length) await oneshot.library;
    for (const element of document.querySelectorAll("[data-figure]")) await draw(element, mode);
    document.documentElement.dataset.drawn = mode;
  }

  // One after the other: two drawings of one element would mix.
  oneshot.drawAll = (fresh = null) => {
    drawing = drawing
      .catch(() => {}) // what failed before is tried anew
      .then(async () => {
        if (fresh !== null) data = fresh;
        await drawAll();
      });
    return drawing;
  };

  function rows(spec) {
    const found = new Map();
    for (const part of Object.values(spec.datasets ?? {})) {
      for (const row of part) found.set(JSON.stringify(Object.entries(row).sort()), row);
    }
    return [...found.values()];
  }

  // A row a number, named by the texts that stand with it: numbers.py makes the same of a run.
  function numbers(name, spec) {
    return rows(spec).flatMap((row) => {
      const texts = Object.entries(row).filter(([k, v]) => typeof v === "string" && k !== "told");
      const of = texts.map(([, text]) => text);
      if ("k" in row) of.push(`k = ${row.k}`);
      return Object.entries(row)
        .filter(([key, value]) => typeof value === "number" && key !== "step" && key !== "k")
        .map(([what, value]) => ({
          where: `figure ${name}`,
          of: of.join("; "),
          step: row.step ?? null,
          what,
          value,
        }));
    });
  }

  oneshot.everyNumber = () => [
    ...data.numbers,
    ...Object.entries(data.figures).flatMap(([name, spec]) => numbers(name, spec)),
  ];

  async function save(name, kind) {
    const drawn = views.get(name);
    if (drawn === undefined) return;
    const file = `${name}.${kind}`;
    if (kind === "csv") oneshot.save(file, oneshot.csv(rows(drawn.spec)), "text/csv");
    else if (kind === "svg") oneshot.save(file, await drawn.view.toSVG(), "image/svg+xml");
    else oneshot.save(file, await drawn.view.toImageURL("png", 2), "image/png");
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-save]");
    if (button) save(button.dataset.of, button.dataset.save);
    if (event.target.closest("#save-numbers") && data !== null) {
      oneshot.save("numbers.csv", oneshot.csv(oneshot.everyNumber()), "text/csv");
    }
  });
  dark.addEventListener("change", () => oneshot.drawAll());
  oneshot.drawAll().catch((error) => console.warn(String(error)));
})();
