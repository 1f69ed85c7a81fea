// Follows a search: asks the server every second what changed, and changes only that on the page.
// Text from a run reaches the page through textContent alone.

const app = document.getElementById("app");
const told = JSON.parse(document.getElementById("state").textContent);
const $ = (id) => document.getElementById(id);
const EVERY_MS = 1000, PATIENCE_MS = 5000, ROWS = 50;

const state = { key: told.key, boot: "", version: 0, stage: "", runs: new Map(), detail: null, trials: new Map(), page: 0, charts: null };
const STATES = {
  running: "running", finished: "finished", interrupted: "ended before its end, can be resumed",
  lost: "its driver is gone without a word (killed?), can be resumed", unknown: "no driver is known: whether it runs cannot be told",
};

// ---------------------------------------------------------------- words

const count = (value) => (value == null ? "not known" : Math.round(value).toLocaleString("en"));
const percent = (share) => (share == null ? "not measured" : `${(100 * share).toFixed(1)} %`);
const number = (value) => (value == null ? "" : Number(value).toPrecision(4));
const plural = (many, one) => `${count(many)} ${one}${many === 1 ? "" : "s"}`;
function seconds(value) {
  if (value == null) return "not known";
  const whole = Math.max(0, Math.round(value));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
const shown = (value) => (typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value);
const configuration = (config) => Object.entries(config).map(([name, value]) => `${name}=${shown(value)}`).join(", ");

// ---------------------------------------------------------------- elements

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function make(tag, text, classes) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (classes) element.className = classes;
  return element;
}
/** Replace a table's rows where they differ from those that stand: no flicker, and the focus stays. */
function fill(table, rows) {
  const body = table.tBodies[0];
  rows.forEach(({ key, cells, classes }, at) => {
    const sign = JSON.stringify([key, classes, cells.map((cell) => cell.sign ?? cell.text)]);
    const old = body.rows[at];
    if (old?.dataset.sign === sign) return;
    const row = make("tr", undefined, classes);
    row.dataset.sign = sign;
    cells.forEach((cell, place) => {
      const made = make(place ? "td" : "th", cell.text, cell.classes);
      if (!place) made.scope = "row";
      if (cell.build) cell.build(made);
      row.append(made);
    });
    const focused = old?.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    if (old) old.replaceWith(row); else body.append(row);
    if (focused) row.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  });
  while (body.rows.length > rows.length) body.lastElementChild.remove();
}

// ---------------------------------------------------------------- what stands above

function statusOf(run, status) {
  return run.state !== "running" && (status === "running" || status === "waiting") ? "unfinished" : status;
}
function best(run) {
  if (run.candidate) return { big: number(run.candidate.score), small: `cell ${run.candidate.cell}` };
  if (run.best) return { big: number(run.best.score), small: `validation ${run.score}, trial ${run.best.trial}${run.best.stage === "search" ? "" : ` of ${run.best.stage}`} at epoch ${run.best.epoch}` };
  return { big: "none yet", small: "no trial has been judged" };
}
function tile(id, title, big, small, share) {
  let element = $(id);
  if (!element) {
    element = make("section", undefined, "tile");
    element.id = id;
    const heading = make("h3", title);
    element.append(heading, make("div", "", "big"), make("div", undefined, "meter"), make("p"));
    element.querySelector(".meter").append(make("span"));
    $("tiles").append(element);
  }
  write(element.querySelector("h3"), title);
  write(element.querySelector(".big"), big);
  write(element.querySelector("p"), small);
  const meter = element.querySelector(".meter");
  meter.hidden = share == null;
  if (share != null) {
    const width = `${(100 * Math.min(1, share)).toFixed(1)}%`;
    meter.setAttribute("role", "progressbar");
    meter.setAttribute("aria-label", title);
    meter.setAttribute("aria-valuenow", (100 * Math.min(1, share)).toFixed(0));
    if (meter.firstChild.style.width !== width) meter.firstChild.style.width = width;
  }
}
function elapsed(run) {
  const waited = run.state === "running" && run.changed_at ? Math.max(0, Date.now() / 1000 - run.changed_at) : 0;
  return run.seconds + waited;
}
function showClock() {
  const run = state.runs.get(state.key);
  if (!run) return;
  const age = run.changed_at ? `, last report ${seconds(Date.now() / 1000 - run.changed_at)} ago` : ", no report yet";
  const ending = run.stopping ? ", stopping" : "";
  write($("live"), `${STATES[run.state]}${run.state === "running" ? age : ""}${ending}`);
  $("live").dataset.state = run.state;
  if (run.kind === "fit") return;
  const limit = run.plan.seconds;
  tile("t-time", "Time", seconds(elapsed(run)),
    [limit ? `of at most ${seconds(limit)}` : "no limit was set", run.left_s != null ? `about ${seconds(run.left_s)} left at this pace` : ""].filter(Boolean).join("; "),
    limit ? elapsed(run) / limit : null);
}
function showRun() {
  const run = state.runs.get(state.key);
  document.title = `${run.state === "running" ? "▶ " : ""}${run.name} · raysubset`;
  write($("name"), run.name);
  if (run.kind === "fit") showFit(run); else showSearch(run);
  const stop = $("stop-run");
  stop.hidden = run.state !== "running";
  stop.disabled = run.stopping;
  write(stop, run.stopping ? "Stopping…" : `Stop the ${{ study: "study", fit: "fit" }[run.kind] ?? "search"}`);
  const warnings = $("warnings");
  const words = [...(run.facts.note ? [run.facts.note] : []), ...run.warnings];
  if (warnings.dataset.words !== JSON.stringify(words)) {
    warnings.dataset.words = JSON.stringify(words);
    warnings.replaceChildren(...words.map((text) => make("p", text, "box bad")));
  }
  showAsked(run);
}
/** A fit of SubSelNet, or its evaluation: stages of cells, no trials. */
function showFit(run) {
  const { facts, fit } = run, now = fit.find((row) => row.status === "running") ?? fit.find((row) => row.status !== "done" && row.status !== "to come");
  write($("facts"), facts.data ? `SubSelNet on ${facts.data} (${count(facts.rows)} rows), ${facts.device}` : "");
  const failed = fit.filter((row) => row.status === "failed"), done = fit.filter((row) => row.status === "done");
  tile("t-stages", "Stages", `${done.length} of ${fit.length}`, done.map((row) => row.stage).join(", ") || "none is done", fit.length ? done.length / fit.length : null);
  if (now) tile("t-cells", `Now: ${now.stage}`, `${count(now.done)} of ${count(now.pieces)}`, now.last ? `last: ${now.last}` : "nothing done yet", now.pieces ? now.done / now.pieces : null);
  else tile("t-cells", "Now", run.state === "running" ? "between stages" : "nothing", "");
  tile("t-work", "Work", seconds(fit.reduce((sum, row) => sum + row.seconds, 0)), "seconds of all pieces, which may run side by side");
  tile("t-failed", "Failed", count(failed.length), failed.length ? "reason below" : "no stage failed");
  $("fit-section").hidden = !fit.length;
  fill($("fit"), fit.map((row) => ({ key: row.stage, cells: [
    { text: row.stage },
    { sign: row.status, build: (cell) => cell.append(make("span", row.status, `status ${{ "to come": "waiting", unfinished: "stopped" }[row.status] ?? row.status}`)) },
    { sign: [row.done, row.pieces], build: (cell) => {
      if (!row.pieces) return;
      const bar = make("div", undefined, "meter"), share = make("span");
      share.style.width = `${(100 * row.done) / row.pieces}%`;
      bar.append(share);
      cell.append(`${count(row.done)} of ${count(row.pieces)}`, bar);
    } },
    { text: row.done ? seconds(row.seconds) : "" },
    { text: row.left_s == null ? "" : `about ${seconds(row.left_s)}` },
    { classes: "text", sign: [row.last, row.reason, row.score], build: (cell) => {
      if (row.last) cell.append(make("span", row.score == null ? row.last : `${row.last}: ${percent(row.score)}`));
      if (row.reason) cell.append(make("div", row.reason, "reason"));
    } },
  ] })));
}
function showSearch(run) {
  const { counts, plan, facts } = run;
  write($("facts"), facts.data ? `${facts.model} on ${facts.data} (${count(facts.rows)} rows), ${facts.search}${facts.scheduler ? ` + ${facts.scheduler}` : ""}, rows by ${facts.selector}${facts.metric === "none" ? "" : ` (${facts.metric})`} at ratio ${shown(facts.ratio)}, ${facts.device}` : "");
  const found = best(run);
  tile("t-best", run.candidate ? "Best cell so far" : "Best so far", found.big, found.small);
  const ended = counts.total - (counts.running ?? 0) - (counts.waiting ?? 0);
  const parts = Object.entries(counts).filter(([status, many]) => status !== "total" && many).map(([status, many]) => `${count(many)} ${statusOf(run, status)}`);
  if (run.judged) tile("t-cells", "Cells judged", count(run.judged), "");
  tile("t-trials", run.stage && !["search"].includes(run.stage) ? `Trials of ${run.stage}` : "Trials", plan.trials ? `${count(ended)} of ${count(plan.trials)}` : count(ended), parts.join(", ") || "none has started", plan.trials ? ended / plan.trials : null);
  tile("t-samples", "Samples", count(run.samples), plan.samples ? `of at most ${count(plan.samples)}` : "the budget is not known", plan.samples ? run.samples / plan.samples : null);
  showClock();
  tile("t-selection", "Selection", percent(run.selection_share), "of the trials' seconds went into choosing rows");
  tile("t-failed", "Failed", count(counts.failed ?? 0), counts.failed ? "reasons below" : "no trial failed");
}
function showAsked(run) {
  const result = run.result;
  const rows = [
    ["Result", result ? (result.cell ?? configuration(result.config)) : null],
    ["Its accuracy", result?.test_accuracy != null ? `${percent(result.test_accuracy)} on test rows, ${percent(result.val_accuracy)} on validation` : null],
    ["Its error", result?.test_rmse != null ? `RMSE ${number(result.test_rmse)}, R2 ${number(result.test_r2)} on test rows; ${number(result.val_rmse)}, ${number(result.val_r2)} on validation` : null],
    ["Data", run.facts.data && `${run.facts.data} (${run.facts.source})`], ["Selector", run.facts.selector && `${run.facts.selector}, ${run.facts.schedule ?? ""} ratio ${run.facts.ratio}`],
    ["Epochs", run.facts.epochs], ["Seed", run.facts.seed], ["Started", run.facts.started],
    ["Command", run.facts.command], ["Folder", run.folder], ["Driver", run.driver && `process ${run.driver.pid} on ${run.driver.host}`],
  ].filter(([, value]) => value != null);
  const sign = JSON.stringify(rows);
  if ($("asked").dataset.sign === sign) return;
  $("asked").dataset.sign = sign;
  $("asked").replaceChildren(...rows.flatMap(([name, value]) => [make("dt", name), make("dd", String(value))]));
}
function showRuns() {
  if (!$("runs")) return;
  fill($("runs"), [...state.runs.values()].map((run) => {
    const ended = run.counts.total - (run.counts.running ?? 0) - (run.counts.waiting ?? 0);
    return {
      key: run.key, classes: run.key === state.key ? "here" : "",
      cells: [
        { sign: run.name, build: (cell) => {
          const link = make("a", run.name);
          link.href = `/?run=${encodeURIComponent(run.key)}`;
          if (run.key === state.key) link.setAttribute("aria-current", "page");
          cell.append(link);
        } },
        { text: run.state + (run.stopping ? ", stopping" : "") },
        { text: run.facts.selector ? `${run.facts.selector}, ${shown(run.facts.ratio)}` : "" },
        { text: run.kind === "fit" ? run.fit.filter((row) => row.status === "running").map((row) => `${row.stage}: ${count(row.done)} of ${count(row.pieces)}`).join(", ") : run.plan.trials ? `${count(ended)} of ${count(run.plan.trials)}` : count(ended) },
        { text: run.kind === "fit" ? "" : run.plan.samples ? `${count(run.samples)} of ${count(run.plan.samples)}` : count(run.samples) },
        { text: run.kind === "fit" ? "" : best(run).big + (run.best ? ` (epoch ${run.best.epoch})` : "") },
        { text: percent(run.selection_share) },
        { text: count(run.counts.failed ?? 0) },
      ],
    };
  }));
}

// ---------------------------------------------------------------- one stage

function showStages() {
  const run = state.runs.get(state.key), choice = $("stage");
  $("stage-row").hidden = run.stages.length < 2;
  const sign = JSON.stringify(run.stages);
  if (choice.dataset.sign !== sign) {
    choice.dataset.sign = sign;
    choice.replaceChildren(make("option", "the one that goes on"), ...run.stages.map((name) => make("option", name)));
    choice.firstChild.value = "";
    choice.value = state.stage;
  }
}
function showRungs() {
  const rows = state.detail?.rungs ?? [];
  $("rungs-card").hidden = !rows.length;
  const run = state.runs.get(state.key), most = Math.max(1, ...rows.map((row) => row.reached));
  fill($("rungs"), rows.map((row) => ({
    key: row.rung,
    cells: [
      { text: String(row.rung) },
      { text: [row.epoch ? `epoch ${row.epoch}` : "", row.samples ? `${count(row.samples)} samples` : ""].filter(Boolean).join(", ") },
      { sign: [row.reached, most], build: (cell) => {
        const bar = make("div", undefined, "meter"), share = make("span");
        share.style.width = `${(100 * row.reached) / most}%`;
        bar.append(share);
        cell.append(count(row.reached), bar);
      } },
      { text: Object.entries(row.here).map(([status, many]) => `${count(many)} ${statusOf(run, status)}`).join(", ") },
    ],
  })));
}
function showFailures() {
  const rows = state.detail?.failures ?? [];
  $("failures-section").hidden = !rows.length;
  fill($("failures"), rows.map((row) => ({ key: row.reason, cells: [
    { text: count(row.trials) }, { text: row.reason || "no reason given" }, { text: row.trials > 1 ? `${row.first}, ${row.last}` : row.first },
  ] })));
}
function ordered() {
  const run = state.runs.get(state.key), wanted = $("status").value, words = $("text").value.trim().toLowerCase(), order = $("order").value;
  const sign = state.detail?.score === "accuracy" ? -1 : 1;
  const rows = [...state.trials.values()].filter((row) =>
    (!wanted || statusOf(run, row.status) === wanted) &&
    (!words || `${row.trial} ${configuration(row.config)} ${row.reason}`.toLowerCase().includes(words)));
  const lost = (row) => row.status === "failed" || row.score == null;
  const by = {
    best: (a, b) => lost(a) - lost(b) || b.scored_at - a.scored_at || sign * ((a.score ?? 0) - (b.score ?? 0)) || a.at - b.at,
    new: (a, b) => b.at - a.at, samples: (a, b) => b.samples - a.samples || a.at - b.at, trial: (a, b) => (a.trial < b.trial ? -1 : a.trial > b.trial ? 1 : 0),
  };
  return rows.sort(by[order]);
}
function showTrials() {
  const run = state.runs.get(state.key), detail = state.detail;
  $("trials-section").hidden = !state.trials.size;
  if (!detail || !state.trials.size) return;
  write($("score-head"), `validation ${detail.score}`);
  const statuses = [...new Set([...state.trials.values()].map((row) => statusOf(run, row.status)))].sort(), choice = $("status");
  if (choice.dataset.sign !== statuses.join()) {
    const before = choice.value;
    choice.dataset.sign = statuses.join();
    choice.replaceChildren(make("option", "all"), ...statuses.map((name) => make("option", name)));
    choice.firstChild.value = "";
    choice.value = statuses.includes(before) ? before : "";
  }
  const rows = ordered(), pages = Math.max(1, Math.ceil(rows.length / ROWS));
  state.page = Math.min(state.page, pages - 1);
  const stopping = new Set(detail.stopping);
  fill($("trials"), rows.slice(state.page * ROWS, (state.page + 1) * ROWS).map((row) => trialRow(run, detail, row, stopping.has(row.trial))));
  write($("page-of"), rows.length ? `${count(state.page * ROWS + 1)} to ${count(Math.min(rows.length, (state.page + 1) * ROWS))} of ${plural(rows.length, "trial")}` : "no trial fits");
  $("before").disabled = state.page === 0;
  $("after").disabled = state.page >= pages - 1;
}
function trialRow(run, detail, row, stopping) {
  const status = statusOf(run, row.status);
  const stoppable = detail.can_stop && (row.status === "running" || row.status === "waiting");
  return {
    key: row.trial,
    cells: [
      { text: row.trial },
      { sign: [status, stoppable, stopping], build: (cell) => {
        cell.append(make("span", stopping ? "stopping" : status, `status ${status}`));
        if (!stoppable || stopping) return;
        const button = make("button", "Stop", "stop small");
        button.type = "button";
        button.dataset.focus = row.trial;
        button.setAttribute("aria-label", `Stop trial ${row.trial}`);
        button.addEventListener("click", () => askToStop(row.trial));
        cell.append(button);
      } },
      { text: row.score == null ? "not judged" : `${number(row.score)}${row.accuracy != null && detail.score === "loss" ? ` (${percent(row.accuracy)} right)` : row.r2 != null ? ` (R2 ${number(row.r2)})` : ""}` },
      { text: row.epochs ? `${row.epoch} of ${row.epochs}` : "0" },
      { text: count(row.samples) },
      { text: row.rung == null ? "" : String(row.rung) },
      { text: row.metric && row.metric !== "none" ? `${row.metric}, ${percent(row.ratio)} (${count(row.ratio * run.facts.rows)} rows)` : "" },
      { classes: "text", sign: [row.config, row.reason], build: (cell) => {
        cell.append(make("span", configuration(row.config)));
        if (row.reason) cell.append(make("div", row.reason, "reason"));
      } },
    ],
  };
}

// ---------------------------------------------------------------- charts

function showCharts() {
  const { charts, detail } = state, run = state.runs.get(state.key);
  if (!charts) return;
  const runs = [...state.runs.values()], alike = (one) => one.curve.x.length && one.curve.over === run.curve.over && one.curve.score === run.curve.score;
  const score = run.curve.score ? `validation ${run.curve.score}` : "score";
  if ($("overlay")) changed("overlay", runs.filter(alike).map((one) => [one.key, one.curve]), () =>
    charts.bestSoFar("overlay", runs.filter(alike), { x: `${run.curve.over} of the run`, y: score }));
  $("best-figure").hidden = Boolean($("overlay")) || !run.curve.x.length;
  if (!$("best-figure").hidden) changed("best", run.curve, () => charts.bestSoFar("best", [run], { x: `${run.curve.over} of the whole ${run.curve.stage ?? "search"}`, y: score }));
  const curves = (detail?.curves ?? []).filter((one) => one.samples.length);
  $("curves-figure").hidden = !curves.length;
  if (curves.length) changed("curves", curves, () => charts.learning("curves", curves, detail.score));
  $("choices-figure").hidden = !detail?.choices.length;
  if (detail?.choices.length) changed("choices", detail.choices, () => charts.choices("choices", detail.choices));
}
const signs = new Map();
function changed(id, values, redraw) {
  const sign = JSON.stringify(values);
  if (signs.get(id) === sign) return;
  signs.set(id, sign);
  const chart = $(id);
  chart.setAttribute("aria-label", `Chart: ${chart.closest("figure").querySelector("h3").textContent}`);
  redraw();
}
function loadCharts() {
  const script = document.createElement("script");
  script.src = app.dataset.plotly;
  script.onload = async () => {
    state.charts = await import(app.dataset.charts);
    if (state.runs.size) showCharts();
    performance.mark("charts");
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state.charts.redrawAll());
  };
  document.head.append(script);
}

// ---------------------------------------------------------------- asking

function take(news) {
  if (news.whole) [state.runs, state.trials, state.detail] = [new Map(), new Map(), null];
  for (const run of news.runs) state.runs.set(run.key, run);
  if (news.detail) {
    if (news.detail.whole) state.trials = new Map();
    for (const row of news.detail.trials) state.trials.set(row.trial, { ...row, at: state.trials.get(row.trial)?.at ?? state.trials.size });
    state.detail = news.detail;
  }
  [state.boot, state.version] = [news.boot, news.version];
  if (!news.runs.length && !news.detail) return;
  showRuns();
  showRun();
  showStages();
  showRungs();
  showFailures();
  showTrials();
  showCharts();
}
async function ask() {
  const query = new URLSearchParams({ run: state.key, stage: state.stage, shown: state.detail?.stage ?? "", boot: state.boot, since: state.version });
  const answer = await fetch(`/api/changes?${query}`, { signal: AbortSignal.timeout(30000) });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `status ${answer.status}`);
  take(await answer.json());
}
let timer = 0, answered = Date.now();
async function follow() {
  clearTimeout(timer);
  let pause = EVERY_MS;
  try {
    await ask();
    answered = Date.now();
    $("offline").hidden = true;
    if (!performance.getEntriesByName("told").length) performance.mark("told");
  } catch (error) {
    pause = PATIENCE_MS;
    write($("offline"), `The dashboard's server does not answer (${error.message}); what stands here is ${seconds((Date.now() - answered) / 1000)} old. It is asked again every few seconds.`);
    $("offline").hidden = false;
  }
  if (!document.hidden) timer = setTimeout(follow, pause);
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) follow(); });
setInterval(() => { if (!document.hidden) showClock(); }, 1000);

// ---------------------------------------------------------------- stopping

function askToStop(trial) {
  const run = state.runs.get(state.key);
  // Polling goes on behind the dialog, and the next stage numbers its trials from 0 again: what is stopped is what was asked for.
  const asked = { run: state.key, stage: trial ? state.detail.stage : "", trial: trial ?? "" };
  write($("confirm-title"), trial ? `Stop trial ${trial} of ${asked.stage}?` : `Stop ${run.name}?`);
  write($("confirm-text"), trial
    ? "It ends with the epoch it is in and counts as it stands; the search goes on with others. It cannot be taken up again."
    : run.kind === "fit" ? "It ends with the piece it is in; what is done is kept, and the same command goes on with it."
    : "The search ends as by Ctrl-C: what is done is kept, and the same command with --resume goes on with it.");
  $("confirm-yes").onclick = () => { $("confirm").close(); stop(asked); };
  $("confirm").showModal();
}
async function stop(asked) {
  const answer = await fetch("/api/stop", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(asked) }).catch((error) => error);
  if (!answer.ok) {
    const why = (await answer.json?.().catch(() => null))?.error ?? "the server does not answer";
    write($("confirm-title"), "Not stopped");
    write($("confirm-text"), why);
    $("confirm-yes").hidden = true;
    $("confirm-no").textContent = "Close";
    $("confirm").showModal();
  }
  follow();
}
$("confirm").addEventListener("close", () => { $("confirm-yes").hidden = false; $("confirm-no").textContent = "Keep it running"; });
$("confirm-no").addEventListener("click", () => $("confirm").close());
$("stop-run").addEventListener("click", () => askToStop(null));
$("filters").addEventListener("submit", (event) => event.preventDefault());
for (const id of ["status", "text", "order"]) $(id).addEventListener("input", () => { state.page = 0; showTrials(); });
$("before").addEventListener("click", () => { state.page -= 1; showTrials(); });
$("after").addEventListener("click", () => { state.page += 1; showTrials(); });
$("stage").addEventListener("input", () => { state.stage = $("stage").value; state.detail = null; state.trials = new Map(); follow(); });

take({ runs: told.runs, whole: true, boot: "", version: 0 });
follow();
loadCharts();
