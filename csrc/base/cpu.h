/* cpu.h - which instruction set the kernels use.
 *
 * Chosen once, when the module is first loaded: the best that the CPU and the operating system support, or what the
 * environment variable TEXRES_ISA names (ref, avx2, avx512, neon); an unknown or unsupported name is an error that lists
 * the choices.
 */
#ifndef TX_BASE_CPU_H
#define TX_BASE_CPU_H

#include <stdbool.h>

#include "base/status.h"

typedef enum tx_isa { TX_ISA_REF = 0, TX_ISA_AVX2, TX_ISA_AVX512, TX_ISA_NEON, TX_ISA_COUNT } tx_isa;

const char *tx_isa_name(tx_isa isa);
bool tx_isa_supported(tx_isa isa);

/* Whether the CPU has, beyond those of an instruction set, instructions that add up products of bytes: AVX-512 VNNI, AVX-VNNI,
 * NEON's dot products. TEXRES_DOT=0 in the environment: as if it had none. */
bool tx_isa_has_dot(tx_isa isa);

/* Writes the choice for this machine, honouring TEXRES_ISA. */
tx_status tx_isa_choose(tx_isa *isa);

#endif
