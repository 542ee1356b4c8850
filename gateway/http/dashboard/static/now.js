// Keeps the page of what runs current: the same page again, every few seconds, while it is seen.
"use strict";
(() => {
  const beat = document.getElementById("beat");
  const every = Number(beat.dataset.everySeconds) * 1000;
  const say = (text) => { beat.textContent = text; };

  // The drawing of the server and the table are taken anew; what a script made of them hears of it.
  function freshen(page) {
    const [shown, fresh] = [document, page].map((one) => one.getElementById("pulse"));
    const [plot, next] = [shown, fresh].map((figure) => figure.querySelector(".plot"));
    Object.assign(plot.dataset, next.dataset);
    plot.querySelectorAll("svg").forEach((svg, n) => {
      svg.replaceWith(next.querySelectorAll("svg")[0]);
    });
    shown.querySelector("details").lastElementChild.replaceWith(
      fresh.querySelector("details").lastElementChild);
    shown.dispatchEvent(new Event("fresh"));
  }

  async function refresh() {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("live");
      if (!answer.ok || !fresh) {
        say("Not live any more, load the page again:");
        clearInterval(timer);
        return;
      }
      const live = document.getElementById("live");
      const at = document.activeElement && live.contains(document.activeElement)
        ? document.activeElement.id : "";
      const scrolled = [...live.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
      live.replaceChildren(...fresh.childNodes);
      [...live.querySelectorAll(".scroll")].forEach((box, n) => { box.scrollLeft = scrolled[n] || 0; });
      if (at) document.getElementById(at)?.focus({ preventScroll: true });
      freshen(page);
      document.getElementById("as-of").replaceWith(page.getElementById("as-of"));
      say("Live:");
    } catch {
      say("The gateway does not answer, trying again:");
    }
  }

  const timer = setInterval(refresh, every);
  say("Live:");
})();
