/* reduction.h - what the reductions share: over which dimensions, and whether sizes of 1 stay in their place.
 *
 *     t:sum()          everything                 t:sum(2)           dimension 2
 *     t:sum({1, 3})    dimensions 1 and 3         t:sum(2, true)     {4,5,6} -> {4,1,6}
 */
#ifndef TX_AUTOGRAD_REDUCTION_H
#define TX_AUTOGRAD_REDUCTION_H

#include "autograd/formula.h"

/* The parameters `dim` and `keepdim`: the beginning of the parameter struct of every reduction. */
typedef struct tx_reduction {
  uint32_t dim; /* mask; all bits: everything */
  bool keepdim;
} tx_reduction;

#define TX_REDUCTION_PARAMS(type, member) \
  TX_PARAM_IN(type, member, dim, TX_PARAM_DIMS, "none"), TX_PARAM_IN(type, member, keepdim, TX_PARAM_BOOL, "false")

/* For reductions that have no other parameters. */
extern const tx_param tx_reduction_params[];

/* How many elements of `input` go into one of the result. */
int64_t tx_reduced_count(const tx_meta *input, uint32_t mask);
/* The dimension of a mask that holds exactly one; else TX_NO_DIM. */
int tx_single_dim(uint32_t mask);

#endif
