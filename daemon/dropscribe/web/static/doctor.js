"use strict";
(() => {
const {ask, get, say} = window.dropscribe;
const words = {ok: "fine", note: "note", fail: "fails"};

get("check").addEventListener("click", async () => {
  get("check").disabled = true;
  say("Checking…");
  try {
    const rows = (await ask("/api/doctor", {})).map((check) => {
      const row = document.createElement("tr");
      const name = document.createElement("th");
      name.scope = "row";
      name.textContent = check.name;
      const verdict = document.createElement("td");
      verdict.className = `verdict ${check.verdict}`;
      verdict.textContent = words[check.verdict] || check.verdict;
      const detail = document.createElement("td");
      detail.textContent = check.detail;
      if (check.cure) {
        const cure = document.createElement("p");
        cure.textContent = check.cure;
        detail.append(cure);
      }
      row.append(name, verdict, detail);
      return row;
    });
    get("checks").replaceChildren(...rows);
    get("checks").parentElement.hidden = false;
    say("All checks are done.");
  } catch (error) {
    say(error.message);
  }
  get("check").disabled = false;
});
})();
