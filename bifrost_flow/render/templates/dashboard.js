// Makes text of the data, never markup: each piece goes in as textContent.
(() => {
  const { runs, findings, costs, more, texts, words } = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg", STATUSES = ["new", "regressed", "recurring", "resolved"], SHOWN = 200;
  const lang = document.documentElement.lang;
  const get = (id) => document.getElementById(id);
  const make = (name, attributes = {}, ...parts) => {
    const element = attributes.svg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (key !== "svg") element.setAttribute(key, value);
    for (const part of parts) element.append(part);
    return element;
  };
  const draw = (name, attributes, ...parts) => make(name, { svg: true, ...attributes }, ...parts);
  const number = (value) => Number(value || 0).toLocaleString(lang);
  const money = (value) => Number(value || 0).toLocaleString(lang, { minimumFractionDigits: 2, maximumFractionDigits: 4 });
  const word = (kind, value) => words[kind][value] || String(value);
  const when = (value) => {
    const moment = new Date(value);
    return make("time", { datetime: value, title: `${moment.toISOString().slice(0, 19).replace("T", " ")} UTC` },
      moment.toLocaleString(lang, { dateStyle: "medium", timeStyle: "short" }));
  };
  const fields = ["q", "project", "status", "severity", "category"];
  const read = () => Object.fromEntries(fields.map((id) => [id, get(id).value]));
  const restore = () => {
    const asked = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    for (const id of fields) get(id).value = asked.get(id) || "";
  };
  const texted = new Map(findings.map((each) =>
    [each, [each.title, each.root_cause, each.suggestion, each.path, each.fingerprint, each.project].join(" ").toLowerCase()]));
  const fits = (each, wanted) => {
    const sought = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
    return ["project", "status", "severity", "category"].every((key) => !wanted[key] || each[key] === wanted[key])
      && sought.every((part) => texted.get(each).includes(part));
  };

  const showTiles = (found) => {
    get("tiles").replaceChildren(...STATUSES.map((status) => {
      const count = found.filter((each) => each.status === status).length;
      return make("div", { class: `tile ${status}${count ? "" : " zero"}` },
        make("span", { class: "figure" }, number(count)), make("span", { class: "name" }, word("status", status)));
    }));
  };
  const plot = (days, names, label) => {
    // `days`: [day, {name: value}], oldest first.
    const width = 600, height = 160, top = Math.max(1e-9, ...days.map(([, values]) => names.reduce((sum, name) => sum + (values[name] || 0), 0)));
    const step = width / Math.max(days.length, 12);
    const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot", role: "img", "aria-label": label, preserveAspectRatio: "none" });
    days.forEach(([day, values], at) => {
      let y = height;
      const column = draw("g", {}, draw("title", {}, `${day}: ${names.map((name) => `${words.status[name] || name} ${values[name] || 0}`).join(", ")}`));
      for (const name of names) {
        const tall = ((values[name] || 0) / top) * (height - 10);
        y -= tall;
        if (tall > 0) column.append(draw("rect", { x: at * step + 1, y, width: Math.max(step - 2, 1), height: tall, class: `f-${STATUSES.includes(name) ? name : "recurring"}` }));
      }
      picture.append(column);
    });
    const ends = [...new Set(days.length ? [days[0][0], days[days.length - 1][0]] : [])];
    return make("div", {}, picture, make("div", { class: "ends" }, ...ends.map((day) => make("span", {}, day))));
  };
  const byDay = (rows, day, add) => {
    const days = new Map();
    for (const row of rows) {
      const key = day(row);
      if (!days.has(key)) days.set(key, {});
      add(days.get(key), row);
    }
    return [...days].sort(([one], [other]) => (one < other ? -1 : 1)).slice(-90);
  };
  const empty = () => make("p", { class: "empty" }, texts.empty);
  const showTrend = (wanted) => {
    const mine = runs.filter((run) => !wanted.project || run.project === wanted.project);
    const days = byDay(mine, (run) => run.started_at.slice(0, 10), (sums, run) => {
      for (const status of STATUSES) sums[status] = (sums[status] || 0) + (run[status] || 0);
    });
    get("trend").replaceChildren(days.length ? plot(days, STATUSES, texts.trend) : empty());
    const paid = costs.filter((cost) => !wanted.project || cost.project === wanted.project);
    const costDays = byDay(paid, (cost) => cost.day, (sums, cost) => { sums.cost = (sums.cost || 0) + cost.cost_usd; });
    const saved = mine.reduce((sum, run) => sum + (run.tokens_saved || 0), 0);
    const models = new Map();
    for (const cost of paid) {
      const name = `${cost.provider} ${cost.model}`, sums = models.get(name) || { calls: 0, tokens: 0, cost: 0 };
      models.set(name, { calls: sums.calls + cost.calls, tokens: sums.tokens + cost.tokens_in + cost.tokens_out, cost: sums.cost + cost.cost_usd });
    }
    const rows = [...models].map(([name, sums]) => make("li", {}, `${name}: ${number(sums.calls)} ${texts.calls}, ${number(sums.tokens)} ${texts.tokens}, ${money(sums.cost)} USD`));
    get("cost").replaceChildren(...(paid.length ? [plot(costDays, ["cost"], texts.cost), make("ul", { class: "legend" }, ...rows, make("li", {}, `${texts.saved}: ${number(saved)} ${texts.tokens}`))] : [empty()]));
  };
  const spark = (each) => {
    const days = each.days, top = Math.max(1, ...days.map((day) => day.occurrences));
    return draw("svg", { viewBox: "0 0 120 26", class: "spark", role: "img", "aria-label": `${texts.days}: ${each.seen}` },
      ...days.map((day, at) => draw("rect", { x: at * 4, y: 26 - (day.occurrences / top) * 24, width: 3, height: (day.occurrences / top) * 24 },
        draw("title", {}, `${day.day}: ${day.occurrences}`))));
  };
  const reports = new Set(runs.filter((run) => run.report).map((run) => run.run_id));
  const link = (id) => make("a", { href: `reports/${encodeURIComponent(id)}/report.html` }, texts.report);
  const card = (each) => make("article", { class: `card item ${each.severity}` },
    make("div", { class: "tags" }, make("span", { class: `pill ${each.status}` }, word("status", each.status)), make("span", {}, word("severity", each.severity)),
      make("span", {}, word("category", each.category)), make("span", {}, each.project)),
    make("h3", {}, each.title),
    ...(each.path ? [make("div", { class: "where" }, `${each.path}:${each.line}`)] : []),
    ...(each.root_cause ? [make("p", {}, each.root_cause)] : []),
    ...(each.suggestion ? [make("p", {}, `${texts.advice}: ${each.suggestion}`)] : []),
    make("div", { class: "row" }, spark(each), make("span", {}, `${texts.days}: ${number(each.seen)}`),
      make("span", {}, `${texts.first} `, when(each.first_seen)), make("span", {}, `${texts.last} `, when(each.last_seen)),
      make("code", {}, each.fingerprint), ...(reports.has(each.run_id) ? [link(each.run_id)] : [])));
  const showFindings = (found) => {
    get("found").textContent = number(found.length);
    get("list").replaceChildren(...(found.length ? found.slice(0, SHOWN).map(card) : [make("p", { class: "empty card" }, findings.length ? texts.none : texts.empty)]));
    const notes = [found.length > SHOWN ? `${number(SHOWN)} / ${number(found.length)}` : "", more[1] ? texts.more_findings : "", more[0] ? texts.more_runs : ""].filter(Boolean);
    get("cut").hidden = !notes.length;
    get("cut").textContent = notes.join(" · ");
  };
  const showRuns = (wanted) => {
    const mine = runs.filter((run) => !wanted.project || run.project === wanted.project);
    get("ran").textContent = number(mine.length);
    const names = [texts.started, texts.project, texts.source, texts.status, ...STATUSES.map((status) => word("status", status)), texts.files, texts.calls, texts.hits, texts.cost_column, texts.errors, texts.report];
    const head = make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));
    const numeric = (value) => make("td", { class: "num" }, value);
    const body = make("tbody", {}, ...mine.slice(0, SHOWN).map((run) => make("tr", {}, make("td", {}, when(run.started_at)), make("td", {}, run.project), make("td", { class: "path" }, run.source),
      make("td", {}, make("span", { class: `pill ${run.status}` }, word("run_status", run.status))), ...STATUSES.map((status) => numeric(number(run[status]))),
      numeric(number(run.files)), numeric(number(run.llm_calls)), numeric(number(run.cache_hits)), numeric(money(run.cost_usd)), numeric(number(run.errors)), make("td", {}, run.report ? link(run.run_id) : "–"))));
    get("runs").replaceChildren(head, body);
  };
  const update = () => {
    const wanted = read(), found = findings.filter((each) => fits(each, wanted));
    showTiles(found); showTrend(wanted); showFindings(found); showRuns(wanted);
  };
  restore();
  update();
  get("filters").addEventListener("submit", (event) => event.preventDefault());
  get("filters").addEventListener("input", () => {
    const kept = new URLSearchParams(Object.entries(read()).filter(([, value]) => value));
    history.replaceState(null, "", kept.size ? `#${kept}` : location.pathname + location.search);
    update();
  });
  window.addEventListener("hashchange", () => { if (location.hash.includes("=") || !location.hash) { restore(); update(); } });
})();
