#!/bin/sh
# The first line with at least 4 words of every text of the Brown corpus, or the n-th with a second argument, tags stripped, one a
# line:
#   sh testdata/minilm/sentences.sh assets/D12/texts > assets/sentences.txt
#   sh testdata/minilm/sentences.sh assets/D12/texts 5 > assets/calibration.txt
set -e
for text in "$1"/c*; do
  LC_ALL=C awk -v n="${2:-1}" 'NF >= 4 && ++seen == n { for (i = 1; i <= NF; i++) { sub(/\/[^\/]*$/, "", $i); printf "%s%s", $i, i < NF ? " " : "\n" } exit }' "$text"
done
