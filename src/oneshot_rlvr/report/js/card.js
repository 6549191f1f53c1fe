// One rollout or held-out answer as a card: its text with the extracted answer marked and, if asked,
// each token shaded. What the model wrote is set as text, never as markup.
(() => {
  const element = oneshot.element;

  // Where the answer that was read stands: in the last box if there is one, else where it is last
  // said. A verifier may spell it otherwise than the text does; then nothing is marked.
  function markOf(row) {
    if (!row.x) return null;
    const box = row.t.lastIndexOf("\\boxed{");
    let start = box >= 0 ? row.t.indexOf(row.x, box) : -1;
    if (start < 0) start = row.t.lastIndexOf(row.x);
    return start < 0 ? null : [start, start + row.x.length];
  }

  function shadeOf(row, place, by) {
    if (by === "advantage") {
      const colour = row.a > 0 ? "--after" : "--training";
      return [colour, Math.min(0.6, Math.abs(row.a) / 4), `advantage ${signed(row.a)}`];
    }
    const nats = row.l[place] / 100;
    return ["--training", Math.min(0.85, -nats / 4), `${nats.toFixed(2)} nats`];
  }

  const signed = (value) => `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(2)}`;

  function textOf(row, by) {
    const shown = element("div", { class: "text", tabindex: "0", dir: "auto", role: "group", "aria-label": "What the model wrote" });
    const mark = markOf(row);
    const cuts = by && row.c ? row.c : [row.t.length];
    let at = 0;
    cuts.forEach((length, place) => {
      const end = at + length;
      const inside = mark ? mark.filter((cut) => cut > at && cut < end) : [];
      const edges = [at, ...inside, end];
      for (let i = 0; i + 1 < edges.length; i++) {
        const [from, to] = [edges[i], edges[i + 1]];
        if (from === to) continue;
        const piece = element("span", {}, row.t.slice(from, to));
        if (mark && from >= mark[0] && to <= mark[1]) piece.className = "extracted";
        if (by && row.c) {
          const [colour, strength, told] = shadeOf(row, place, by);
          piece.title = told;
          piece.style.backgroundColor = `color-mix(in srgb, var(${colour}) ${Math.round(100 * strength)}%, transparent)`;
        }
        shown.append(piece);
      }
      at = end;
    });
    return shown;
  }

  function facts(row, several) {
    const said = [];
    const add = (text) => said.push(element("span", {}, text));
    add(row.e ? `${row.e}, ${row.s === 0 ? "base model" : `step ${row.s}`}` : `step ${row.s}`);
    if (row.e) add(`question ${row.of}, answer ${row.m + 1}`);
    else if (several) add(`example ${row.of}`);
    if (row.w !== undefined) add(`reward ${row.w ?? "none"}`);
    if (row.a !== undefined) add(row.a === null ? "no advantage" : `advantage ${signed(row.a)}`);
    if (row.n !== null) add(`${row.n} tokens${row.f ? "" : ", cut off"}`);
    return said;
  }

  oneshot.verdict = (row) => {
    const why = ["correct", "mismatch"].includes(row.y) ? "" : `: ${row.y.replaceAll("_", " ")}`;
    return `${row.v ? "right" : "wrong"}${why}`;
  };

  oneshot.card = (row, told, { shade = "", several = false, title = "", level = "h3" } = {}) => {
    const read = row.x === null
      ? null
      : element("span", {}, "read as ", element("code", {}, row.x), markOf(row) ? "" : " (spelt otherwise in the text)");
    const made = element(
      "article",
      { class: `card ${row.v ? "right" : "wrong"}`, "data-key": row.k },
      title ? element(level, {}, title) : null,
      element("div", { class: "head" }, element("span", { class: "verdict" }, oneshot.verdict(row)), read),
      element("div", { class: "head" }, ...facts(row, several)),
    );
    const asked = told?.asked ?? told?.question;
    if (asked) {
      const heading = told.asked ? "The prompt as the model saw it" : "The question (its prompt was not recorded)";
      made.append(element("details", row.e ? { open: "" } : {}, element("summary", {}, heading), element("div", { class: "text", dir: "auto", tabindex: "0", role: "group", "aria-label": heading }, asked)));
    }
    if (told?.answer) made.append(element("p", { class: "head" }, "gold answer ", element("code", {}, told.answer)));
    const known = shade === "advantage" ? row.a !== undefined && row.a !== null : Boolean(row.c);
    made.append(textOf(shade === "advantage" && known && !row.c ? { ...row, c: [row.t.length] } : row, known ? shade : ""));
    if (shade) {
      const words = known
        ? shade === "logprob"
          ? "The stronger a token's shade, the less probable it was."
          : "Shaded by the advantage, which all tokens of a rollout share: blue above 0, orange below."
        : row.e
          ? "Held-out answers are recorded without log-probabilities and advantages."
          : "No tokenizer is at hand that tells this text's tokens apart.";
      made.append(element("p", { class: "label" }, words));
    }
    return made;
  };
})();
