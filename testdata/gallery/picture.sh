#!/bin/sh
# picture.sh REPORT.html OUT.png: the first screen of a report as a picture, as wide as a laptop's window and ending below the last
# row of its table, by Chromium without a window. $CHROME is the browser (default: chromium).
set -eu
[ $# = 2 ] || { echo "usage: picture.sh REPORT.html OUT.png" >&2; exit 2; }
browser=${CHROME:-chromium}
width=1280
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# draw PAGE ARG...: one run of the browser. It must be told a profile of its own, or it takes the user's.
draw() {
  page=$1
  shift
  "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --force-color-profile=srgb --user-data-dir="$dir/profile" \
    "$@" "file://$page" 2>"$dir/log" || { cat "$dir/log" >&2; exit 1; }
}

# a copy of the page that notes where its first table ends
sed 's|</body>|<script>document.body.dataset.end = Math.ceil(document.querySelector("table.first").getBoundingClientRect().bottom + scrollY)</script></body>|' "$1" >"$dir/page.html"
end=$(draw "$dir/page.html" --window-size=$width,900 --dump-dom | sed -n 's/.*data-end="\([0-9]*\)".*/\1/p')
[ -n "$end" ] || { echo "$1: the browser found no table" >&2; exit 1; }
draw "$(realpath "$1")" --window-size=$width,$((end + 12)) --screenshot="$dir/out.png" >/dev/null
mv "$dir/out.png" "$2"
