#!/bin/sh
# A shell pipe: softmax, which is entmax of order inf, with sed, printf and awk over JSON lines (docs/exec.md).
#
#     kernelproof verify --exec 'sh examples/softmax_pipe.sh' --contract examples/softmax_pipe.toml
#
# printf of GNU coreutils reads hex floats and writes decimals, and awk computes in double precision. Answers may be
# decimals: they are rounded once, to the dtype of the request.
while IFS= read -r line; do
  size=$(printf '%s\n' "$line" | sed 's/.*"shape": \[\([^]]*\)\].*/\1/; s/.*[, ]//')
  data=$(printf '%s\n' "$line" | sed 's/.*"data": \[\([^]]*\)\].*/\1/; s/[",]//g')
  # One number per line, and no line if there is none. xargs, because the list may exceed the length of a command line.
  printf '%s' "$data" | xargs -r env printf '%.17g\n' |
    awk -v size="$size" '
      function row(  i, sum, broken) {
        for (i = 0; i < held; i++) {
          # -inf is a masked key. A row with a NaN or +inf, or without any key, gets NaN.
          if (z[i] ~ /nan/ || z[i] == "inf") broken = 1
          else if (z[i] != "-inf") sum += w[i] = exp(z[i] - top)
          else w[i] = 0
        }
        for (i = 0; i < held; i++) printf "%s\"%s\"", n++ ? ", " : "", broken || !any ? "nan" : sprintf("%.17g", w[i] / sum)
        held = any = 0
      }
      BEGIN { printf "{\"output\": [" }
      { z[held++] = $1 }
      $1 !~ /n/ && (!any++ || $1 + 0 > top) { top = $1 + 0 }
      held == size { row() }
      END { print "]}" }'
done
