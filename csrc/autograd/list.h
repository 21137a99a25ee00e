/* list.h - the one list of differentiable functions: a row TX_OP(name) stands for `const tx_op tx_op_<name>`. */
#ifndef TX_AUTOGRAD_LIST_H
#define TX_AUTOGRAD_LIST_H

#include "autograd/op.h"

/* clang-format off */
#define TX_OPS(TX_OP) \
  /* elementwise, one operand */ \
  TX_OP(neg) TX_OP(exp) TX_OP(log) TX_OP(sqrt) TX_OP(abs) TX_OP(tanh) TX_OP(sigmoid) TX_OP(erf) \
  TX_OP(sign) TX_OP(floor) TX_OP(ceil) TX_OP(round) TX_OP(clamp) TX_OP(relu) \
  /* elementwise, several operands */ \
  TX_OP(add) TX_OP(sub) TX_OP(mul) TX_OP(div) TX_OP(mod) TX_OP(idiv) TX_OP(pow) TX_OP(maximum) TX_OP(minimum) \
  TX_OP(eq) TX_OP(ne) TX_OP(lt) TX_OP(le) TX_OP(gt) TX_OP(ge) TX_OP(where) \
  /* products and reductions */ \
  TX_OP(matmul) \
  TX_OP(sum) TX_OP(mean) TX_OP(var) TX_OP(std) TX_OP(prod) TX_OP(max) TX_OP(min) TX_OP(argmax) TX_OP(argmin) \
  TX_OP(logsumexp) TX_OP(norm) TX_OP(cumsum) \
  /* views and copies */ \
  TX_OP(select) TX_OP(slice) TX_OP(reshape) TX_OP(view) TX_OP(flatten) TX_OP(squeeze) TX_OP(unsqueeze) \
  TX_OP(permute) TX_OP(transpose) TX_OP(expand) TX_OP(contiguous) TX_OP(clone) TX_OP(to) \
  /* images {N,H,W,C} */ \
  TX_OP(conv2d) TX_OP(conv2d_batch_norm) TX_OP(conv_transpose2d) \
  /* picking, joining, ordering */ \
  TX_OP(index_select) TX_OP(gather) TX_OP(masked_fill) TX_OP(cat) TX_OP(stack) TX_OP(sort) TX_OP(topk) TX_OP(one_hot) \
  /* layers */ \
  TX_OP(linear) TX_OP(batch_norm) TX_OP(group_norm) TX_OP(layer_norm) TX_OP(leaky_relu) TX_OP(silu) TX_OP(softplus) TX_OP(gelu) \
  TX_OP(elu) TX_OP(hard_swish) TX_OP(softmax) TX_OP(log_softmax) \
  TX_OP(max_pool2d) TX_OP(avg_pool2d) TX_OP(global_avg_pool) TX_OP(adaptive_avg_pool2d) TX_OP(upsample_bilinear2d) \
  TX_OP(dropout) \
  /* losses */ \
  TX_OP(cross_entropy) TX_OP(nll_loss) TX_OP(focal_loss) TX_OP(mse_loss) TX_OP(smooth_l1_loss) \
  TX_OP(l1_loss) TX_OP(bce_with_logits) TX_OP(dice_loss)
/* clang-format on */

#define TX_OP(name) extern const tx_op tx_op_##name;
TX_OPS(TX_OP)
#undef TX_OP

#endif
