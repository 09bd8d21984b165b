#!/bin/sh
# The first line with at least 4 words of every text of the Brown corpus, tags stripped, one a line:
#   sh testdata/minilm/sentences.sh assets/D12/texts > assets/sentences.txt
set -e
for text in "$1"/c*; do
  LC_ALL=C awk 'NF >= 4 { for (i = 1; i <= NF; i++) { sub(/\/[^\/]*$/, "", $i); printf "%s%s", $i, i < NF ? " " : "\n" } exit }' "$text"
done
