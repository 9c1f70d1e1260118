/* A C program: sparsemax, over JSON lines with hex floats (docs/exec.md).
 *
 *     cc -O2 -o sparsemax examples/sparsemax.c && kernelproof verify --exec ./sparsemax --order 1
 *
 * strtod reads hex floats, inf and nan, and %a writes them. The program does not parse JSON: it looks for the names of
 * fields in the line, whose order and format docs/exec.md guarantees.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int descending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

/* Weights of one row of m logits; `sorted` has room for m numbers. */
static void sparsemax(const double *z, double *weights, double *sorted, size_t m) {
  size_t i, count = 0;
  double sum = 0, top = 0;
  memcpy(sorted, z, m * sizeof *z);
  for (i = 0; i < m; i++) {
    if (z[i] != z[i]) { /* qsort needs a total order, and a row with a NaN has no weights */
      for (i = 0; i < m; i++) weights[i] = NAN;
      return;
    }
  }
  qsort(sorted, m, sizeof *sorted, descending);
  for (i = 0; i < m; i++) {
    double gap = sorted[0] - sorted[i];
    if (!((double)(count + 1) * gap < 1 + sum + gap)) break;
    sum += gap;
    count++;
    top = (1 + sum) / (double)count;
  }
  for (i = 0; i < m; i++) {
    double weight = top - (sorted[0] - z[i]);
    weights[i] = count == 0 ? NAN : weight > 0 ? weight : 0;
  }
}

int main(void) {
  char *line = NULL;
  size_t room = 0;
  while (getline(&line, &room, stdin) > 0) {
    char *at = strstr(line, "\"id\": ");
    long id = at ? atol(at + 6) : 0;
    int single = strstr(line, "\"dtype\": \"float32\"") != NULL;
    size_t m = 0, n = 0, length = 0, i;
    double *z, *weights, *sorted;
    at = strstr(line, "\"shape\": [");
    if (!at || !strstr(line, "\"op\": \"entmax\"") || !strstr(line, "\"mode\": \"forward\"")) {
      printf("{\"id\": %ld, \"error\": \"this program computes entmax, forward\"}\n", id);
      fflush(stdout);
      continue;
    }
    for (at += 10; *at && *at != ']'; at++) /* the last size of the shape is the length of a row */
      if (*at >= '0' && *at <= '9') m = strtoul(at, &at, 10), at--;
    at = strstr(at, "\"data\": [");
    for (char *each = at; each && *each && *each != ']'; each++) length += *each == '"';
    z = malloc((length + 1) * sizeof *z);
    weights = malloc((length + 1) * sizeof *weights);
    sorted = malloc((length + 1) * sizeof *sorted);
    if (!at || !z || !weights || !sorted) return 1;
    for (at += 9; *at && *at != ']'; at++) /* each number is between quotes */
      if (*at == '"') z[n++] = strtod(at + 1, &at);
    for (i = 0; m && i + m <= n; i += m) sparsemax(z + i, weights + i, sorted, m);
    printf("{\"id\": %ld, \"output\": [", id);
    for (i = 0; i < n; i++) printf("%s\"%a\"", i ? ", " : "", single ? (double)(float)weights[i] : weights[i]);
    printf("]}\n");
    fflush(stdout); /* without this the answer stays in a buffer, and both sides wait */
    free(z), free(weights), free(sorted);
  }
  free(line);
  return 0;
}
