/* rounding.c - elementwise steps: flat wherever they have a slope, so their results carry no gradient. */
#include "autograd/list.h"

#define STEP(word, code, text)                                                                          \
  static tx_status word##_forward(tx_call *call) { return tx_unary(code, call->in[0], &call->out[0]); } \
  const tx_op tx_op_##word = {                                                                          \
      .name = #word,                                                                                    \
      .inputs = "x",                                                                                    \
      .outputs = 1,                                                                                     \
      .where = TX_AS_METHOD | TX_AS_FUNCTION,                                                           \
      .forward = word##_forward,                                                                        \
      .doc = #word "(x): " text ", elementwise; no gradient.",                                          \
  };

STEP(sign, TX_SIGN, "-1, 0 or 1")
STEP(floor, TX_FLOOR, "the largest whole number not above x")
STEP(ceil, TX_CEIL, "the smallest whole number not below x")
STEP(round, TX_ROUND, "the nearest whole number, halves to the even one")
