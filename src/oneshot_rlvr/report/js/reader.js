// The rollout reader: filters, a list, what is open, side by side, keys and deep links
// (#read?FILTERS&open=KEY). Rows come from the file, or in pages from the server that watches.
(() => {
  const element = oneshot.element;
  const $ = (id) => document.getElementById(id);
  const PAGE = 50;
  const FILTERS = ["kind", "run", "low", "high", "example", "right", "reason", "tokens_low", "tokens_high", "text", "late"];
  let packed = null; // the file's rows; null where a server has them
  let state = { rows: [], told: {}, next: null, open: null };
  let filling = false; // the filters are being filled in from a link
  let turn = 0; // a later search outruns an earlier one

  // --- where rows come from -------------------------------------------------------------------
  const inFile = {
    part: (asked) => packed[Number(asked.run || 0)] ?? packed[0],
    all(asked) {
      const part = this.part(asked);
      return asked.kind === "answers" ? [part.answers, part.questions] : [part.rollouts, part.examples];
    },
    async page(asked, after) {
      const [rows, told] = this.all(asked);
      const text = asked.text?.toLowerCase();
      const number = (word) => (word === "" || word === undefined ? null : Number(word));
      const [low, high] = [number(asked.low), number(asked.high)];
      const [few, many] = [number(asked.tokens_low), number(asked.tokens_high)];
      let found = rows.filter(
        (row) =>
          (low === null || row.s >= low) && (high === null || row.s <= high) &&
          (!asked.example || row.of === asked.example) &&
          (!asked.right || row.v === Number(asked.right)) && (!asked.reason || row.y === asked.reason) &&
          (few === null || row.n >= few) && (many === null || row.n <= many) &&
          (!text || row.t.toLowerCase().includes(text)),
      );
      if (asked.late) found = found.map((row, at) => [row, at]).sort((a, b) => b[0].s - a[0].s || a[1] - b[1]).map(([row]) => row);
      const start = Number(after || 0);
      const next = start + PAGE < found.length ? String(start + PAGE) : null;
      return { rows: found.slice(start, start + PAGE), told, next, total: found.length };
    },
    async one(asked, key) {
      const [rows, told] = this.all(asked);
      return { rows: rows.filter((row) => row.k === key), told };
    },
    async beside(asked, row) {
      const [rows, told] = this.all(asked);
      const same = rows.filter((each) => each.of === row.of && each.e === row.e);
      const steps = [...new Set(same.map((each) => each.s))].sort((a, b) => a - b);
      const columns = oneshot.stages(steps).map(([title, step]) => ({ title, step, rows: same.filter((each) => each.s === step) }));
      return { columns, told };
    },
  };
  const onServer = {
    path: (asked) => (asked.kind === "answers" ? "answers.json" : "rollouts.json"),
    page(asked, after) {
      return oneshot.ask(this.path(asked), { ...asked, after, limit: PAGE });
    },
    one(asked, key) {
      return oneshot.ask(this.path(asked), { kind: asked.kind, run: asked.run, key, limit: 1 });
    },
    beside(asked, row) {
      return oneshot.ask("beside.json", { kind: asked.kind, run: asked.run, example: row.of, evaluation: row.e });
    },
  };
  const source = () => (oneshot.live ? onServer : inFile);

  // The first step, one a tenth of the way, and the last.
  oneshot.stages = (steps) => {
    if (!steps.length) return [];
    const [first, last] = [steps[0], steps.at(-1)];
    const early = steps.find((step) => step > first && step >= first + (last - first) / 10);
    const chosen = [["Base", first]];
    if (early !== undefined && early < last) chosen.push(["Early", early]);
    if (last !== first) chosen.push(["Late", last]);
    return chosen;
  };

  // --- filters and links ----------------------------------------------------------------------
  const form = () => $("filters");
  const asked = () => Object.fromEntries([...new FormData(form())].filter(([key, value]) => FILTERS.includes(key) && value !== ""));
  const option = (name) => new FormData(form()).get(name) ?? "";

  function link() {
    const words = new URLSearchParams(Object.entries(asked()).filter(([key, value]) => key !== "kind" || value !== "rollouts"));
    for (const name of ["shade", "beside"]) if (option(name)) words.set(name, option(name));
    if (state.open) words.set("open", state.open.k);
    return `#read?${words}`;
  }

  function remember() {
    history.replaceState(null, "", link());
  }

  function fromLink() {
    if (!location.hash.startsWith("#read?")) return null;
    const words = new URLSearchParams(location.hash.slice("#read?".length));
    filling = true; // the reset that comes of it is not the reader's
    form().reset();
    filling = false;
    for (const [key, value] of words) {
      for (const field of form().querySelectorAll(`[name="${CSS.escape(key)}"]`)) {
        if (field.type === "radio" || field.type === "checkbox") field.checked = field.value === value;
        else field.value = value;
      }
    }
    return words.get("open");
  }

  // --- list and card --------------------------------------------------------------------------
  function item(row) {
    const button = element(
      "button",
      { type: "button", "data-key": row.k },
      element("span", { class: `head ${row.v ? "right" : "wrong"}` },
        element("span", { class: "verdict" }, oneshot.verdict(row)),
        element("span", {}, row.e ? `${row.e} ${row.s === 0 ? "base" : `step ${row.s}`}, ${row.of}` : `step ${row.s}`),
        element("span", {}, row.n === null ? "" : `${row.n} tokens`)),
      element("span", { class: "says" }, row.t.slice(0, 160).replaceAll(/\s+/g, " ")),
    );
    button.addEventListener("click", () => open(row));
    return element("li", {}, button);
  }

  function listed() {
    for (const button of $("reader-rows").querySelectorAll("button")) {
      if (button.dataset.key === state.open?.k) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  async function open(row) {
    const mine = ++turn;
    state.open = row;
    listed();
    remember();
    const [place, shade] = [$("reader-open"), option("shade")];
    $("reader").classList.toggle("sided", option("beside") === "1");
    if (option("beside") !== "1") {
      place.replaceChildren(oneshot.card(row, state.told[row.of], { shade, several: Object.keys(state.told).length > 1 }));
      return;
    }
    const { columns, told } = await source().beside(asked(), row);
    if (mine !== turn) return;
    place.replaceChildren(element("h3", {}, `${row.e ? "Question" : "Example"} ${row.of}, side by side`), element("div", { class: "beside" }, ...columns.map((column) => columnOf(column, told, shade))));
  }

  function columnOf({ title, step, rows }, told, shade) {
    const place = element("div", { class: "column" });
    let at = 0;
    const when = step === 0 ? "the model before training" : step === 1 && title === "Base" ? "step 1, sampled before any update" : `step ${step}`;
    function show() {
      const row = rows[at];
      const another = element("button", { type: "button" }, `another of ${rows.length}`);
      another.addEventListener("click", () => {
        at = (at + 1) % rows.length;
        show();
      });
      place.replaceChildren(element("h4", {}, title), element("p", { class: "label" }, when), row ? oneshot.card(row, told[row.of], { shade }) : "nothing recorded", rows.length > 1 ? another : "");
    }
    show();
    return place;
  }

  function describe() {
    if (oneshot.live) return "All that is recorded, read from the run as you ask.";
    const part = inFile.part(asked());
    return asked().kind === "answers" ? part.answers_told : part.told;
  }

  async function search({ more = false, key = null } = {}) {
    const mine = ++turn;
    let page;
    try {
      page = await source().page(asked(), more ? state.next : "");
    } catch (error) {
      $("reader-found").textContent = "The rows could not be read; the next change of a filter tries again.";
      console.warn(String(error));
      return;
    }
    let opened = null;
    if (key) opened = await source().one(asked(), key);
    if (mine !== turn) return;
    state = {
      rows: more ? [...state.rows, ...page.rows] : page.rows,
      told: { ...(more ? state.told : {}), ...page.told, ...opened?.told },
      next: page.next,
      open: more ? state.open : (opened?.rows[0] ?? page.rows[0] ?? null),
    };
    if (more) $("reader-rows").append(...page.rows.map(item));
    else $("reader-rows").replaceChildren(...page.rows.map(item));
    const known = page.total ?? null;
    const found = known === null ? `${state.rows.length}${page.next ? " and more" : ""}` : known.toLocaleString("en");
    const looked = page.next && page.searched !== undefined && page.searched !== null ? `, searched to step ${page.searched}` : "";
    $("reader-found").textContent = state.rows.length ? `${found} found${looked}.` : page.next ? `None yet${looked}.` : "None is like that.";
    $("reader-more").hidden = !page.next;
    $("reader-told").textContent = describe();
    $("examples").replaceChildren(...Object.keys(state.told).slice(0, 200).map((name) => element("option", { value: name })));
    if (key && !opened?.rows.length) $("reader-found").textContent += ` What the link names (${key}) is not here.`;
    if (more) return;
    if (state.open) await open(state.open);
    else $("reader-open").replaceChildren();
    document.documentElement.dataset.read = String(mine);
  }

  function move(by) {
    const at = state.rows.findIndex((row) => row.k === state.open?.k);
    const row = state.rows[at + by];
    if (row) {
      open(row);
      $("reader-rows").querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
    } else if (by > 0 && state.next) search({ more: true }).then(() => state.rows[at + by] && open(state.rows[at + by]));
  }

  const keys = {
    j: () => move(1),
    k: () => move(-1),
    "/": () => form().elements.text.focus(),
    t: () => {
      const shade = form().elements.shade;
      shade.selectedIndex = (shade.selectedIndex + 1) % shade.options.length;
      if (state.open) open(state.open);
    },
    b: () => {
      form().elements.beside.checked = !form().elements.beside.checked;
      if (state.open) open(state.open);
    },
    l: () => navigator.clipboard?.writeText(location.href).catch(() => {}),
  };

  function listen() {
    let wait = 0;
    form().addEventListener("input", (event) => {
      clearTimeout(wait);
      if (["shade", "beside"].includes(event.target.name)) {
        if (state.open) open(state.open);
      } else wait = setTimeout(search, 250);
    });
    form().addEventListener("reset", () => filling || setTimeout(search));
    form().addEventListener("submit", (event) => event.preventDefault());
    $("reader-more").addEventListener("click", () => search({ more: true }));
    addEventListener("hashchange", arrive);
    document.addEventListener("keydown", (event) => {
      const typing = event.target.matches?.("input:not([type=radio]):not([type=checkbox]), select, textarea");
      if (event.key === "Escape" && typing) event.target.blur();
      if (typing || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      const box = $("rollouts").getBoundingClientRect();
      if (box.top > innerHeight || box.bottom < 0) return; // the reader is out of sight
      event.preventDefault();
      keys[event.key]();
    });
  }

  async function arrive() {
    if (!location.hash.startsWith("#read?")) return;
    const key = fromLink();
    await search({ key });
    $("rollouts").scrollIntoView({ behavior: "instant" });
  }

  oneshot.readAgain = () => search({ key: state.open?.k ?? null });

  async function start() {
    if (!form()) return;
    if (!oneshot.live) packed = await oneshot.unpack("rollouts");
    listen();
    if (location.hash.startsWith("#read?")) await arrive();
    else {
      await search();
      history.replaceState(null, "", location.hash || location.pathname + location.search);
    }
  }
  start();
})();
