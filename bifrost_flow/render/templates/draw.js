// Elements and charts from data. Each piece of text goes in as text, never as markup.
const draw = (() => {
  const SVG = "http://www.w3.org/2000/svg", DAY_MS = 86400e3;
  const fill = (element, attributes, parts) => {
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...parts);
    return element;
  };
  const make = (name, attributes = {}, ...parts) => fill(document.createElement(name), attributes, parts);
  const shape = (name, attributes, ...parts) => fill(document.createElementNS(SVG, name), attributes, parts);
  const number = (value) => Number(value || 0).toLocaleString(page.lang);
  const time = (seconds) => page.showTime(make("time", { datetime: new Date(seconds * 1000).toISOString() }));
  const short = new Intl.DateTimeFormat(page.lang, { month: "short", day: "numeric", timeZone: "UTC" });
  const long = new Intl.DateTimeFormat(page.lang, { year: "numeric", month: "short", day: "numeric", timeZone: "UTC" });
  // Words between backticks are code.
  const words = (text) => text.split(/`([^`\n]+)`/).map((part, at) => (at % 2 ? make("code", {}, part) : part));

  // Bars of `rows`, each a name and a number; the report's template makes the same.
  const bars = (rows) => {
    const most = Math.max(1, ...rows.map(([, count]) => count));
    return make("dl", { class: "bars" }, ...rows.map(([name, count]) => make("div", {}, make("dt", {}, name), make("dd", {},
      shape("svg", { "aria-hidden": "true" }, shape("rect", { class: "bar", width: `${count && Math.max(2, (100 * count) / most)}%`, height: "100%", rx: 5 })),
      make("span", {}, number(count))))));
  };

  // Columns over the calendar from the first day of `days` (a map of day to numbers by name) to `lastDay`; what is in
  // `down` goes below the line. Under it stands what the newest day had, or the one that is pointed at.
  const plot = ({ days, lastDay, up, down = [], format, label, tell }) => {
    const end = Date.parse(lastDay) / DAY_MS, begin = Math.min(Date.parse([...days.keys()].reduce((one, other) => (one < other ? one : other))) / DAY_MS, end - 13);
    const length = end - begin + 1, at = (place) => new Date((begin + place) * DAY_MS);
    const columns = Array.from({ length }, (_, place) => days.get(at(place).toISOString().slice(0, 10)) || {});
    const sum = (values, names) => names.reduce((total, name) => total + (values[name] || 0), 0);
    const top = Math.max(0, ...columns.map((values) => sum(values, up))), low = Math.max(0, ...columns.map((values) => sum(values, down)));
    const scale = 100 / (top + low || 1), zero = top * scale, width = length > 150 ? 1 : 0.84;
    const base = columns.map(() => zero);
    const stack = (name, sign) => shape("path", { class: `f-${name}`, d: columns.map((values, place) => {
      if (!values[name]) return "";
      const from = base[place];
      base[place] -= sign * values[name] * scale;
      return `M${place} ${from.toFixed(2)}h${width}V${base[place].toFixed(2)}h${-width}z`;
    }).join("") });
    const picture = shape("svg", { viewBox: `0 0 ${length} 100`, preserveAspectRatio: "none", role: "img", "aria-label": label },
      ...up.map((name) => stack(name, 1)));
    base.fill(zero);
    picture.append(...down.map((name) => stack(name, -1)));
    if (low) picture.append(shape("line", { class: "zero-line", x1: 0, x2: length, y1: zero, y2: zero }));
    const readout = make("p", { class: "under" });
    const show = (place) => { readout.textContent = `${long.format(at(place))}: ${tell(columns[place])}`; };
    picture.addEventListener("pointermove", (event) => {
      const box = picture.getBoundingClientRect();
      show(Math.min(length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * length))));
    });
    picture.addEventListener("pointerleave", () => show(length - 1));
    show(length - 1);
    return make("div", {}, make("div", { class: "plot" },
      make("div", { class: "scale" }, make("span", {}, format(top)), make("span", {}, low ? format(low) : "0")), picture,
      make("div", { class: "ends" }, ...[0, Math.floor((length - 1) / 2), length - 1].map((place) => make("span", {}, (length > 300 ? long : short).format(at(place)))))),
    readout);
  };

  // How often something occurred on each of the `window` days up to `lastDay`; `counts` end there.
  const past = ({ counts, window, lastDay, label }) => {
    const most = Math.max(1, ...counts), start = window - counts.length, last = Date.parse(lastDay);
    return make("div", { class: "past" },
      shape("svg", { viewBox: `0 0 ${window} 28`, preserveAspectRatio: "none", role: "img", "aria-label": label },
        ...counts.flatMap((count, at) => (count ? [shape("rect", { class: "bar", x: start + at + 0.1, width: 0.8, y: 28 - Math.max(2, (26 * count) / most), height: Math.max(2, (26 * count) / most) },
          shape("title", {}, `${long.format(last - (window - 1 - start - at) * DAY_MS)}: ${number(count)}`))] : []))),
      make("div", { class: "ends" }, make("span", {}, short.format(last - (window - 1) * DAY_MS)), make("span", {}, short.format(last))));
  };

  // The first of `rows` in `box`, each made by `draw`, and below it a button for more of them.
  const list = ({ box, rows, item, step, name }) => {
    let shown = 0;
    const button = make("button", { type: "button", class: "more" });
    const more = () => {
      const added = rows.slice(shown, shown + step).map(item);
      shown += added.length;
      box.append(...added);
      button.textContent = `${name} (${number(rows.length - shown)})`;
      if (shown >= rows.length) button.remove();
      return added;
    };
    box.replaceChildren();
    more();
    button.addEventListener("click", () => {
      const [first] = more();
      if (!button.isConnected) first.querySelector("summary, a")?.focus();
    });
    return shown < rows.length ? [button] : [];
  };
  return { make, shape, number, time, words, bars, plot, past, list };
})();
