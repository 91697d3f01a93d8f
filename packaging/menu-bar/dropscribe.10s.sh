#!/bin/sh
# <xbar.title>Dropscribe</xbar.title>
# <xbar.desc>What Dropscribe transcribes, what waits and what failed.</xbar.desc>
# <xbar.dependencies>dropscribe</xbar.dependencies>
# <swiftbar.hideRunInTerminal>true</swiftbar.hideRunInTerminal>
#
# For SwiftBar and xbar: put it into their plugin folder. `10s` in its name is how often it looks.
# It only reads `dropscribe status --json`. Its menu can pause, resume, try again and open folders.

PATH="$HOME/.local/bin:/opt/homebrew/bin:/usr/local/bin:$PATH"
export PATH
if ! program=$(command -v dropscribe); then
    printf '🎙 ?\n---\nThe command dropscribe is not found.\n'
    exit 0
fi
# A Mac has no Python of its own that is sure to be there: take the one that runs dropscribe, which the first line of
# the program names. Where that would be too long, it is in the second.
python=$(sed -n '1s/^#! *//p' "$program")
case "$python" in
    */sh) python=$(sed -n "2s/^'''exec' [\"']\{0,1\}\([^\"']*[^\"' ]\)[\"']\{0,1\} .*/\1/p" "$program") ;;
esac
"$program" status --json 2>/dev/null | "$python" -c '
import json, sys, unicodedata

program = sys.argv[1]

def clean(text, most=60):
    """Return a text that is one line and no order to the menu."""
    text = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text).replace("|", "\u2502").strip()
    return text if len(text) <= most else "\u2026" + text[-most:]

def act(title, *command):
    """Print a line that runs a command; a path that the menu cannot quote gets none."""
    if any(c in part for part in command for c in "\"|\n\r"):
        print(clean(title))
        return
    words = " ".join("param%d=\"%s\"" % (i, part) for i, part in enumerate(command[1:], 1))
    print("%s | bash=\"%s\" %s terminal=false refresh=true" % (clean(title), command[0], words))

try:
    found = json.load(sys.stdin)
except ValueError:
    print("\U0001f399 ?\n---\n`dropscribe status` gave no report. Try it in a terminal.")
    sys.exit()
counts = found["counts"]
left = counts.get("queued", 0) + counts.get("running", 0)
troubles = [t for t in ((found["trouble"] or {}).get("reason"), found["inbox_trouble"]) if t]
mark = "\u26a0\ufe0f" if troubles or found["failures"] else "\u23f8" if found["paused"] else "\U0001f399"
print(f"{mark} {left}" if left else mark)
print("---")
if not found["running"]:
    print("Dropscribe is not running.")
    act("Start it", program, "service", "start")
for trouble in troubles:
    print(clean(trouble, 120))
now = found["current"]
if now:
    percent, seconds, together = now["percent"], now["eta_s"], now["together"]
    others = f" and {together - 1} more" if together > 1 else ""
    print(clean(now["file"]) + others)
    share = "" if percent is None else f" {percent:.0f} %"
    print(now["phase"] + share + ("" if seconds is None else f", about {max(1, round(seconds / 60))} min left"))
for queued in found["queue"][:5]:
    print("Next: " + clean(queued["file"]))
if done := counts.get("done"):
    print(f"Done: {done}")
for failed in found["failures"]:
    print("Failed: " + clean(failed["file"]))
    print("--" + clean(failed["reason"], 120))
    sys.stdout.write("--")
    act("Try again", program, "retry", found["inbox"] + "/" + failed["file"])
print("---")
act("Resume" if found["paused"] else "Pause", program, "resume" if found["paused"] else "pause")
act("Open the inbox", "/usr/bin/open", found["inbox"])
act("Open the outbox", "/usr/bin/open", found["outbox"])
' "$program"
