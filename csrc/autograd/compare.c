/* compare.c - elementwise comparisons: u8 tensors of 0 and 1, with broadcasting. Not differentiable. */
#include "autograd/list.h"

#define COMPARISON(word, code, sign)                                                                          \
  static tx_status word##_forward(tx_call *call) {                                                            \
    return tx_binary(#word, code, call->in[0], call->in[1], &call->out[0]);                                   \
  }                                                                                                           \
  const tx_op tx_op_##word = {                                                                                \
      .name = #word,                                                                                          \
      .inputs = "a b",                                                                                        \
      .outputs = 1,                                                                                           \
      .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_INPUT_NUMBERS,                                              \
      .forward = word##_forward,                                                                              \
      .doc = #word "(a, b): 1 where a " sign " b, else 0, as u8; with broadcasting; either may be a number.", \
  };

COMPARISON(eq, TX_EQ, "==")
COMPARISON(ne, TX_NE, "~=")
COMPARISON(lt, TX_LT, "<")
COMPARISON(le, TX_LE, "<=")
COMPARISON(gt, TX_GT, ">")
COMPARISON(ge, TX_GE, ">=")
