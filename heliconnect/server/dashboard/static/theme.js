(function (root, kept) {
  root.classList.add("js");
  try { kept = localStorage.getItem("theme"); } catch { kept = null; }
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;
})(document.documentElement);
