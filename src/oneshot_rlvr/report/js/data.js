// What the page knows: packed into the file (gzip, base64), or asked of the server that watches.
// Everything here is data; texts of models are only ever set as text.
const oneshot = { live: "live" in document.body.dataset };

oneshot.unpack = async (id) => {
  const packed = atob(document.getElementById(`packed-${id}`).textContent);
  const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
};

oneshot.ask = async (path, query = {}) => {
  const words = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== "" && value !== null && value !== undefined) words.set(key, value);
  }
  const answer = await fetch(`${path}?${words}`);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
};

oneshot.charts = () => (oneshot.live ? oneshot.ask("charts.json") : oneshot.unpack("charts"));

// The chart library: in the file before this script; from the server beside what is painted first.
oneshot.library = oneshot.live
  ? new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = "charts.js";
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error("charts.js did not come")));
      document.head.append(script);
    })
  : Promise.resolve();

// An element with text and attributes; children that are strings become text.
oneshot.element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};

oneshot.save = (name, content, type) => {
  const address = content.startsWith("data:")
    ? content
    : URL.createObjectURL(new Blob([content], { type }));
  const link = oneshot.element("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
};

// As the Python side writes it: what a spreadsheet would run as a formula stands behind an
// apostrophe.
oneshot.csv = (rows) => {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    let text = String(value);
    if (typeof value === "string" && /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows.map((row) => columns.map((key) => row[key]))]
    .map((row) => row.map(cell).join(",") + "\n")
    .join("");
};
