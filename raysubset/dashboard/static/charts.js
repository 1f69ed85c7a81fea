// The charts, drawn by Plotly from the plain values of the digest. Zoom and hidden traces survive an update.

const STYLES = ["--blue", "--vermillion", "--green", "--purple", "--orange", "--grey"];
const METRICS = { full: "--grey", random: "--grey", gradient: "--blue", loss: "--vermillion", entropy: "--green", prediction: "--purple" };
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const config = { displayModeBar: false, responsive: true };
const drawn = new Map(); // element -> how to draw it again, for a change of colours

function layout(x, y, more = {}) {
  const axis = { gridcolor: css("--grid"), linecolor: css("--line"), zeroline: false, automargin: true, tickfont: { size: 12 } };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", uirevision: "kept",
    font: { color: css("--ink"), family: "system-ui, sans-serif", size: 13 },
    margin: { l: 8, r: 8, t: 6, b: 8 }, hovermode: "closest",
    legend: { orientation: "h", y: -0.25, x: 0, font: { size: 12 } },
    xaxis: { ...axis, title: { text: x, standoff: 6 }, rangemode: "tozero" },
    yaxis: { ...axis, title: { text: y, standoff: 6 } },
    ...more,
  };
}

// Plotly reads a few tags in text; names come from users, so they are shown as they are.
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const short = (text) => (text.length > 32 ? text.slice(0, 31) + "…" : text);

function draw(id, make) {
  const element = document.getElementById(id);
  drawn.set(id, make);
  const { traces, format } = make();
  element.setAttribute("role", "img");
  return Plotly.react(element, traces, format, config);
}

export function redrawAll() {
  for (const [id, make] of drawn) draw(id, make);
}

/** Best so far of one or more runs: a step at each change of incumbent. */
export function bestSoFar(id, runs, label) {
  draw(id, () => ({
    traces: runs.map((run, number) => ({
      name: plain(short(run.name)), x: run.curve.x, y: run.curve.y, mode: "lines+markers",
      line: { shape: "hv", color: css(STYLES[number % STYLES.length]), width: 2, dash: ["solid", "dash", "dot"][Math.floor(number / STYLES.length) % 3] },
      marker: { size: 6 }, customdata: run.curve.trials.map((trial, at) => [plain(short(trial)), run.curve.epochs[at] === null ? "" : `, epoch ${run.curve.epochs[at]}`]),
      hovertemplate: "%{y:.4g} after %{x:,} " + plain(run.curve.over) + "<br>%{customdata[0]}%{customdata[1]}<extra></extra>",
    })),
    format: layout(label.x, label.y, { showlegend: runs.length > 1 }),
  }));
}

/** Learning curves of some trials; those that run are thick. */
export function learning(id, curves, score) {
  draw(id, () => ({
    traces: curves.filter((one) => one.samples.length).map((one, number) => ({
      name: plain(short(one.trial)), x: one.samples, y: one.scores, mode: "lines+markers",
      line: { color: css(STYLES[number % STYLES.length]), width: one.status === "running" ? 3 : 1.5 }, marker: { size: 5 },
      hovertemplate: plain(one.trial) + " (" + one.status + "): %{y:.4g} after %{x:,} samples<extra></extra>",
    })),
    format: layout("samples of the trial", `validation ${score}`, { showlegend: false }),
  }));
}

/** What chose the rows of each epoch (bars), and the share of rows (line). */
export function choices(id, rows) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.metrics)))].sort();
  draw(id, () => ({
    traces: [
      ...names.map((name, number) => ({
        type: "bar", name: plain(name), x: rows.map((row) => row.epoch), y: rows.map((row) => (row.metrics[name] ?? 0) / row.trials),
        marker: { color: css(METRICS[name] ?? STYLES[number % STYLES.length]), opacity: name === "full" ? 0.45 : 0.8 },
        hovertemplate: "epoch %{x}: " + plain(name) + " for %{y:.0%} of the trials<extra></extra>",
      })),
      { name: "share of rows", x: rows.map((row) => row.epoch), y: rows.map((row) => row.ratio), mode: "lines+markers",
        line: { color: css("--ink"), width: 2 }, hovertemplate: "epoch %{x}: %{y:.1%} of the rows<extra></extra>" },
    ],
    format: layout("epoch", "", { barmode: "stack", bargap: 0.15,
      xaxis: { linecolor: css("--line"), title: { text: "epoch", standoff: 6 }, tickformat: "d", dtick: rows.length > 12 ? undefined : 1, automargin: true, zeroline: false },
      yaxis: { gridcolor: css("--grid"), tickformat: ".0%", range: [0, 1.03], automargin: true, zeroline: false } }),
  }));
}
