/* list.h - the one list of differentiable functions: a row TX_OP(name) stands for `const tx_op tx_op_<name>`. */
#ifndef TX_AUTOGRAD_LIST_H
#define TX_AUTOGRAD_LIST_H

#include "autograd/op.h"

/* clang-format off */
#define TX_OPS(TX_OP) \
  TX_OP(add) \
  TX_OP(relu)
/* clang-format on */

#define TX_OP(name) extern const tx_op tx_op_##name;
TX_OPS(TX_OP)
#undef TX_OP

#endif
