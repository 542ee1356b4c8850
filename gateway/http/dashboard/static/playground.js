// Runs one prompt at two places and shows both streams, with the bill of each when it ends.
"use strict";
(() => {
  const form = document.getElementById("ask");
  const stop = document.getElementById("stop");
  const run = form.querySelector("button:not([type])");
  const EVERY_MS = 500;
  let stopper = null;

  function pane(side) {
    const box = document.getElementById(side);
    const part = (css) => box.querySelector(css);
    return {
      begin(name) {
        part("h2").textContent = name;
        part(".output").textContent = "";
        part(".bill").hidden = true;
        this.state("Sent.");
      },
      state(text) { part(".state").textContent = text; },
      more(text) { part(".output").append(text); },
      bill({ cost, cold_start: cold, timing, id }, over) {
        const usd = cost.total_usd === null ? "unknown" : `$${cost.total_usd}`;
        part(".so-far").textContent = over ? "cost" : "cost so far";
        part(".cost").textContent = cost.total_usd === null && !over ? usd : `${usd} (${cost.status})`;
        part(".verdict").textContent = cold === null ? "nothing known yet"
          : `${cold.verdict}, ${cold.evidence || "no evidence"}`;
        part(".first").textContent = over || timing.first_output_seconds !== null
          ? seconds(timing.first_output_seconds) : "not yet";
        part(".total").textContent = seconds(timing.total_seconds);
        part(".operation").textContent = id;
        part(".operation").href = form.dataset.operations + encodeURIComponent(id);
        part(".bill").hidden = false;
      },
    };
  }

  function seconds(value) {
    if (value === null) return "unknown";
    return value < 1 ? `${Number((value * 1000).toPrecision(3))} ms` : `${Number(value.toPrecision(3))} s`;
  }

  const said = {
    queued: () => "In the provider's queue.",
    booting: (data) => `Booting (${data.evidence || "no evidence"}).`,
    started: () => "Works.",
  };

  // What it has cost so far says the gateway: its bill, if it ended now. The end of the stream wins.
  function follow(shown, run) {
    const ask = async () => {
      if (run.over || run.id === null) return;
      try {
        const answer = await fetch(form.dataset.running + encodeURIComponent(run.id));
        const { so_far: told } = await answer.json();
        if (!told || run.over) return;
        const timing = { first_output_seconds: run.first, total_seconds: told.seconds };
        shown.bill({ ...told, timing, id: run.id }, false);
      } catch {
        // The stream says itself when the gateway is gone.
      }
    };
    const timer = setInterval(ask, EVERY_MS);
    return () => clearInterval(timer);
  }

  function hear(shown, run, name, data) {
    if (name === "created") run.id = data.id;
    if (name === "delta") {
      if (run.first === null) run.first = (performance.now() - run.begun) / 1000;
      shown.state("Answers.");
      if (data.type === "text") shown.more(data.text);
    } else if (name === "output") {
      shown.more(data.type === "json" ? JSON.stringify(data.json, null, 1) : `[${data.type}]`);
    } else if (name === "finished") {
      run.over = true;
      shown.state("Done.");
      shown.bill(data, true);
    } else if (name === "error") {
      run.over = true;
      shown.state(`Failed: ${data.error.message}`);
    } else if (said[name]) {
      shown.state(said[name](data));
    }
  }

  async function ask(side, fields, signal) {
    const shown = pane(side);
    shown.begin(fields.get(side));
    const run = { id: null, begun: performance.now(), first: null, over: false };
    const leave = follow(shown, run);
    try {
      const answer = await fetch(form.dataset.run, {
        method: "POST",
        signal,
        headers: { "content-type": "application/json", "x-csrf-token": form.dataset.csrf },
        body: JSON.stringify({
          model: fields.get(side),
          input: fields.get("prompt"),
          stream: true,
          tags: { from: "playground" },
          parameters: { max_output_tokens: Number(fields.get("max_output_tokens")) || 128 },
        }),
      });
      if (!answer.ok) {
        shown.state(`Refused: ${(await answer.json()).error.message}`);
        return;
      }
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let held = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        held += value;
        const frames = held.split("\n\n");
        held = frames.pop();
        for (const text of frames) {
          const name = /^event: (.*)$/m.exec(text);
          const data = /^data: (.*)$/m.exec(text);
          if (name && data) hear(shown, run, name[1], JSON.parse(data[1]));
        }
      }
    } catch (error) {
      shown.state(signal.aborted ? "Stopped." : "The gateway does not answer.");
    } finally {
      run.over = true;
      leave();
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const fields = new FormData(form);
    const where = new URLSearchParams();
    for (const name of ["left", "right", "max_output_tokens"]) where.set(name, fields.get(name));
    history.replaceState(null, "", `?${where}`);
    stopper = new AbortController();
    run.disabled = true;
    stop.disabled = false;
    await Promise.all(["left", "right"].map((side) => ask(side, fields, stopper.signal)));
    run.disabled = false;
    stop.disabled = true;
  });
  stop.addEventListener("click", () => stopper && stopper.abort());
})();
