--- A classifier as one C99 file: classifier:export_c("fabric.c").
--
-- The file needs <stdint.h> and <math.h> only, allocates nothing, and takes an image of bytes as a camera gives it:
--
--     int classify(const uint8_t *image, float *scores);             the class, from 0 on; below 0: misuse
--     void probabilities(const float *scores, float *p);             of each class
--     double defect_score(const float *scores);                      with an operating point: 1 - p(good)
--     int verdict(const float *scores);                              0 accept, 1 reject, 2 ask a person
--
-- Scores are the network's logits: of a network in f32 to within 1e-4 of the largest, of a quantized one bit by bit.
-- Compiled with TEXRES_SELF_TEST the file is a program that compares them with what the library gave.
-- @module texres.export.c

local c_bytes = require "texres.export.c_bytes"
local c_float = require "texres.export.c_float"
local c_text = require "texres.export.c_text"
local core = require "texres.core"
local option = require "texres.options"
local plain = require "texres.plain"
local subject = require "texres.export.subject"

local PREFIX = option.kind("the beginning of a name in C", function(value)
  return type(value) == "string" and value:find "^[%a_][%w_]*$"
end)

local KNOWN = {
  prefix = PREFIX, -- what the names of the functions begin with, where several networks are in one program
}
for name, rule in pairs(subject.KNOWN) do KNOWN[name] = rule end

-- -- the head ---------------------------------------------------------------------------------------------------------

local HEAD = [[
/* @FILE@ - tells what an image shows. Written by @VERSION@; the network is inside, nothing else is needed.
 *
 *     int @P@classify(const uint8_t *image, float *scores);
 *
 * image: @IMAGE@, 0 is black, 255 white.
 * scores: @COUNT@ floats, which are written, one for each class. Returns the class with the largest,
 *
@CLASSES@
 *
 * or -1 where image or scores is null, -2 where the scores are not numbers.
 *
 *     void @P@probabilities(const float *scores, float *p);  each class's share, together 1
 *
@POINT@ * Network:  @NETWORK@, CRC-32 of what is below @HASH@
@NOTE@ * Numbers:  @NUMBERS@
 * Memory:   constants @CONSTANTS@ KB, static @STATIC@ KB, which serve one call at a time: -DTEXRES_THREAD=__thread (or
 *           _Thread_local) gives each thread its own
 * Compile:  cc -std=c99 -O3 -c @FILE@    (@FLAGS@)
 * Test:     cc -std=c99 -O3 -DTEXRES_SELF_TEST @FILE@ -lm -o test && ./test
 *           has @TESTS@
 */
#include <math.h>
#include <stdint.h>

#ifndef TEXRES_THREAD
#define TEXRES_THREAD
#endif

]]

local POINT = [[
 *     double @P@defect_score(const float *scores);  1 - p(@GOOD@)
 *     int @P@verdict(const float *scores);          @VERDICTS@
 *
]]

local function image_text(one)
  local h, w, c = table.unpack(one.input)
  local text = ("%d rows of %d pixels"):format(h, w)
  if c == 3 then
    text = text .. " of 3 bytes: red, green, blue"
  else
    text = text .. (c == 1 and ", a byte each" or (" of %d bytes"):format(c))
  end
  return one.window and ("%s, the middle of %d x %d"):format(text, one.window[1], one.window[2]) or text
end

local function class_lines(one)
  local lines = {}
  for k, name in ipairs(one.classes) do lines[k] = (" *   %d  %s"):format(k - 1, c_text.comment(name)) end
  return table.concat(lines, "\n")
end

local function point_text(one, prefix)
  local point = one.point
  if not point then return "" end
  local verdicts = plain.format("0 accept, 1 reject: from %.6g on", point.threshold)
  if point.band then
    verdicts = plain.format("0 accept, 2 ask a person: from %.6g on, 1 reject: from %.6g on", point.band.low,
      point.band.high)
  end
  return c_text.fill(POINT, { P = prefix, GOOD = c_text.comment(one.classes[point.good]), VERDICTS = verdicts })
end

local function kilobytes(n) return plain.grouped((n + 1023) // 1024) end

local function head(one, net, prefix, file)
  local name = rawget(one.model, "name") or getmetatable(one.model).__name
  return c_text.fill(HEAD, {
    FILE = c_text.comment(file), VERSION = core._VERSION, P = prefix, IMAGE = image_text(one), COUNT = #one.classes,
    CLASSES = class_lines(one), POINT = point_text(one, prefix), HASH = ("%08x"):format(core.crc32(net.declarations)),
    NETWORK = ("%s, %s parameters"):format(c_text.comment(name), plain.grouped(one.model:num_parameters())),
    NOTE = one.note and (" * From:     %s\n"):format(c_text.comment(one.note)) or "", NUMBERS = net.numbers,
    CONSTANTS = kilobytes(net.constants), STATIC = kilobytes(net.memory), FLAGS = net.flags,
    TESTS = c_text.comment(one.tests_from),
  })
end

-- -- what stands around the network -----------------------------------------------------------------------------------

local CLASSIFY = [[
enum { CLASSES = @COUNT@ };

int @P@classify(const uint8_t *image, float *scores);
void @P@probabilities(const float *scores, float *p);
@PROTOTYPES@
@DECLARATIONS@
static int largest(const float *scores)
{
  int k, best = 0;
  for (k = 0; k < CLASSES; k++) {
    if (scores[k] - scores[k] != 0) return -2; /* not a number, or infinite */
    if (scores[k] > scores[best]) best = k;
  }
  return best;
}

int @P@classify(const uint8_t *image, float *scores)
{
  if (!image || !scores) return -1;
@BODY@
  return largest(scores);
}

void @P@probabilities(const float *scores, float *p)
{
  float most = scores[0], sum = 0;
  int k;
  for (k = 1; k < CLASSES; k++)
    if (scores[k] > most) most = scores[k];
  for (k = 0; k < CLASSES; k++) sum += p[k] = expf((scores[k] - most) * @TEMPERED@);
  for (k = 0; k < CLASSES; k++) p[k] /= sum;
}
]]

local PROTOTYPES = [[
double @P@defect_score(const float *scores);
int @P@verdict(const float *scores);
]]

local VERDICT = [[

double @P@defect_score(const float *scores)
{
  float p[CLASSES];
  @P@probabilities(scores, p);
  return 1 - (double)p[@GOOD@];
}

int @P@verdict(const float *scores)
{
  double score = @P@defect_score(scores);
  return @JUDGE@;
}
]]

local function functions(one, net, prefix)
  return c_text.fill(CLASSIFY, {
    P = prefix, COUNT = #one.classes, PROTOTYPES = one.point and c_text.fill(PROTOTYPES, { P = prefix }) or "",
    DECLARATIONS = net.declarations, BODY = net.body,
    TEMPERED = c_text.float(1 / one.temperature),
  })
end

local function verdict(one, prefix)
  local point = one.point
  if not point then return "" end
  local judge = plain.format("score < %.17g ? 0 : 1", point.threshold)
  if point.band then
    judge = plain.format("score < %.17g ? 0 : score >= %.17g ? 1 : 2", point.band.low, point.band.high)
  end
  return c_text.fill(VERDICT, { P = prefix, GOOD = point.good - 1, JUDGE = judge })
end

-- -- the self-test ----------------------------------------------------------------------------------------------------

local SELF_TEST = [=[

#ifdef TEXRES_SELF_TEST
#include <stdio.h>

enum { TESTS = @TESTS@ };
static const uint8_t test_images[TESTS][@BYTES@] = { @IMAGES@ };
static const float test_scores[TESTS][CLASSES] = { @SCORES@ };
static const int test_classes[TESTS] = { @LABELS@ };
@VERDICTS@static const char *const class_names[CLASSES] = {
  @NAMES@
};

static void print_scores(const char *what, const float *scores)
{
  int k;
  printf("  %s", what);
  for (k = 0; k < CLASSES; k++) printf(" %.9g", (double)scores[k]);
  printf("\n");
}

int main(void)
{
  int i, k, failed = @P@classify(0, 0) != -1;
  for (i = 0; i < TESTS; i++) {
    float scores[CLASSES], most = 1, apart = 0;
    int found = @P@classify(test_images[i], scores), wrong;
    for (k = 0; k < CLASSES; k++) {
      float difference = fabsf(scores[k] - test_scores[i][k]);
      if (fabsf(test_scores[i][k]) > most) most = fabsf(test_scores[i][k]);
      if (!(difference <= apart)) apart = difference;
    }
    wrong = found != test_classes[i] || !(apart <= @TOLERANCE@ * most)@JUDGED@;
    printf("image %d: %s, scores within %.2g of the library's: %s\n", i + 1,
           found < 0 ? "no class" : class_names[found], (double)apart, wrong ? "FAIL" : "pass");
    if (wrong) {
      printf("  wanted %s\n", class_names[test_classes[i]]);
      print_scores("wanted", test_scores[i]);
      print_scores("got   ", scores);
    }
    failed += wrong;
  }
  printf(failed ? "FAIL\n" : "pass\n");
  return failed != 0;
}
#endif
]=]

local VERDICTS = { accept = 0, reject = 1, ask = 2 }

local function rows(lists, format, width)
  local parts = {}
  for i, list in ipairs(lists) do parts[i] = "{\n" .. c_text.numbers(list, format, width) .. "\n}" end
  return table.concat(parts, ", ")
end

local function strings(list)
  local quoted = {}
  for i, name in ipairs(list) do quoted[i] = c_text.string(name) end
  return table.concat(quoted, ",\n  ")
end

local function self_test(one, net, prefix)
  local images, scores, labels, verdicts = {}, {}, {}, {}
  for i, test in ipairs(one.tests) do
    images[i], scores[i], labels[i] = test.bytes, test.logits, test.answer.label - 1
    verdicts[i] = VERDICTS[test.answer.verdict]
  end
  local judged = one.point ~= nil
  return c_text.fill(SELF_TEST, {
    P = prefix, TESTS = #images, BYTES = #images[1], IMAGES = rows(images, "%d", 4), SCORES = rows(scores, "%.9g", 14),
    LABELS = table.concat(labels, ", "), NAMES = strings(one.classes), TOLERANCE = net.tolerance,
    VERDICTS = judged
      and ("static const int test_verdicts[TESTS] = { %s };\n"):format(table.concat(verdicts, ", ")) or "",
    JUDGED = judged and (" || %sverdict(scores) != test_verdicts[i]"):format(prefix) or "",
  })
end

-- -- the whole --------------------------------------------------------------------------------------------------------

--- Writes a classifier as one C99 file. Options: prefix ("fabric_" makes fabric_classify of classify); images, of the
-- self-test: bytes {N,H,W,C}, or a data set, of which the first image of each class is taken (of 16 at the most), by
-- default three of synthetic fabric; operating_point = false, which leaves it out; note, a line for the head of the
-- file. Raises for a layer that there is no function in C for; true, or nil and a message where the file can't be
-- written.
local function export(path, classifier, options)
  option.check("export_c", "the path", path, option.PATH)
  local o = option.read("export_c", options, KNOWN)
  local one, prefix = subject.of(classifier, o, "export_c"), o.prefix or ""
  local net = (one.quantized and c_bytes or c_float).write(one)
  return core.write_file(path, {
    head(one, net, prefix, path:match "[^/]*$"), functions(one, net, prefix), verdict(one, prefix),
    self_test(one, net, prefix),
  })
end

return { export = export, KNOWN = KNOWN }
