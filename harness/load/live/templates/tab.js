// Shows the Sessions page inside Locust's own page while the Sessions tab is chosen.
(() => {
  const chosen = () => new URLSearchParams(location.search).get("tab") === "sessions";
  const frame = () => document.getElementById("harness-sessions");
  setInterval(() => {
    const shown = frame();
    const tabs = document.querySelector('[role="tablist"]');
    if (!chosen() || !tabs) {
      if (shown) shown.remove();
      return;
    }
    if (shown) return;
    const made = document.createElement("iframe");
    made.id = "harness-sessions";
    made.title = "Sessions";
    made.src = "./sessions/";
    made.style.cssText = "width:100%;height:1500px;border:0;display:block";
    tabs.closest(".MuiContainer-root, main, #root > div").append(made);
  }, 250);
})();
