// Unpacks the data, filters it, and shows what is left.
(() => {
  const { make, number, time } = draw, get = (id) => document.getElementById(id);
  const data = JSON.parse(get("data").textContent), { texts, words, lastDay, window: windowDays } = data;
  // A table comes by column: name, values, and perhaps the texts that the values are places in.
  const unpack = (table) => {
    const columns = table.map(([name, values, known]) => [name, known ? values.map((place) => known[place]) : values]);
    return columns.length ? columns[0][1].map((_, row) => Object.fromEntries(columns.map(([name, values]) => [name, values[row]]))) : [];
  };
  const runs = unpack(data.runs), days = unpack(data.days), findings = unpack(data.findings), costs = unpack(data.costs);
  const STATUSES = Object.keys(words.status), SEVERITIES = Object.keys(words.severity), STEP = 50;
  const PROJECTS = new Set([...days, ...findings].map((row) => row.project)).size;
  const FIELDS = ["q", "project", "period", "severity", "category", "status", "order"];
  const money = (value) => Number(value || 0).toLocaleString(page.lang, { minimumFractionDigits: 2, maximumFractionDigits: 4 });
  const word = (kind, value) => words[kind][value] || String(value);
  const say = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const dayOf = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

  const read = () => Object.fromEntries(FIELDS.map((id) => [id, get(id).value]));
  const restore = () => {
    const asked = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    for (const id of FIELDS) get(id).value = asked.get(id) || "";
  };
  const keep = () => {
    const kept = new URLSearchParams(Object.entries(read()).filter(([, value]) => value));
    history.replaceState(null, "", kept.size ? `#${kept}` : location.pathname + location.search);
    update();
  };
  const firstDay = (wanted) => (wanted.period && lastDay ? new Date(Date.parse(lastDay) - (wanted.period - 1) * 86400e3).toISOString().slice(0, 10) : "");
  const isOf = (wanted) => (row) => !wanted.project || row.project === wanted.project;
  const texted = new Map();
  const textOf = (row) => {
    if (!texted.has(row)) texted.set(row, [row.title, row.root_cause, row.suggestion, row.quote, row.path, row.fingerprint, row.project].join(" ").toLowerCase());
    return texted.get(row);
  };
  const fits = (wanted, first) => {
    const sought = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
    return (row) => ["project", "severity", "category"].every((key) => !wanted[key] || row[key] === wanted[key])
      && (!first || dayOf(row.last_seen) >= first) && sought.every((part) => textOf(row).includes(part));
  };
  // Whatever the order, what is open comes before what is resolved.
  const ranks = new Map(findings.map((row) => [row, {
    done: row.status === "resolved", status: STATUSES.indexOf(row.status), severity: SEVERITIES.indexOf(row.severity), day: -Math.floor(row.last_seen / 86400), often: -row.seen,
  }]));
  const ORDERS = { "": ["done", "status", "day", "severity", "often"], worst: ["done", "severity", "status", "day", "often"], often: ["done", "often", "severity", "day"] };
  const order = (rows, name) => {
    const keys = ORDERS[name] || ORDERS[""];
    return rows.toSorted((one, other) => keys.reduce((sign, key) => sign || ranks.get(one)[key] - ranks.get(other)[key], 0));
  };

  const copyButton = () => make("button", { type: "button", class: "copy", "data-done": texts.copied, "data-failed": texts.copy_failed }, texts.copy);
  const reports = new Map(runs.filter((run) => run.report).map((run) => [run.run_id, run]));
  const addressOf = (run) => data.link.replaceAll("{run_id}", encodeURIComponent(run.run_id)).replaceAll("{project}", encodeURIComponent(run.project));
  const body = (row) => {
    const facts = [[texts.first_seen, time(row.first_seen)], [texts.last_seen, time(row.last_seen)], [texts.fingerprint, row.fingerprint]];
    return make("div", { class: "body" },
      ...(row.root_cause ? [make("div", {}, make("h4", {}, texts.root_cause), make("p", { class: "words" }, ...draw.words(row.root_cause)))] : []),
      ...(row.suggestion ? [make("div", { class: "advice" }, make("h4", {}, texts.suggestion), copyButton(), make("p", { class: "words", "data-copy": "" }, ...draw.words(row.suggestion)))] : []),
      ...(row.quote ? [make("div", {}, make("h4", {}, texts.evidence), make("div", { class: "quote" }, copyButton(), make("div", { class: "path" }, row.path),
        make("table", { role: "presentation" }, make("tr", {}, make("td", { class: "nr" }, row.line), make("td", { "data-copy": "", dir: "ltr" }, row.quote)))))] : []),
      make("dl", { class: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
      make("div", { class: "quote" }, copyButton(), make("div", { class: "path" }, make("span", { "data-copy": "" }, `bifrost-flow show ${row.fingerprint}`))),
      ...(reports.has(row.run_id) ? [make("p", {}, make("a", { class: "open-report", href: addressOf(reports.get(row.run_id)) }, texts.show))] : []));
  };
  const card = (row) => {
    const seen = say(texts.days_seen[row.seen === 1 ? 0 : 1], { count: number(row.seen) });
    const dot = draw.shape("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, draw.shape("circle", { cx: 5, cy: 5, r: 5, class: `s-${row.severity}` }));
    const said = make("div", { class: "said" },
      make("div", { class: "tags" }, make("span", { class: `pill ${row.status}` }, word("status", row.status)), make("span", { class: "sev" }, dot, word("severity", row.severity)),
        make("span", {}, word("category", row.category)), make("span", {}, row.project), make("span", {}, seen)),
      make("h3", {}, ...draw.words(row.title)), ...(row.path ? [make("p", { class: "where" }, `${row.path}:${row.line}`)] : []));
    page.markSeams(said);
    return make("details", { class: `finding ${row.severity} ${row.status}` },
      make("summary", {}, said, draw.past({ counts: row.days, window: windowDays, lastDay, label: seen })), body(row));
  };
  const empty = (text = texts.empty) => make("p", { class: "empty" }, text);

  const showTiles = (found, wanted) => {
    get("tiles").replaceChildren(...STATUSES.map((status) => {
      const count = found.filter((row) => row.status === status).length;
      const tile = make("button", { type: "button", class: `tile ${status}${count ? "" : " zero"}`, "aria-pressed": String(wanted.status === status), id: `only-${status}` },
        make("span", { class: "figure" }, number(count)), make("span", { class: "name" }, word("status", status)));
      tile.addEventListener("click", () => {
        get("status").value = wanted.status === status ? "" : status;
        keep();
        get(`only-${status}`).focus();
      });
      return tile;
    }));
  };
  const addUp = (rows, names) => {
    const sums = new Map();
    for (const row of rows) {
      const sum = sums.get(row.day) || {};
      for (const name of names) sum[name] = (sum[name] || 0) + (row[name] || 0);
      sums.set(row.day, sum);
    }
    return sums;
  };
  const showTrend = (mine) => {
    const up = ["recurring", "regressed", "new"], tell = (sum) => STATUSES.map((status) => `${word("status", status)} ${number(sum[status])}`).join(" · ");
    get("trend").replaceChildren(mine.length ? draw.plot({ days: addUp(mine, STATUSES), lastDay, up, down: ["resolved"], format: number, label: get("trend").previousElementSibling.firstChild.data, tell }) : empty());
  };
  const count = (rows, key) => {
    const counts = new Map();
    for (const row of rows) counts.set(row[key], (counts.get(row[key]) || 0) + 1);
    return [...counts].sort(([, one], [, other]) => other - one);
  };
  const showBars = (found) => {
    const open = found.filter((row) => row.status !== "resolved");
    const categories = count(open, "category").map(([name, sum]) => [word("category", name), sum]), projects = count(open, "project").slice(0, 12);
    get("categories").replaceChildren(categories.length ? draw.bars(categories) : empty(texts.none));
    get("projects").parentElement.hidden = PROJECTS < 2;
    get("categories").parentElement.classList.toggle("wide", PROJECTS < 2);
    get("projects").replaceChildren(projects.length ? draw.bars(projects) : empty(texts.none));
  };
  const showCost = (paid, mine) => {
    const models = new Map(), tokens = (row) => row.tokens_in + row.tokens_out;
    for (const row of paid) {
      const name = row.provider === row.model ? row.model : `${row.provider} ${row.model}`, sum = models.get(name) || [0, 0, 0];
      models.set(name, [sum[0] + row.calls, sum[1] + tokens(row), sum[2] + row.cost_usd]);
    }
    const spent = paid.map((row) => ({ day: row.day, cost: row.cost_usd, tokens: tokens(row) })), saved = mine.reduce((sum, row) => sum + (row.tokens_saved || 0), 0);
    const name = spent.some((row) => row.cost) ? "cost" : "tokens";
    const tell = (sum) => say(texts.day_spent, { cost: money(sum.cost), tokens: number(sum.tokens) });
    const lines = [...models].sort(([, one], [, other]) => other[2] - one[2]).map(([model, [calls, used, cost]]) =>
      make("li", {}, make("b", {}, model), ` ${say(texts.model_spent, { cost: money(cost), calls: number(calls), tokens: number(used) })}`));
    if (saved) lines.push(make("li", {}, make("b", {}, texts.saved), ` ${number(saved)}`));
    const days = addUp(spent, ["cost", "tokens"]);
    const plotted = spent.some((row) => row[name]) ? [draw.plot({ days, lastDay, up: [name], format: name === "cost" ? money : number, label: get("cost").previousElementSibling.textContent, tell })] : [];
    get("cost").replaceChildren(...plotted, ...(lines.length ? [make("ul", { class: "models" }, ...lines)] : [empty()]));
  };
  const place = (box, ...buttons) => {
    for (const old of box.parentElement.querySelectorAll(":scope > button.more")) old.remove();
    box.after(...buttons);
  };
  const showFindings = (found) => {
    get("found").textContent = number(found.length);
    place(get("list"), ...draw.list({ box: get("list"), rows: found, item: card, step: STEP, name: texts.more }));
    if (!found.length) get("list").append(make("p", { class: "empty card" }, findings.length ? texts.none : texts.empty));
  };
  const showRuns = (mine) => {
    get("ran").textContent = number(mine.length);
    const names = [texts.started, texts.project, texts.run_status, ...STATUSES.map((status) => word("status", status)), texts.files, texts.calls, texts.hits, texts.cost_column, texts.errors, texts.source];
    const head = make("thead", {}, make("tr", {}, ...names.map((name, at) => make("th", { scope: "col", ...(at > 2 && at < names.length - 1 ? { class: "num" } : {}) }, name))));
    const cell = (value) => make("td", { class: "num" }, value);
    const rows = make("tbody");
    const item = (run) => make("tr", {}, make("td", {}, run.report ? make("a", { href: addressOf(run) }, time(run.started_at)) : time(run.started_at)), make("td", { class: "project" }, run.project),
      make("td", {}, make("span", { class: `pill ${run.status in words.run_status ? run.status : "partial"}` }, word("run_status", run.status))), ...STATUSES.map((status) => cell(number(run[status]))),
      ...["files", "llm_calls", "cache_hits"].map((name) => cell(number(run[name]))), cell(money(run.cost_usd)), cell(number(run.errors)), make("td", { class: "path" }, run.source));
    get("runs").replaceChildren(head, rows);
    place(get("runs"), ...draw.list({ box: rows, rows: mine, item, step: STEP, name: texts.more }));
  };
  const update = () => {
    const wanted = read(), first = firstDay(wanted), ofProject = isOf(wanted);
    const found = findings.filter(fits(wanted, first)), within = (row) => ofProject(row) && row.day >= first;
    const mine = days.filter(within);
    showTiles(found, wanted);
    get("whole").hidden = !(wanted.q || wanted.severity || wanted.category || wanted.status);
    showTrend(mine);
    const chosen = found.filter((row) => !wanted.status || row.status === wanted.status);
    showBars(chosen);
    showCost(costs.filter(within), mine);
    showFindings(order(chosen, wanted.order));
    showRuns(runs.filter((run) => ofProject(run) && (!first || dayOf(run.started_at) >= first)));
  };
  get("cut").textContent = data.cut.join(" ");
  get("cut").hidden = !data.cut.length;
  get("unscripted").remove();
  get("board").hidden = false;
  get("filters").addEventListener("submit", (event) => event.preventDefault());
  get("filters").addEventListener("input", keep);
  get("order").addEventListener("input", keep);
  addEventListener("hashchange", () => { if (location.hash.includes("=") || !location.hash) { restore(); update(); } });
  restore();
  update();
})();
